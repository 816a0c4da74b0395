"""Processes that run already are put under handlers, and let go again."""

import contextlib
import http.server
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tesla_trace.kernel.libc import number_of
from tesla_trace.kernel.proc import call
from tests.e2e import plain
from tests.e2e.attaching import attached
from tests.e2e.conftest import BUILDS
from tests.e2e.process import LIMIT, TESLA_TRACE, Program, children, eventually, lines, run, start
from tests.e2e.test_servers import PAGE, get, nginx

CLIENT = """
import socket, sys, threading
port, kept = int(sys.argv[1]), threading.local()
idle = socket.create_connection(("127.0.0.1", port))  # from before, and used all the time
print("ready", flush=True)
def serve():
    while True:
        listener.accept()[0].close()
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, daemon=True).start()
for line in sys.stdin:
    idle.sendall(b"1")
    assert idle.recv(1) == b"1"
    with socket.create_connection(("127.0.0.1", port)) as new:
        new.sendall(b"2")
        assert new.recv(1) == b"2"
    with socket.create_connection(listener.getsockname()) as accepted:
        assert accepted.recv(1) == b""
    print("done", line.strip(), flush=True)
"""
"""Two threads: one connects whenever it is told to, the other accepts."""


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer(peer: socket.socket) -> None:
            with peer, contextlib.suppress(OSError):
                while data := peer.recv(65536):
                    peer.sendall(data)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(listener.accept()[0],)).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def client(port: int) -> Iterator[Program]:
    """The two-thread client."""
    with start(sys.executable, "-c", CLIENT, port) as program:
        program.until("ready")
        yield program


def turn(program: Program, word: str = "x") -> None:
    """Have the client make its connections, and see that all of them work."""
    assert program.process.stdin is not None
    program.process.stdin.write(f"{word}\n".encode())
    program.process.stdin.flush()
    program.until(f"done {word}")


def test_new_connections_and_accepts_are_served(echo):
    with client(echo) as program:
        turn(program)
        with attached(program.pid) as tracer:
            assert "1 listener found, 1 connection left alone" in tracer.out
            turn(program)
            tracer.until(f"connecting to 127.0.0.1:{echo}")
            tracer.until("accepted from")  # by the thread that waited in accept(2), too
            turn(program)
            program.process.stdin.close()
            assert program.wait() == 0
            tracer.until("not covered: 1 connection from before (python")
            assert tracer.wait() == 0


@pytest.mark.parametrize(
    ("process", "why"),
    [
        ("1", "1 is init"),
        ("2", "kernel"),
        (str(2**22), "there is no process"),
    ],
)
def test_what_cannot_be_attached_to(process, why):
    if process == "2" and "kthreadd" not in run("cat", "/proc/2/comm").out:
        pytest.skip("no kernel threads to be seen here")
    ran = run(TESLA_TRACE, "--attach", process, "+dummy")
    assert ran.status == 1
    assert why in ran.err and len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("words", [["--attach", "x"], ["--attach", "0"], ["--attach", "7", "true"]])
def test_what_makes_no_sense(words):
    assert run(TESLA_TRACE, "+dummy", *words).status == 2


def test_what_was_let_go_works_on(echo):
    with client(echo) as program:
        with attached(program.pid) as tracer:
            turn(program, "a")
            tracer.until("connecting to")
            tracer.send(signal.SIGTERM)
            tracer.until("detached from python")
            assert tracer.wait() == 0
        for word in "bcd":
            turn(program, word)
        assert "connecting to" not in tracer.out.partition("detached")[2]
        program.process.stdin.close()
        assert program.wait() == 0


SERVER = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
threads = int(sys.argv[1])
def serve():
    while True:
        peer, _ = listener.accept()
        with peer:
            while data := peer.recv(100):
                peer.sendall(data)
def answer(peer):
    with peer:
        peer.sendall(peer.recv(100))
        peer.recv(100)
for _ in range(threads):
    threading.Thread(target=serve, daemon=True).start()
print(listener.getsockname()[1], flush=True)
for line in sys.stdin:  # now it listens on a socket of its own making
    again = socket.create_server(("127.0.0.1", 0))
    print("more", again.getsockname()[1], flush=True)
    for _ in range(int(line)):
        threading.Thread(target=answer, args=(again.accept()[0],)).start()
    print("enough", flush=True)
