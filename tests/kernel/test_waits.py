"""What threads of a child wait for, and whether it might be on a socket."""

import os
import select
import signal
import socket
import threading
from dataclasses import dataclass

import pytest

from tesla_trace.kernel import proc, waits
from tesla_trace.kernel.libc import libc, number_of
from tesla_trace.kernel.members import Below
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
    "recv of a duplicate": (lambda one, other: one.dup().recv(1), True),
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
            assert (
                waits.may_be_used(Stop(process.pid), proc.socket_name(one.fileno()), Below())
                == holds
            )


def test_a_thread_that_runs_may():
    def do(say):
        threading.Thread(target=run_for_ever, daemon=True).start()
        say("ready")

    with child(do) as process:
        process.says()
        eventually("it runs", lambda: waits.may_be_used(Stop(process.pid), b"socket:[1]", Below()))


def run_for_ever():
    while True:
        pass


def test_a_task_that_shares_descriptors_and_is_no_thread_may():
    clone_files = 0x400 | signal.SIGCHLD
    one, other = socket.socketpair()
    with one, other:

        def do(say):
            if libc.syscall(number_of("clone"), clone_files, 0, 0, 0, 0) == 0:
                one.recv(1)
                os._exit(0)
            say("ready")

        with child(do) as process:
            process.says()
            (sharing,) = proc.descendants(process.pid)
            eventually("it waits", lambda: proc.state(sharing) == "S")
            assert waits.may_be_used(Stop(process.pid), proc.socket_name(one.fileno()), Below())
            assert not waits.may_be_used(
                Stop(process.pid), proc.socket_name(other.fileno()), Below()
            )
            os.kill(sharing, signal.SIGKILL)


def test_the_caller_itself_does_not_count():
    with child(lambda say: say("ready")) as process:
        process.says()
        assert not waits.may_be_used(Stop(process.pid), b"socket:[1]", Below())


def test_of_very_many_threads_one_may():
    def do(say):
        for _ in range(waits.MOST + 1):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        say("ready")

    with child(do) as process:
        process.says()
        assert waits.may_be_used(Stop(process.pid), b"socket:[1]", Below())
