"""The way out of a stream, against a real socket."""

import select
import socket

import pytest

from tesla_trace.io.outlet import Outlet
from tesla_trace.io.urgent import Urgent, prepare, take


class Sender:
    """Writes down what it is told."""

    def __init__(self):
        self.total, self.errors = 0, []

    def sent(self, size):
        self.total += size

    def broken(self, error):
        self.errors.append(type(error))


@pytest.fixture
def way(world):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    watch = world.loop.watch(ours.fileno())
    outlet = Outlet(Sender(), watch, ours)
    watch.writable = outlet.flush
    yield outlet, ours, theirs
    watch.close()
    ours.close()
    theirs.close()


def fill(outlet):
    """Put until something waits; all that was put."""
    put = b""
    while not outlet.queued:
        piece = bytes([len(put) % 251]) * 50_000
        assert outlet.put(piece)
        put += piece
    return put


def read(world, theirs, size):
    """That much, as it comes."""
    got = bytearray()

    def all_there():
        try:
            got.extend(theirs.recv(size - len(got)))
        except BlockingIOError:
            pass
        return len(got) == size

    world.until(all_there)
    return got


def test_what_is_taken_at_once_does_not_wait(way):
    outlet, _, theirs = way
    assert outlet.put(b"hello")
    assert theirs.recv(100) == b"hello"
    assert outlet.queued == 0 and outlet._sender.total == 5


def test_what_waits_goes_out_in_order(world, way):
    outlet, _, theirs = way
    put = fill(outlet)
    assert outlet.put(b"last")
    assert read(world, theirs, len(put) + 4) == put + b"last"
    assert outlet.queued == 0 and outlet._sender.total == len(put) + 4


def test_before_the_start_all_waits(world):
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        watch = world.loop.watch(ours.fileno())
        outlet = Outlet(Sender(), watch)
        watch.writable = outlet.flush
        assert outlet.put(b"early")
        world.turn()
        assert outlet.queued == 5
        outlet.start(ours)
        assert read(world, theirs, 5) == b"early"
        watch.close()


def test_room(world, way):
    outlet, _, theirs = way
    put = fill(outlet)
    full = outlet.queued
    assert not outlet.changed(full)
    assert outlet.put(b"x") and outlet.changed(full) and not outlet.room
    assert not outlet.changed(full)
    read(world, theirs, len(put) + 1)
    assert outlet.changed(full) and outlet.room


def test_an_urgent_byte_that_waits_stays_urgent(world, way):
    outlet, _, theirs = way
    prepare(theirs)
    put = fill(outlet)
    assert outlet.put(Urgent(b"!"))
    assert read(world, theirs, len(put)) == put
    world.turn()
    poll = select.poll()
    poll.register(theirs, select.POLLPRI)
    assert poll.poll(0) and take(theirs) == b"!"


def test_nobody_reads_any_more(world, way):
    outlet, _, theirs = way
    fill(outlet)
    theirs.close()
    world.turn()
    assert outlet.lost and outlet.queued == 0
    assert len(outlet._sender.errors) == 1
    assert not outlet.put(b"x")
    assert len(outlet._sender.errors) == 1
