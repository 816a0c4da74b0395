"""Calls of a child that somebody else has received, who is dead by now."""

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket

import pytest

from tesla_trace.keeper.answers import OnCrash
from tesla_trace.keeper.keeping import Keeping, Kept, keep
from tesla_trace.kernel.filter import Rule, build, numbers
from tesla_trace.kernel.ledger import Ledger
from tesla_trace.kernel.libc import pidfd_getfd
from tesla_trace.kernel.notified import IOCTL_RECV, NOTIFICATION
from tesla_trace.kernel.notify import NotifyTrap
from tesla_trace.kernel.spawn import install
from tests.kernel.child import child

RULES = [Rule("connect"), Rule("bind"), Rule("getsockname")]
CALLS = numbers(RULES)


@contextlib.contextmanager
def under_a_filter(do):
    """A child whose calls are trapped once it is told to go; and the listener."""
    heard, tell = os.pipe()

    def run(say):
        say(str(install(BPF)))
        os.read(heard, 1)
        do(say)

    with child(run) as made:
        said = made.says()
        listener = pidfd_getfd(os.pidfd_open(made.pid), int(said))
        os.write(tell, b"x")
        try:
            yield made, listener
        finally:
            os.close(heard)
            os.close(tell)


BPF = build(RULES)


@contextlib.contextmanager
def received(listener, ledger, times, *, hides=False):
    """Let a process receive calls and die; with `hides` before it has written the last one down."""
    heard, said = os.pipe()
    pid = os.fork()
    if pid == 0:
        trap = NotifyTrap(listener, CALLS, ledger=ledger)
        for count in range(times):
            select.select([listener], [], [])
            if hides and count == times - 1:
                fcntl.ioctl(listener, IOCTL_RECV, bytes(NOTIFICATION.size))
            else:
                trap.next()
        os.write(said, b"x")
        signal.pause()
    os.read(heard, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(heard)
    os.close(said)
    yield


def connect(say):
    with socket.socket() as one:
        try:
            one.connect(("127.0.0.1", 9))
        except OSError as wrong:
            say(errno.errorcode[wrong.errno])


def connects_for_ever(say):
    while True:
        with socket.socket() as one, contextlib.suppress(OSError):
            one.connect(("127.0.0.1", 9))


def connect_in_threads(count):
    import threading

    def do(say):
        threads = [threading.Thread(target=connect, args=[say]) for _ in range(count)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    return do


def taken_over(listener, ledger, policy):
    poll = select.poll()
    keeping = Keeping(policy, poll)
    keeping.take_over(Kept(listener, os.dup(ledger.file), CALLS))
    return poll, keeping


@pytest.mark.parametrize(
    ("policy", "says"), [(OnCrash.OPEN, "ECONNREFUSED"), (OnCrash.CLOSED, "ENETDOWN")]
)
def test_calls_that_somebody_else_has_received(policy, says):
    with under_a_filter(connect_in_threads(5)) as (made, listener):
        ledger = Ledger()
        with received(listener, ledger, 5):
            taken_over(listener, ledger, policy)
        assert [made.says() for _ in range(5)] == 5 * [says]


@pytest.mark.parametrize(
    ("policy", "says"), [(OnCrash.OPEN, "ECONNREFUSED"), (OnCrash.CLOSED, "ENETDOWN")]
)
def test_one_that_was_not_written_down(policy, says):
    with under_a_filter(connect_in_threads(2)) as (made, listener):
        ledger = Ledger()
        with received(listener, ledger, 2, hides=True):
            taken_over(listener, ledger, policy)
        assert [made.says() for _ in range(2)] == 2 * [says]


def test_calls_that_come_later():
    with under_a_filter(connect) as (made, listener):
        poll, keeping = taken_over(listener, Ledger(), OnCrash.CLOSED)
        keeping.serve(poll.poll(10_000))
        assert made.says() == "ENETDOWN"
        assert not keeping.over


def test_the_end_of_the_last_process():
    with under_a_filter(connect) as (made, listener):
        poll, keeping = taken_over(listener, Ledger(), OnCrash.OPEN)
        os.kill(made.pid, signal.SIGKILL)
        while not keeping.over:
            ready = poll.poll(10_000)
            assert ready
            keeping.serve(ready)


def test_the_end_of_one_who_was_to_be_told_later():
    """Nobody is told any more, by whatever has the listener's number then."""
    with under_a_filter(connects_for_ever) as (made, listener):
        poll, keeping = taken_over(listener, Ledger(), OnCrash.CLOSED)
        while keeping.wait() is None:
            keeping.serve(poll.poll(10_000))
        os.kill(made.pid, signal.SIGKILL)
        keeping.serve(poll.poll(10_000))
        assert keeping.over and keeping.wait() is None


def test_a_whole_process_of_it():
    with under_a_filter(connect) as (made, listener):
        pid = os.fork()
        if pid == 0:
            keep([Kept(listener, -1, CALLS)], OnCrash.OPEN)
            os._exit(0)
        os.close(listener)
        assert made.says() == "ECONNREFUSED"
        os.kill(made.pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == 0