"""


@contextlib.contextmanager
def server(threads: int = 1) -> Iterator[tuple[Program, int]]:
    """A server whose threads all wait in accept(2)."""
    with start(sys.executable, "-c", SERVER, threads) as program:
        yield program, int(program.until("\n"))


def say(program: Program, word: str) -> None:
    assert program.process.stdin is not None
    program.process.stdin.write(f"{word}\n".encode())
    program.process.stdin.flush()


def echoes(port: int, data: bytes = b"hello") -> bool:
    with socket.create_connection(("127.0.0.1", port), 10) as peer:
        peer.sendall(data)
        return peer.recv(100) == data


CONNECTING = """
import socket, sys
one = socket.socket()
print("ready", flush=True)
one.connect(("127.0.0.1", int(sys.argv[1])))
print("connected", flush=True)
sys.stdin.readline()
"""


def test_a_connect_that_is_under_way_goes_on():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        name = listener.getsockname()
        with socket.create_connection(name), start(sys.executable, "-c", CONNECTING, name[1]) as it:
            it.until("ready")
            eventually("it waits", lambda: call(it.pid) == number_of("connect"))
            with attached(it.pid):
                listener.accept()[0].close()
                it.until("connected")  # when the kernel asks the peer once more


def test_all_that_wait_in_accept_are_served_at_once():
    with server(3) as (program, port), attached(program.pid) as tracer:
        for _ in range(3):
            assert echoes(port)
            tracer.until("accepted from")


def test_a_connection_under_way_is_finished_first_and_then_a_listener_is_the_kernel_s():
    with server() as (program, _), attached(program.pid, "+log") as tracer:
        say(program, "3")
        port = int(program.until("more").split()[1])
        with socket.create_connection(("127.0.0.1", port), 10) as peer:
            tracer.until("accepted from")
            tracer.send(signal.SIGINT)
            tracer.until("1 connection under way")
            peer.sendall(b"finished")
            assert peer.recv(100) == b"finished"
        tracer.until("detached")
        assert "reset" not in tracer.out
        assert tracer.wait() == 0
        assert echoes(port) and echoes(port)
        program.until("enough")


def test_a_connection_that_takes_too_long_is_reset():
    with client_of_nobody() as (program, peer), attached(program.pid, "+log", "--grace=0.1") as it:
        say(program, "go")
        with peer() as end:
            it.until("connecting to")
            it.send(signal.SIGINT)
            it.until("1 connection reset")
            program.until("ConnectionResetError")
            with pytest.raises(ConnectionResetError):
                end.recv(100)


@contextlib.contextmanager
def client_of_nobody():
    code = """
import socket, sys
sys.stdin.readline()
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as one:
    try:
        one.recv(1)
    except OSError as wrong:
        print(type(wrong).__name__, flush=True)
sys.stdin.readline()
"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with start(sys.executable, "-c", code, listener.getsockname()[1]) as program:
            yield program, lambda: listener.accept()[0]


def test_the_terminal_s_ctrl_c():
    """A group that is in the foreground gets it; the process is in another one."""
    with server() as (program, port):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(TESLA_TRACE, [TESLA_TRACE, "--attach", str(program.pid), "+dummy"])
        try:
            said = lines(terminal)
            assert "attached to" in next(said)
            assert echoes(port)
            os.write(terminal, b"\x03")
            assert any("detached from" in line for line in said)
        finally:
            _, how = os.waitpid(pid, 0)
            os.close(terminal)
        assert how == 0
        assert echoes(port)


def test_another_one_lets_it_go():
    with server() as (program, port), attached(program.pid, "+dummy") as tracer:
        ran = run(TESLA_TRACE, "--detach", program.pid)
        assert ran.status == 0 and ran.err.startswith("tesla_trace: detached from python")
        assert tracer.wait() == 0
        assert echoes(port)
        ran = run(TESLA_TRACE, "--detach", program.pid)
        assert ran.status == 1 and "no tesla_trace of ours is attached" in ran.err
        with attached(program.pid, "+log") as again:
            assert "trapping by ptrace" in again.out and "it has a filter" in again.out
            assert echoes(port)
            again.until("accepted from")


def test_twice_at_once():
    with server() as (program, port), attached(program.pid, "+dummy"):
        ran = run(TESLA_TRACE, "--attach", program.pid, "--trap=seccomp", "+dummy")
        assert ran.status == 1 and "another supervisor" in ran.err
        assert echoes(port)


def test_by_ptrace():
    with start(sys.executable, "-c", ENDLESS) as program:
        program.until("still")
        with attached(program.pid, "--trap=ptrace", "+log") as tracer:
            assert "trapping by ptrace, which stops at every system call" in tracer.out
            tracer.until("connecting to")
            tracer.until("accepted from")
            tracer.send(signal.SIGTERM)
            tracer.until("detached")
            assert tracer.wait() == 0
        eventually("nobody traces it", lambda: "TracerPid:\t0" in status(program.pid))
        assert "Seccomp:\t0" in status(program.pid)
        for _ in range(5):
            program.until("still")


