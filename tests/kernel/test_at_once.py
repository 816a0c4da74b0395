"""accept(2) that does not wait; in a child, for the timer is a process's only one."""

import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from tesla_trace.kernel.at_once import accept_at_once
from tesla_trace.kernel.sockaddr import unpack
from tests.kernel.child import child

CLIENTS = 300


@contextlib.contextmanager
def in_a_child(do):
    """Do it to its end in a child, which says what it has seen."""

    def whole(say):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        with socket.create_server(("127.0.0.1", 0), backlog=CLIENTS) as listener:
            do(listener, say)

    with child(whole) as it:
        yield it


@pytest.mark.parametrize("blocks", [True, False])
def test_accepting(blocks):
    def do(listener, say):
        listener.setblocking(blocks)
        with contextlib.suppress(BlockingIOError):
            accept_at_once(listener.fileno())
            say("somebody came")
        with socket.create_connection(listener.getsockname()) as client:
            fd, peer = accept_at_once(listener.fileno())
            with socket.socket(fileno=fd) as flow:
                say(str(unpack(peer) == client.getsockname()))
                say(f"{flow.get_inheritable()} {os.get_blocking(fd)}")
        say(f"{listener.getblocking()} {signal.getitimer(signal.ITIMER_REAL)}")
        listener.shutdown(socket.SHUT_RDWR)
        try:
            accept_at_once(listener.fileno())
        except OSError as wrong:
            say(str(wrong))

    with in_a_child(do) as it:
        assert it.says() == "True"
        assert it.says() == "False False"
        assert it.says() == f"{blocks} (0.0, 0.0)"
        assert it.says() == "[Errno 22] Invalid argument"


def test_others_accept_too():
    """Whoever comes second does not wait for the next connection."""

    def do(listener, say):
        taken, ours, clients = [], [], []

        def others():
            while True:
                taken.append(listener.accept()[0])

        threading.Thread(target=others, daemon=True).start()
        longest = 0.0
        while len(clients) < CLIENTS:
            clients.append(socket.create_connection(listener.getsockname()))
            begun = time.monotonic()
            with contextlib.suppress(BlockingIOError):
                ours.append(accept_at_once(listener.fileno()))
            longest = max(longest, time.monotonic() - begun)
        while len(ours) + len(taken) < CLIENTS:
            pass
        say(f"{len(ours) + len(taken)} {longest < 1}")

    with in_a_child(do) as it:
        assert it.says() == f"{CLIENTS} True"
