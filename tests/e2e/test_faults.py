"""What goes wrong: proxies that fail or talk nonsense, handlers that raise, sudden ends."""

import contextlib
import os
import signal
import socket
import sys
import threading

import pytest

from fixtures.peers.http_proxy import HttpProxy
from fixtures.peers.ports import free_port
from fixtures.peers.socks_server import SocksServer
from tests.e2e.peers import HELLO, microsocks
from tests.e2e.process import TESLA_TRACE, alive, children, eventually, start, supervisor_of, under


@contextlib.contextmanager
def proxy_that(serve):
    """A proxy whose connections are served by `serve`; its port."""

    def run():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                kept.append(client)
                serve(client)

    kept = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=run, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for each in kept:
        each.close()


def connect(built, handlers, port=9):
    """The errno that a program's connect fails with, and our log."""
    ran = under(handlers, built.path("get", "glibc"), "127.0.0.1", port, "/hello")
    assert ran.status == 1 and ran.err == "", ran
    return ran.out.removeprefix("connect: ").strip(), ran.log


def garbage(client):
    client.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n")


def silence(client):
    pass


def hang_up(client):
    client.close()


@pytest.mark.parametrize("kind", ["socks", "http"])
@pytest.mark.parametrize(
    ("serve", "number", "said"),
    [
        (garbage, "EPROTO", "no "),
        (silence, "ETIMEDOUT", "0.2"),
        (hang_up, "", ""),
    ],
    ids=["garbage", "silence", "hanging up"],
)
def test_a_proxy_that_talks_nonsense(built, kind, serve, number, said):
    with proxy_that(serve) as port:
        words = [f"+{kind}=127.0.0.1:{port}", "-loopback", "-timeout=200ms"]
        name, log = connect(built, words)
    assert name.startswith(number) or name == "errno 71"  # EPROTO
    assert any(f"127.0.0.1:{port}" in line and said in line for line in log), log


@pytest.mark.parametrize("kind", ["socks", "http"])
def test_a_proxy_that_is_not_there(built, kind):
    port = free_port()
    name, log = connect(built, [f"+{kind}=127.0.0.1:{port}", "-loopback"])
    assert name == "ECONNREFUSED"
    assert any(f"127.0.0.1:{port}" in line for line in log), log


def test_a_proxy_whose_name_is_not_known(built):
    name, log = connect(built, ["+socks=nowhere.invalid:1080", "-loopback"])
    assert name == "EHOSTUNREACH"
    assert any("nowhere.invalid" in line for line in log), log


@pytest.mark.parametrize(("kind", "server"), [("socks", SocksServer), ("http", HttpProxy)])
def test_a_wrong_password(built, kind, server, tmp_path):
    (tmp_path / "password").write_text("wrong")
    login = ("me", "right") if kind == "socks" else ("me:right",)
    with server(*login) as proxy:
        words = [f"+{kind}=127.0.0.1:{proxy.port}", "-loopback", "-user=me"]
        name, log = connect(built, [*words, f"-password-file={tmp_path}/password"])
        assert name == "EACCES"
        assert any(f"127.0.0.1:{proxy.port}" in line for line in log), log
        name, _ = connect(built, words[:2])
        assert name == "EACCES"


@pytest.mark.parametrize(("kind", "server"), [("socks", SocksServer), ("http", HttpProxy)])
def test_a_target_that_is_not_there(built, kind, server):
    with server() as proxy:
        words = [f"+{kind}=127.0.0.1:{proxy.port}", "-loopback"]
        name, log = connect(built, words, port=free_port())
    assert name == "ECONNREFUSED"
    assert any(f"127.0.0.1:{proxy.port}" in line and "refused" in line for line in log), log


def test_the_hop_that_fails_is_named(built):
    """In a chain of two it is the far one, which is asked for the near one."""
    missing = free_port()
    with SocksServer() as far:
        chain = [f"+socks=127.0.0.1:{missing}", "-loopback"]
        _, log = connect(built, [*chain, f"+socks=127.0.0.1:{far.port}", "-loopback"])
        assert far.asked == [f"5 127.0.0.1:{missing}: Connection refused"]
    assert any(f"127.0.0.1:{far.port}" in line for line in log), log


# ---- handlers that raise ----

TWO_FLOWS = """\
import socket, sys
for _ in range(3):
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as flow:
            flow.sendall(b"GET /hello HTTP/1.0\\r\\n\\r\\n")
            data = b""
            while piece := flow.recv(4096): data += piece
            print(data.decode().splitlines()[-1])
    except OSError as error:
        print(type(error).__name__)
"""


def fixture(name):
    return [f"+fixtures.handlers:{name}"]


def test_a_handler_that_raises_ends_its_flow_only(web):
    ran = under(fixture("RaisesOnce"), sys.executable, "-c", TWO_FLOWS, web.port, PYTHONPATH=".")
    hello = HELLO.decode()
    assert (ran.status, ran.out) == (0, "ConnectionResetError\n" + 2 * hello), ran
    assert sum("RuntimeError: as it was told to" in line for line in ran.log) == 1
    assert sum("a handler failed" in line for line in ran.log) == 1


