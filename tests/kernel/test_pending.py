"""Which pending signals would end a call: judged by a child that has them pending.

The child blocks them in all its threads, so that they stay; what is asked about is then whether a
signal that is *not* blocked is there, which a stopped child has.
"""

import os
import signal
import threading

from tesla_trace.kernel import pending
from tests.e2e.process import eventually
from tests.kernel.child import child


def handler(number, frame): ...


def sleeping(*, caught=(), ignored=(), blocked=()):
    def do(say):
        for number in caught:
            signal.signal(number, handler)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        say("ready")

    return do


def stop(pid):
    """A process that is stopped keeps what is sent to it pending, blocked or not."""
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)


USR1 = signal.SIGUSR1


def look(do, *numbers):
    with child(do) as other:
        other.says()
        stop(other.pid)
        for number in numbers:
            os.kill(other.pid, number)
        return pending.interrupts(other.pid)


def test_nothing():
    assert not look(sleeping(caught=[USR1]))


def test_a_signal_with_a_handler():
    assert look(sleeping(caught=[USR1]), USR1)


def test_a_signal_that_is_blocked():
    assert not look(sleeping(caught=[USR1], blocked=[USR1]), USR1)


def test_a_signal_that_is_ignored():
    assert not look(sleeping(ignored=[USR1]), USR1)
    assert not look(sleeping(), signal.SIGCHLD)  # ignored by default


def test_one_of_several():
    both = [USR1, signal.SIGUSR2]
    assert look(sleeping(caught=both, blocked=[USR1]), *both)


def test_stops_count():
    assert look(sleeping(), signal.SIGTSTP)
    assert not look(sleeping(ignored=[signal.SIGTSTP]), signal.SIGTSTP)


def test_a_thread_that_is_not_there():
    assert not pending.interrupts(2**22)


def test_of_several_threads_the_leader_takes_it():
    def two(say):
        signal.signal(USR1, handler)
        thread = threading.Thread(target=signal.pause)
        thread.start()
        say(str(thread.native_id))

    with child(two) as other:
        thread = int(other.says())
        stop(other.pid)
        os.kill(other.pid, USR1)
        assert pending.interrupts(other.pid)
        assert not pending.interrupts(thread)


def test_a_thread_takes_what_the_leader_blocks():
    def two(say):
        signal.signal(USR1, handler)
        thread = threading.Thread(target=signal.pause)
        thread.start()
        signal.pthread_sigmask(signal.SIG_BLOCK, [USR1])
        say(str(thread.native_id))

    with child(two) as other:
        thread = int(other.says())
        stop(other.pid)
        os.kill(other.pid, USR1)
        assert pending.interrupts(thread)


def test_a_stop_that_another_thread_has_taken_counts():
    def two(say):
        thread = threading.Thread(target=signal.pause)
        thread.start()
        say(str(thread.native_id))

    with child(two) as other:
        thread = int(other.says())
        stop(other.pid)
        eventually("both are stopped", lambda: pending.interrupts(thread))
