"""What threads of a child wait for, and whether it might be a descriptor."""

import select
import signal
import socket
import threading
from dataclasses import dataclass

import pytest

from tesla_trace.kernel import proc, waits
from tests.e2e.process import eventually
from tests.kernel.child import child


@dataclass
class Stop:
    """As much of one as is looked at."""

    thread: int

    def process(self) -> int:
        return self.thread


WAYS = {
    "recv": (lambda one, other: one.recv(1), True),
    "recv of another": (lambda one, other: other.recv(1), False),
    "select": (lambda one, other: select.select([one], [], []), True),
    "poll of another": (lambda one, other: poll(other), True),
    "epoll": (lambda one, other: epoll(one), False),
    "a lock": (lambda one, other: threading.Event().wait(), False),
    "sleep": (lambda one, other: signal.sigtimedwait([signal.SIGUSR1], 60), False),
}


def poll(one):
    made = select.poll()
    made.register(one, select.POLLIN)
    made.poll()


def epoll(one):
    made = select.epoll()
    made.register(one, select.EPOLLIN)
    made.poll()


@pytest.mark.parametrize(("wait", "holds"), WAYS.values(), ids=WAYS)
def test_what_a_thread_waits_on(wait, holds):
    one, other = socket.socketpair()
    with one, other:

        def do(say):
            thread = threading.Thread(target=wait, args=(one, other), daemon=True)
            thread.start()
            say(thread.native_id)

        with child(do) as process:
            thread = int(process.says())
            eventually("it waits", lambda: proc.state(thread) == "S")
            assert waits.may_wait_on(Stop(process.pid), one.fileno()) == holds


def test_the_caller_itself_does_not_count():
    with child(lambda say: say("ready")) as process:
        process.says()
        assert not waits.may_wait_on(Stop(process.pid), 0)


def test_of_very_many_threads_one_may():
    def do(say):
        for _ in range(waits.MOST + 1):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        say("ready")

    with child(do) as process:
        process.says()
        assert waits.may_wait_on(Stop(process.pid), 0)
