from errno import ENOTTY

import pytest

from tesla_trace.flow import OWN, FlowHandler
from tesla_trace.flow.events import LARGEST, WAITING, Event, Events
from tesla_trace.testing.playbook import app

TELLER = FlowHandler.__new__(FlowHandler)


class Outlet:
    """Has room for so many."""

    def __init__(self, room=10**9):
        self.room = room
        self.got = []
        self.closed = False

    def put(self, event, lost):
        assert not self.closed
        if len(self.got) == self.room:
            return False
        self.got.append((event.kind, lost))
        return True

    def close(self):
        self.closed = True


def told(events, *kinds):
    for kind in kinds:
        events.tell(Event(TELLER, kind, b""))


def test_what_is_told_before_somebody_asks_is_kept():
    events, outlet = Events(), Outlet()
    told(events, 1, 2)
    events.open(outlet)
    told(events, 3)
    assert outlet.got == [(1, 0), (2, 0), (3, 0)]


def test_no_more_is_kept_than_there_is_room_for():
    events, outlet = Events(), Outlet()
    told(events, *range(WAITING + 5))
    events.open(outlet)
    told(events, 1000, 1001)
    assert outlet.got == [*((kind, 0) for kind in range(WAITING)), (1000, 5), (1001, 0)]


def test_the_next_one_says_how_many_were_lost():
    events, outlet = Events(), Outlet(room=1)
    events.open(outlet)
    told(events, 1, 2, 3)
    outlet.room = 9
    told(events, 4, 5)
    assert outlet.got == [(1, 0), (4, 2), (5, 0)]


def test_losses_of_what_was_kept_count_with_those_before():
    events, outlet = Events(), Outlet(room=1)
    told(events, *range(WAITING + 1))
    events.open(outlet)
    outlet.room = 2
    told(events, 99)
    assert outlet.got == [(0, 0), (99, WAITING)]


def test_a_second_listener_ends_the_first():
    events, one, other = Events(), Outlet(), Outlet()
    events.open(one)
    events.open(other)
    told(events, 1)
    assert one.closed and one.got == [] and other.got == [(1, 0)]
    events.left(one)
    told(events, 2)
    assert other.got == [(1, 0), (2, 0)]


def test_one_that_left_may_come_again():
    events, one, other = Events(), Outlet(), Outlet()
    events.open(one)
    events.left(one)
    told(events, 1)
    events.open(other)
    assert one.closed and other.got == [(1, 0)]


def test_nothing_is_told_of_a_flow_that_is_over():
    events, outlet = Events(), Outlet()
    events.open(outlet)
    events.close()
    told(events, 1)
    assert outlet.closed and outlet.got == []


def test_one_is_not_too_large():
    with pytest.raises(ValueError, match="at most 4096 bytes, not 4097"):
        Events().tell(Event(TELLER, 1, bytes(LARGEST + 1)))


def test_a_request_of_ours_is_not_passed_on(play):
    handler = play(FlowHandler)
    with pytest.raises(OSError) as error:
        handler >> app.ioctl(OWN + 7, b"argument")
    assert error.value.errno == ENOTTY and "+null knows no request 7" in str(error.value)
