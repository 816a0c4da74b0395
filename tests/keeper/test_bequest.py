"""Ends that outlive the supervisor."""

import os
import select
import socket

import pytest

from tesla_trace.io.datagram_pair import DatagramPair
from tesla_trace.io.loop import Loop
from tesla_trace.keeper.bequest import SOON, Bequeathed, Bequest
from tesla_trace.keeper.channel import MOST_FILES, KeeperEnd, hear


@pytest.fixture
def channel():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, KeeperEnd(theirs)


class Time:
    """Alarms that are rung by hand."""

    def __init__(self):
        self.alarms = []

    def now(self):
        return 100.0

    def at(self, when, call):
        assert when == 100.0 + SOON
        self.alarms.append(call)

    def ring(self):
        self.alarms.pop()()
        assert not self.alarms


def pairs(count):
    loop = Loop(lambda wrong: None)
    return [DatagramPair(loop, socket.AF_INET) for _ in range(count)]


def test_ends_are_handed_over_in_heaps(channel):
    ours, keeper = channel
    bequest = Bequest(time := Time(), keeper)
    made = pairs(MOST_FILES + 3)
    for each in made:
        bequest.add(each)
    for each in made[:2]:
        each.close()
    time.ring()
    heaps = [hear(ours).ends, hear(ours).ends]
    assert [len(each) for each in heaps] == [MOST_FILES, 1]
    for fd in heaps[0] + heaps[1]:
        assert not os.get_inheritable(fd)
        os.close(fd)


@pytest.fixture
def held():
    """What the keeper has, and the program's end of it."""
    program, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    poll = select.poll()
    kept = Bequeathed(poll)
    kept.add(ours.detach())
    with program:
        yield program, poll, kept


def serve(poll, kept):
    ready = poll.poll(1000)
    assert ready and all(kept.serve(*each) for each in ready)


def test_it_is_let_go_when_the_program_closes_its_end(held):
    program, poll, kept = held
    assert not poll.poll(0)
    program.send(b"for the supervisor, which lives")
    assert not poll.poll(0)
    program.close()
    serve(poll, kept)
    assert not poll.poll(0)
    assert not kept.serve(3, select.POLLIN)


def test_the_program_is_told_once_and_what_it_sends_is_dropped(held):
    program, poll, kept = held
    kept.take_over()
    assert program.recv(10) == b""
    with pytest.raises(BlockingIOError):
        program.recv(10, socket.MSG_DONTWAIT)
    for _ in range(2000):
        program.send(bytes(60000))
        serve(poll, kept)