def test_what_is_traced_already():
    with server() as (program, _), start("strace", "-o", "/dev/null", "-fp", program.pid):
        eventually("strace traces it", lambda: "TracerPid:\t0" not in status(program.pid))
        ran = run(TESLA_TRACE, "--attach", program.pid, "+dummy")
        assert ran.status == 1 and "is traced by strace" in ran.err


def status(process: int) -> str:
    return Path(f"/proc/{process}/status").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_what_belongs_to_somebody_else():
    with server() as (program, _):
        ran = run(*plain.tesla_trace(), "--attach", program.pid, "+dummy")
        assert ran.status == 1 and "belongs to root: run tesla_trace as root" in ran.err


def test_a_plain_user_and_a_process_of_his():
    """It takes the promise that sudo(8) does not like; root's processes are not asked for it."""
    with start(*plain.as_nobody(), plain.python(), "-c", ENDLESS) as program:
        program.until("still")
        argv = *plain.tesla_trace(), "--attach", program.pid, "+log"
        with start(*argv, stderr=subprocess.STDOUT) as tracer:
            tracer.until("attached to")
            tracer.until("accepted from")
            tracer.send(signal.SIGTERM)
            tracer.until("detached")
        assert "NoNewPrivs:\t1" in status(program.pid)
        program.until("still")
    with start(sys.executable, "-c", ENDLESS) as program:
        program.until("still")
        with attached(program.pid):
            assert "NoNewPrivs:\t0" in status(program.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make namespaces")
@pytest.mark.parametrize("kind", ["--net", "--pid", "--user"])
def test_another_namespace(kind):
    words = ["unshare", kind, *(["--fork", "--kill-child"] if kind == "--pid" else [])]
    up = ["sh", "-c", 'ip link set lo up; exec "$@"', "up"] if kind == "--net" else []
    code = ENDLESS if kind == "--net" else ENDLESS
    with start(*words, *up, sys.executable, "-c", code) as program:
        program.until("ready")
        there = children(program.pid)[0] if kind == "--pid" else program.pid
        with attached(there) as tracer:
            tracer.until("connecting to 127.0.0.1")
            tracer.until("accepted from")
            tracer.send(signal.SIGTERM)
            tracer.until("detached")
        program.until("still")
        program.until("still")


ENDLESS = """
import socket, threading, time
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    while True:
        listener.accept()[0].close()
threading.Thread(target=serve, daemon=True).start()
print("ready", flush=True)
while True:
    with socket.create_connection(listener.getsockname()) as one:
        assert one.recv(1) == b""
    print("still", flush=True)
    time.sleep(0.02)
"""


@pytest.mark.needs("busybox")
def test_a_static_program_and_what_it_starts(echo_http):
    loop = f"while busybox wget -q -O - http://127.0.0.1:{echo_http}/; do :; done"
    with start("busybox", "sh", "-c", loop) as program:
        program.until("page")
        with attached(program.pid, "+log", "--tree") as tracer:
            tracer.until(f"connecting to 127.0.0.1:{echo_http}")
            program.until("page")
            tracer.send(signal.SIGTERM)
            tracer.until("detached from busybox")
        for _ in range(3):
            program.until("page")


@pytest.fixture
def echo_http() -> Iterator[int]:
    """The port of a server that gives everybody one page."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page\n")

    def log_message(self, *args: object) -> None: ...


@pytest.mark.needs("nginx")
def test_nginx_master_and_workers(tmp_path):
    with nginx((), tmp_path) as (port, server):
        with attached(server.pid, "+log", "--tree") as tracer:
            assert re.search(
                r"attached to nginx \(\d+\) and \d+ more: 1 listener found", tracer.out
            )
            for _ in range(5):
                assert get(port) == PAGE.encode()
                tracer.until("accepted from")
            tracer.send(signal.SIGTERM)
            tracer.until("detached")
        for _ in range(5):
            assert get(port) == PAGE.encode()
        server.send(signal.SIGQUIT)
        assert server.wait() == 0


RING = """
import ctypes, sys
ring = ctypes.CDLL(None).syscall(425, 1, bytes(120))  # io_uring_setup
print(ring, flush=True)
sys.stdin.readline()
"""


def test_a_ring_of_io_uring():
    with start(sys.executable, "-c", RING) as program:
        if int(program.until("\n")) < 0:
            pytest.skip("needs io_uring")
        ran = run(TESLA_TRACE, "--attach", program.pid, "--strict", "+dummy")
        assert ran.status == 1 and "uses io_uring, which would bypass" in ran.err
        with attached(program.pid, "+dummy") as tracer:
            assert "uses io_uring: what goes by that is not covered" in tracer.out


@pytest.mark.parametrize("build", BUILDS)
def test_each_kind_of_program(built, build):
    """It ends at the first call that fails; the log tells that both of its ends were served."""
    with start(built.path("looping", build, "fixtures/peers")) as program:
        program.until("still")
        with attached(program.pid) as tracer:
            assert "1 listener found" in tracer.out
            for _ in range(5):
                tracer.until("accepted from")
            program.until("still")
            tracer.send(signal.SIGTERM)
            tracer.until("detached")
            assert tracer.wait() == 0
        for _ in range(40):
            program.until("still")


def test_one_that_is_stopped():
    with start(sys.executable, "-c", ENDLESS) as program:
        program.until("still")
        program.send(signal.SIGSTOP)
        eventually("it has stopped", lambda: "State:\tT" in status(program.pid))
        with attached(program.pid) as tracer:
            # Who is let go by a tracer runs for a moment, in the kernel, to where it stops again.
            eventually("it is stopped still", lambda: "State:\tT" in status(program.pid))
            program.send(signal.SIGCONT)
            tracer.until("accepted from")
        program.until("still")


RESOLVER = """
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.connect(("127.0.0.1", int(sys.argv[1])))
for line in sys.stdin:
    one.send(line.encode())
    print("got", one.recv(100).decode(), end="", flush=True)
    two = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    two.sendto(line.encode(), one.getpeername())
    print("and", two.recvfrom(100)[0].decode(), end="", flush=True)
    one = two if line == "swap\\n" else one
    one.connect(("127.0.0.1", int(sys.argv[1])))
"""


def test_datagram_sockets_are_served_and_given_back():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))

        def answer() -> None:
            with contextlib.suppress(OSError):
                while (got := peer.recvfrom(100))[0]:
                    peer.sendto(*got)

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        with start(sys.executable, "-c", RESOLVER, peer.getsockname()[1]) as program:
            say(program, "one")
            program.until("and one")
            with attached(program.pid, "+log") as tracer:
                say(program, "swap")  # from now on it has a socket of ours
                program.until("and swap")
                say(program, "two")
                program.until("and two")
                assert "127.0.0.1" in tracer.until("connecting to")
                tracer.send(signal.SIGTERM)
                tracer.until("detached")
                assert tracer.wait() == 0
            for word in ("three", "four"):
                say(program, word)
                program.until(f"got {word}")
                program.until(f"and {word}")
        peer.sendto(b"", peer.getsockname())
        answering.join(LIMIT)


def test_one_that_becomes_another_program_all_the_time(built):
    for _ in range(5):
        with start(built.path("becoming", "glibc", "fixtures/peers")) as program:
            program.until("ready")
            with attached(program.pid, "+dummy") as tracer:
                tracer.send(signal.SIGTERM)
                tracer.until("detached")
                assert tracer.wait() == 0


FILTERED = """
import ctypes, os, signal, struct, sys, threading
libc = ctypes.CDLL(None)
def bound(kill):
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, kill), (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7FFF0000)]
    lines = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    program = struct.pack("=H6xQ", len(code), ctypes.addressof(lines))
    assert libc.prctl(22, 2, program, 0, 0) == 0
    print("ready", flush=True)
    while True:
        signal.pause()
