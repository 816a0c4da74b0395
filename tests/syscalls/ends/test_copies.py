"""Copies of programs' ends, kept for the next call, by a clock that is driven by hand."""

import socket

import pytest

from tesla_trace.syscalls.ends.copies import MOMENT, Copies
from tesla_trace.testing.playbook import HandClock
from tests.syscalls.stop import FakeStop


class Owner:
    def __init__(self, end):
        self.end = end
        self.waited_on = False

    def borrowed(self, stop=None, fd=-1):
        return self.end.dup()


@pytest.fixture
def owner():
    one, other = socket.socketpair()
    with one, other:
        yield Owner(one)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def copies(clock):
    return Copies(clock)


def test_the_next_call_finds_it(copies, clock, owner):
    copy = copies.end(owner, FakeStop())
    clock.advance(0.9 * MOMENT)
    assert copies.end(owner, FakeStop()) is copy and copy.fileno() >= 0
    clock.advance(MOMENT)
    assert copy.fileno() < 0
    again = copies.end(owner, FakeStop())
    assert again is not copy
    copies.give_back()
    assert again.fileno() < 0


def test_it_is_kept_while_a_call_waits(copies, clock, owner):
    copy = copies.end(owner, FakeStop())
    owner.waited_on = True
    clock.advance(100 * MOMENT)
    copies.give_back()
    assert copy.fileno() >= 0
    owner.waited_on = False
    copies.look_soon()
    assert copy.fileno() >= 0
    clock.advance(MOMENT)
    assert copy.fileno() < 0
