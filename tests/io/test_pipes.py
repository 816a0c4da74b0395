"""The pipes that bytes go through, and what becomes of it where there are none."""

import errno
import fcntl
import os
import resource
import select
import socket

import pytest

from tesla_trace.io.outlet import Outlet
from tesla_trace.io.pipes import IDLE, MOST, SIZES, Pipes
from tests.io.test_outlet import Sender
from tests.io.world import NOISE


@pytest.fixture
def pipes():
    said = []
    made = Pipes(said.append, eager=True)
    made.said = said
    yield made
    made.close()


@pytest.fixture
def source():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(NOISE)
        yield ours


def test_a_pipe_is_used_again(pipes):
    pipe = pipes.take()
    pipe.let_go()
    assert pipes.take() is pipe and pipes.made == 1
    pipe.let_go()


def test_a_pipe_that_is_not_empty_is_not(pipes, source):
    pipe = pipes.take()
    assert pipe.fill(source.fileno()) == len(NOISE)
    pipe.let_go()
    assert pipes.made == 0 and pipes.idle == []


def test_pipes_are_large(pipes):
    pipe = pipes.take()
    assert fcntl.fcntl(pipe._into, fcntl.F_GETPIPE_SZ) in SIZES
    pipe.let_go()


def test_a_pipe_takes_no_more_than_its_size(pipes):
    pipe = pipes.take()
    size = fcntl.fcntl(pipe._into, fcntl.F_GETPIPE_SZ)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(NOISE)
        while pipe.fill(ours.fileno()) and pipe.holds <= size:
            theirs.send(NOISE)
    assert size // 2 < pipe.holds <= size
    pipe.let_go()


def test_there_is_an_end_to_them(pipes):
    taken = [pipes.take() for _ in range(MOST)]
    assert None not in taken and pipes.take() is None
    for pipe in taken:
        pipe.let_go()
    assert len(pipes.idle) == pipes.made == IDLE


def test_what_is_in_a_pipe_can_be_read(pipes, source):
    pipe = pipes.take()
    pipe.fill(source.fileno())
    assert pipe.read() == NOISE and pipe.holds == 0
    pipe.let_go()


def test_nothing_to_take(pipes, source):
    source.recv(len(NOISE))
    pipe = pipes.take()
    assert pipe.fill(source.fileno()) == 0
    pipe.let_go()


def test_the_error_of_a_source_is_told(pipes):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.send(b"unread")
    theirs.close()
    pipe = pipes.take()
    with ours, pytest.raises(ConnectionResetError):
        pipe.fill(ours.fileno())
    pipe.let_go()


def test_too_many_descriptors(pipes):
    """It is said, and tried again the next time."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        assert pipes.take() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert os.strerror(errno.EMFILE) in pipes.said[0]
    pipes.take().let_go()


def test_what_cannot_be_spliced_from_is_not_tried_again(pipes):
    pipe = pipes.take()
    with select.epoll() as epoll:
        assert pipe.fill(epoll.fileno()) == 0  # EINVAL
    pipe.let_go()
    assert pipes.take() is None
    assert pipes.said == [f"splice(2): {os.strerror(errno.EINVAL)}; we copy instead"]


class Appending:
    """A file that splice(2) refuses to write to, for it may only be appended to."""

    def __init__(self, path):
        self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def fileno(self):
        return self._fd

    def send(self, data, flags):
        return os.write(self._fd, data)

    def close(self):
        os.close(self._fd)


def test_what_cannot_be_spliced_to_is_written(pipes, source, world, tmp_path):
    sink = Appending(tmp_path / "sink")
    ours, theirs = socket.socketpair()
    watch = world.loop.watch(ours.fileno())
    outlet = Outlet(Sender(), watch, sink)
    watch.writable = outlet.flush
    assert outlet.splice(source, pipes) == len(NOISE)
    assert outlet.put(b"and this")
    world.until(lambda: not outlet.queued)
    assert (tmp_path / "sink").read_bytes() == NOISE + b"and this"
    assert not outlet.splices(pipes) or outlet.splice(source, pipes) == 0
    watch.close()
    for each in (ours, theirs, sink):
        each.close()
