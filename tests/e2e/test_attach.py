"""Processes that run already are put under handlers, and let go again."""

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.attaching import attached
from tests.e2e.process import TESLA_TRACE, Program, run, start

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