"""
"""What binds itself to a filter that kills for one call."""


def test_a_thread_with_a_filter_that_others_have_not():
    code = f"{FILTERED}\nthreading.Thread(target=bound, args=(999,)).start()\nsignal.pause()"
    with start(sys.executable, "-c", code) as program:
        program.until("ready")
        ran = run(TESLA_TRACE, "--attach", program.pid, "--trap=seccomp", "+dummy")
        assert ran.status == 1 and "a thread has a filter that others have not" in ran.err
        with attached(program.pid, "+dummy") as tracer:
            assert "by ptrace, which stops at every system call (it has a filter" in tracer.out


def test_what_would_die_of_our_filter_is_left_alone():
    kill = number_of("seccomp")
    code = f"{FILTERED}\nif not os.fork(): bound({kill})\nprint(os.wait(), flush=True)"
    with start(sys.executable, "-c", code) as program:
        program.until("ready")
        (below,) = children(program.pid)
        with attached(program.pid, "--tree", "+dummy") as tracer:
            assert re.search(rf"left alone: \S+ \({below}\) has a filter, which might", tracer.out)
            assert "more:" not in tracer.out
        os.kill(below, signal.SIGTERM)
        program.until(f"({below}, {signal.SIGTERM:d})")


def test_one_that_was_let_go_is_not_passed_over_in_silence():
    code = f"{FILTERED}\nif not os.fork(): signal.pause()\nprint('ready', flush=True)\nos.wait()"
    with start(sys.executable, "-c", code) as program:
        program.until("ready")
        (below,) = children(program.pid)
        with attached(below, "+dummy") as tracer:
            tracer.send(signal.SIGTERM)
            assert tracer.wait() == 0
        with attached(program.pid, "--tree", "+dummy") as tracer:
            assert re.search(rf"left alone: \S+ \({below}\) has a filter", tracer.out)
