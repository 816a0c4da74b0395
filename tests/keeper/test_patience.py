"""Who is told at once that a call failed, and who is told later."""

import pytest

from tesla_trace.keeper.patience import AT_ONCE, DELAY, REMEMBERED, REST, Patience
from tests.syscalls.stop import FakeStop


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def stop(thread=1):
    made = FakeStop()
    made.thread = thread
    return made


def tire(patience, thread=1):
    for _ in range(AT_ONCE):
        patience.fail(once := stop(thread), 100)
        assert once.answers == ["ENETDOWN"]


def test_the_first_failures_are_told_at_once():
    patience = Patience(Clock())
    tire(patience)
    assert patience.wait() is None


def test_the_next_is_told_later():
    patience = Patience(clock := Clock())
    tire(patience)
    patience.fail(late := stop(), 100)
    assert not late.answers and patience.wait() == pytest.approx(DELAY)
    patience.tell()
    assert not late.answers
    clock.now += DELAY
    patience.tell()
    assert late.answers and patience.wait() is None


def test_another_thread_is_told_at_once():
    patience = Patience(Clock())
    tire(patience, 1)
    tire(patience, 2)


def test_who_has_rested_is_told_at_once():
    patience = Patience(clock := Clock())
    tire(patience)
    clock.now += REST
    tire(patience)


def test_no_more_threads_are_remembered_than_some():
    patience = Patience(Clock())
    tire(patience, 0)
    for thread in range(1, REMEMBERED + 1):
        patience.fail(stop(thread), 100)
    tire(patience, 0)
