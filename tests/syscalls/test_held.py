"""Calls that wait, on a hand clock."""

import errno
import socket
import struct

import pytest

from tesla_trace.syscalls.held import GLANCE, SHARE, Held, Waiting, time_limit
from tesla_trace.testing.playbook import HandClock
from tests.syscalls.stop import FakeStop


@pytest.fixture
def clock():
    return HandClock()


class Work:
    """The work that we have done, in seconds."""

    done = 0.0


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def held(clock, work):
    return Held(clock, lambda: work.done)


@pytest.fixture
def hold(held):
    """Hold a call; the result has its answers, and `dropped`."""

    def make(limit=0.0, late=errno.EAGAIN, retry=None):
        stop = FakeStop()
        stop.dropped = []
        held.hold(Waiting(stop, limit, late, stop.dropped.append, retry))
        return stop

    return make


def test_for_ever(clock, hold):
    stop = hold()
    clock.advance(3600)
    assert stop.answers == [] and stop.dropped == []


def test_time_runs_out(clock, hold):
    stop, other = hold(1.0, errno.EINPROGRESS), hold(2.0)
    clock.advance(0.99)
    assert stop.answers == []
    clock.advance(0.01 + 2 * GLANCE)
    assert stop.answers == ["EINPROGRESS"] and stop.dropped == [stop]
    assert other.answers == []
    clock.advance(2)
    assert other.answers == ["EAGAIN"]
    assert stop.answers == ["EINPROGRESS"]


def test_interrupted(clock, hold):
    stop, limited = hold(), hold(60.0)
    clock.advance(1)
    stop.is_interrupted = limited.is_interrupted = True
    clock.advance(2 * GLANCE)
    assert stop.answers == ["restart"]
    assert limited.answers == ["EINTR"]  # even under SA_RESTART
    assert stop.dropped and limited.dropped


def test_released(clock, held, hold):
    stop = hold(1.0)
    held.release(stop)
    held.release(stop)
    stop.is_interrupted = True
    clock.advance(5)
    assert stop.answers == [] and stop.dropped == []


def test_those_who_are_gone_are_dropped_at_once(clock, held, hold):
    """And not at the next look, before which something may come for them."""
    gone, other = hold(1.0), hold(1.0)
    gone.is_gone = True
    held.drop_gone()
    assert gone.dropped == [gone] and not other.dropped
    clock.advance(2)
    assert gone.answers == [] and other.answers == ["EAGAIN"]


def test_gone(clock, hold):
    stop = hold(1.0)
    stop.is_gone = True
    clock.advance(2 * GLANCE)
    assert stop.answers == [] and stop.dropped == [stop]


def test_retried(clock, hold):
    tries = iter([False, False, True])
    stop = hold(retry=lambda: next(tries))
    clock.advance(10 * GLANCE)
    assert next(tries, "over") == "over"
    assert stop.dropped == []


def test_many_calls_are_looked_at_less_often(clock, work, hold):
    looks = []

    def look():
        looks.append(clock.now())
        work.done += 2 * GLANCE

    hold(retry=look)
    clock.advance(10 * GLANCE / SHARE)
    assert 4 <= len(looks) <= 6


def test_a_look_that_others_delay_is_no_reason_to_wait_for_the_next(clock, hold):
    """On a busy machine the supervisor loses the CPU in the middle of one."""
    looks = []

    def look():
        looks.append(clock.now())
        clock.time += 2 * GLANCE

    hold(retry=look)
    clock.advance(10 * GLANCE / SHARE)
    assert len(looks) > 60


def test_looks_end_with_the_last_call(clock, held, hold):
    stop = hold()
    held.release(stop)
    clock.advance(1)
    assert not clock._alarms
    again = hold(1.0)
    clock.advance(2)
    assert again.answers == ["EAGAIN"]


@pytest.mark.parametrize("option", [socket.SO_RCVTIMEO, socket.SO_SNDTIMEO])
def test_time_limits_of_a_socket(option):
    one, other = socket.socketpair()
    with one, other:
        assert time_limit(one, option) == 0
        one.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 1, 500_000))
        assert time_limit(one, option) == 1.5
