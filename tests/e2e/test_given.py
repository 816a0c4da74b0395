"""Sockets that the program did not make: inherited, or sent by somebody outside."""

import contextlib
import socket
import struct
import sys
import threading

import pytest

from tests.e2e.conftest import BUILDS
from tests.e2e.peers import HELLO
from tests.e2e.process import LIMIT, TESLA_TRACE, run, start, under

IPPROTO_MPTCP = 262

each_build = pytest.mark.parametrize("build", BUILDS)


@contextlib.contextmanager
def echo():
    """A server of one connection that repeats what it hears; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with listener.accept()[0] as peer:
                while data := peer.recv(64):
                    peer.send(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join(LIMIT)


@contextlib.contextmanager
def given():
    """What fixtures/given.c wants: six descriptors."""
    with contextlib.ExitStack() as stack:
        new = stack.enter_context
        listener = new(socket.create_server(("127.0.0.1", 0)))
        bound = [new(socket.socket()), new(socket.socket())]
        for each in bound:
            each.bind(("127.0.0.1", 0))
        fresh = new(socket.socket())
        fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 30_000)
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3))
        connected = new(socket.create_connection(new(echo())))
        ours, theirs = map(new, socket.socketpair())
        for sent in socket.create_server(("127.0.0.1", 0)), socket.socket(), socket.socket():
            with sent:
                socket.send_fds(ours, [b"x"], [sent.fileno()])
        yield [each.fileno() for each in (listener, bound[0], fresh, bound[1], connected, theirs)]


@each_build
def test_same_as_natively(built, build):
    program = built.path("given", build)
    with given() as fds:
        native = run(program, *fds, fds=fds)
    with given() as fds:
        traced = under(["+log", "+dummy"], program, *fds, fds=fds)
    assert native.status == 0, native
    assert traced.out.splitlines() == native.out.splitlines()
    assert traced == native
    log = "\n".join(traced.log)
    # The positive control: each way in and out that the program has.
    assert log.count("accepted from") == log.count("connected in") >= 20
    assert log.count("listening on") == 4  # one is its own
    assert f"descriptor {fds[4]}, a connection to 127.0.0.1:" in log


def test_no_way_past_a_proxy(web, proxy):
    """An unconnected socket in the program's hands, and its duplicate in ours."""
    code = f"""\
import socket, sys
fd = int(sys.argv[1])
with socket.socket(fileno=fd) as flow:
    flow.connect(("127.0.0.1", {web.port}))
    flow.sendall(b"GET /hello HTTP/1.0\\r\\n\\r\\n")
    print(flow.makefile("rb").read())
"""
    words = ["+socks", f"-proxy=127.0.0.1:{proxy.port}", "-loopback"]
    with socket.socket() as flow:
        fd = flow.fileno()
        ran = under(words, sys.executable, "-c", code, fd, fds=[fd])
        assert HELLO.decode().strip() in ran.out, ran
        assert f"127.0.0.1:{web.port}" in proxy.log
        with pytest.raises(OSError):  # not connected: nothing goes out by it
            flow.send(b"past the handlers")


def test_what_cannot_be_carried_is_no_way_past_a_proxy(web):
    code = f"""\
import socket, sys
flow = socket.socket(fileno=int(sys.argv[1]))
try:
    flow.connect(("127.0.0.1", {web.port}))
    print("connected")
except OSError as error:
    print(error)
"""
    try:
        flow = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    except OSError:
        pytest.skip("needs MPTCP")
    with flow:
        fd = flow.fileno()
        refused = under(["+socks"], sys.executable, "-c", code, fd, fds=[fd])
        assert refused.out == "[Errno 93] Protocol not supported\n"
        alone = under(["+dummy"], sys.executable, "-c", code, fd, fds=[fd])
        assert alone.out == "connected\n" and "left alone" in "\n".join(alone.log)


def test_a_listener_shared_with_another_process():
    """Each connection is served once, by whoever comes first."""
    code = """\
import socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
print("ready", flush=True)
while True:
    with listener.accept()[0] as flow:
        flow.sendall(b"theirs")
"""

    def serve():
        for _ in range(100):
            with listener.accept()[0] as flow:
                flow.sendall(b"ours")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd, words = listener.fileno(), [TESLA_TRACE, "+dummy", sys.executable, "-c", code]
        with start(*words, fd, fds=[fd]) as program:
            program.until("ready")
            thread = threading.Thread(target=serve)
            thread.start()
            answers = []
            while answers.count(b"ours") < 100 or b"theirs" not in answers:
                with socket.create_connection(listener.getsockname(), LIMIT) as client:
                    answers.append(client.makefile("rb").read())
            thread.join(LIMIT)
    assert set(answers) == {b"ours", b"theirs"}


ACTIVATED = """\
import http.server, os, socket, sys
assert os.environ["LISTEN_FDS"] == "1" and int(os.environ["LISTEN_PID"]) == os.getpid()
os.chdir(sys.argv[1])
server = http.server.HTTPServer((), http.server.SimpleHTTPRequestHandler, False)
server.socket.close()
server.socket = socket.socket(fileno=3)
server.server_name, server.server_port = server.socket.getsockname()
server.handle_request()
"""


def test_socket_activation(tmp_path):
    """As systemd does it: descriptor 3, and who is meant in the environment."""
    (tmp_path / "served").write_text("hello")
    activate = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
    program = [sys.executable, "-c", activate]
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        words = [TESLA_TRACE, "--log", log, "+log", *program, fd, sys.executable, "-c", ACTIVATED]
        with start(*words, tmp_path, fds=[fd]) as server:
            with socket.create_connection(listener.getsockname(), LIMIT) as client:
                here = client.getsockname()
                client.sendall(b"GET /served HTTP/1.0\r\n\r\n")
                assert client.makefile("rb").read().endswith(b"hello")
            assert server.wait() == 0
    assert f"accepted from 127.0.0.1:{here[1]}" in log.read_text()