@pytest.mark.parametrize(
    ("name", "seen"),
    [("Raises", "ConnectionResetError"), ("RaisesAtConnect", "ConnectionAbortedError")],
)
def test_where_a_handler_raises(name, seen, web):
    ran = under(fixture(name), sys.executable, "-c", TWO_FLOWS, web.port, PYTHONPATH=".")
    assert (ran.status, ran.out) == (0, 3 * f"{seen}\n"), ran
    assert sum("RuntimeError: as it was told to" in line for line in ran.log) == 3


# ---- sudden ends ----


@contextlib.contextmanager
def endless():
    """A server that sends without end; its port, and a list of who has connected."""

    def pour(client):
        with contextlib.suppress(OSError):
            while True:
                client.sendall(bytes(64 * 1024))
        gone.set()

    gone = threading.Event()
    with proxy_that(lambda client: threading.Thread(target=pour, args=(client,)).start()) as port:
        yield port, gone


READ = """\
import os, socket, sys
flow = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for count in range(int(sys.argv[2])):
    if not flow.recv(65536): break
    if count == 3: print(os.getpid(), flush=True)
print("end")
"""


def test_the_program_is_killed_in_mid_transfer():
    with endless() as (port, gone):
        words = [TESLA_TRACE, "+dummy", sys.executable, "-c", READ, port, 10**9]
        with start(*words) as program:
            pid = int(program.until("\n"))
            supervisor = supervisor_of(program.pid)
            os.kill(pid, signal.SIGKILL)
            assert program.wait() == -signal.SIGKILL
            eventually("the supervisor has gone", lambda: not alive(supervisor))
        assert gone.wait(10)


@pytest.mark.needs("microsocks")
def test_the_proxy_is_killed_in_mid_transfer(tmp_path):
    with endless() as (port, gone), contextlib.ExitStack() as stack:
        proxy = stack.enter_context(microsocks(tmp_path))
        words = [TESLA_TRACE, f"+socks=127.0.0.1:{proxy.port}", "-loopback"]
        with start(*words, sys.executable, "-c", READ, port, 10**9) as program:
            program.until("\n")
            supervisor = supervisor_of(program.pid)
            stack.close()
            program.communicate()
            assert program.wait() in (0, 1)  # the end of the stream, or a reset
            eventually("the supervisor has gone", lambda: not alive(supervisor))
        assert gone.wait(10)


def test_bytes_written_just_before_the_end_arrive():
    """5 MB, to a reader that begins when the writer has gone."""
    code = """\
import socket, sys
flow = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
flow.sendall(b"x" * 5_000_000)
"""
    size = 5_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port = listener.getsockname()[1]
        with start(TESLA_TRACE, "+dummy", sys.executable, "-c", code, port) as program:
            client, _ = listener.accept()
            client.settimeout(20)
            received = 0
            while received < size and (data := client.recv(4096 if received < 10**6 else 2**20)):
                received += len(data)
            assert received == size and client.recv(1) == b""
            assert program.wait() == 0


def test_the_front_returns_before_the_last_bytes_have_gone():
    """The supervisor delivers them, and then goes."""
    code = """\
import socket, sys
flow = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
flow.settimeout(0.3)
sent = 0
try:
    while True: sent += flow.send(b"x" * 65536)
except TimeoutError: pass  # now all is full, as far as the reader
print(sent)
"""
    for wait in ([], ["--wait"]):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(20)
            port = listener.getsockname()[1]
            words = [TESLA_TRACE, *wait, "+dummy", sys.executable, "-c", code, port]
            with start(*words) as program:
                client, _ = listener.accept()
                client.settimeout(20)
                sent = int(program.until("\n"))
                supervisor = supervisor_of(program.pid)
                if not wait:
                    assert program.wait() == 0 and alive(supervisor)
                received = 0
                while data := client.recv(2**20):
                    received += len(data)
                assert received == sent
                assert program.wait() == 0
                eventually("the supervisor has gone", lambda pid=supervisor: not alive(pid))


DAEMON = """\
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
if os.fork() == 0:
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3): os.dup2(null, fd)
    while True:
        client, _ = listener.accept()
        while data := client.recv(100): client.sendall(data.upper())
        if data == b"": client.close()
"""


def test_a_daemon_works_on_when_the_front_has_returned():
    with start(TESLA_TRACE, "+dummy", sys.executable, "-c", DAEMON) as front:
        port = int(front.until("\n"))
        supervisor = supervisor_of(front.pid)
        assert front.wait() == 0
    assert alive(supervisor)
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"HELLO"
    (daemon,) = children(supervisor)  # which adopts orphans
    os.kill(daemon, signal.SIGTERM)
    eventually("the supervisor has gone", lambda: not alive(supervisor))


def test_with_wait_the_front_returns_after_the_last_process():
    code = """\
import os, sys
parent = os.getpid()
if os.fork():
    os._exit(7)
while os.getppid() == parent: pass
print("alone", flush=True)
sys.stdin.readline()
"""
    with start(TESLA_TRACE, "--wait", "+dummy", sys.executable, "-c", code) as front:
        front.until("alone")
        assert front.process.poll() is None
        front.process.stdin.write(b"now\n")
        front.process.stdin.flush()
        assert front.wait() == 7
