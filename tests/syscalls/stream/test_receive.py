"""Calls that receive from a stream and are done by us: on a real connection, without a program."""

import os
import socket
import struct

import pytest

from tesla_trace.flow import Stack, parse
from tesla_trace.syscalls.arguments.flags import MSG_DONTWAIT, MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream import receive
from tesla_trace.syscalls.stream.socket import Socket
from tesla_trace.syscalls.stream.state import State
from tests.io.world import World
from tests.syscalls.stop import BASE, FakeStop

DATA, NAME, LENGTH, HEADER, VECTOR = (BASE + 0x100 * each for each in range(5))
MEMORY = 0x600
ROOM = struct.pack("=i", 28)


class Caller(FakeStop):
    """A call of a program whose descriptor 3 is `end`."""

    def __init__(self, end, call, *args):
        super().__init__(call, 3, *args, memory=bytes(MEMORY))
        self.end = end
        self.write(LENGTH, ROOM)

    def borrow(self, fd, file):
        assert fd == 3
        return os.dup(self.end.fileno())

    def name(self):
        return "program"

    def process(self):
        return self.thread


@pytest.fixture
def world():
    return World()


@pytest.fixture
def session(world):
    log = world.log.append
    return Session(world.loop, Stack(parse(["+dummy"])), log, log)


@pytest.fixture
def fresh(session):
    made = Socket(session, socket.AF_INET, socket.socket())
    made.end = made.pair.app.dup()
    made.end.setblocking(True)
    made.pair.given()
    yield made
    made.end.close()
    made.left()


@pytest.fixture
def connected(world, fresh):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = Caller(fresh.end, "connect")
        fresh.seen = stop, 3
        fresh.connecting.start(stop, listener.getsockname())
        world.until(lambda: fresh.state is State.CONNECTED)
        fresh.peer, _ = listener.accept()
    yield fresh
    fresh.top.abort()
    fresh.peer.close()


def recvfrom(session, made, size, flags=0, name=NAME):
    stop = Caller(made.end, "recvfrom", DATA, size, flags, name, LENGTH)
    receive.recvfrom(session, stop, made)
    return stop


def test_who_waits_is_answered_with_the_delivery(world, session, connected):
    stop = recvfrom(session, connected, 16)
    assert stop.answers == [] and connected.receivers
    connected.peer.send(b"abc")
    world.until(lambda: connected.top.ctx.flow.into)
    assert stop.answers == [3] and connected.receivers == []
    assert stop.read(DATA, 4) == b"abc\0"
    assert stop.read(LENGTH, 4) == bytes(4)


def test_the_end_is_an_answer_too(world, session, connected):
    stop = recvfrom(session, connected, 16)
    connected.peer.shutdown(socket.SHUT_WR)
    world.until(lambda: stop.answers)
    assert stop.answers == [0]


def test_all_that_is_waited_for_comes_into_the_pieces(world, session, connected):
    stop = Caller(connected.end, "recvmsg", HEADER, int(socket.MSG_WAITALL))
    stop.write(VECTOR, struct.pack("=QQQQ", DATA, 2, DATA + 0x10, 4))
    stop.write(HEADER, struct.pack("=QI4xQQQQi", NAME, 28, VECTOR, 2, 0, 0, 0))
    receive.recvmsg(session, stop, connected)
    for piece in b"abc", b"def":
        assert stop.answers == []
        already = connected.top.ctx.flow.into
        connected.peer.send(piece)
        world.until(lambda already=already: connected.top.ctx.flow.into > already)
    assert stop.answers == [6]
    assert stop.read(DATA, 3) == b"ab\0" and stop.read(DATA + 0x10, 5) == b"cdef\0"
    assert stop.read(HEADER + 8, 4) == bytes(4)  # msg_namelen


def test_a_caller_who_is_gone_takes_nothing(world, session, connected):
    stop = recvfrom(session, connected, 16)
    stop.is_gone = True
    connected.peer.send(b"abc")
    world.until(lambda: connected.top.ctx.flow.into)
    assert stop.answers == [] and connected.receivers == []
    assert connected.end.recv(16) == b"abc"


def test_peeked_at_and_thrown_away(world, session, connected):
    connected.peer.send(b"abcdef")
    world.until(lambda: connected.top.ctx.flow.into)
    assert recvfrom(session, connected, 3, MSG_PEEK).answers == [3]
    stop = recvfrom(session, connected, 4, MSG_TRUNC)
    assert stop.answers == [4] and stop.read(DATA, 4) == bytes(4)
    assert recvfrom(session, connected, 4).answers == [2]


def test_what_need_not_be_ours_is_the_pair_s(session, connected):
    assert recvfrom(session, connected, 1, name=0).answers == ["proceed"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [(0, "Transport endpoint is not connected"), (MSG_ERRQUEUE, "Resource temporarily")],
)
def test_without_a_connection(session, fresh, flags, said):
    with pytest.raises(OSError, match=said):
        recvfrom(session, fresh, 1, flags)


def test_one_who_does_not_wait(session, connected):
    with pytest.raises(BlockingIOError):
        recvfrom(session, connected, 1, MSG_DONTWAIT)
    assert connected.receivers == []
