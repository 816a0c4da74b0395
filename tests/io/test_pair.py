"""What the kernel makes of a pair, in the ways that pair.py relies on."""

import fcntl
import os
import select
import socket
import sys
from termios import FIONREAD

import pytest

from tesla_trace.io.loop import Loop
from tesla_trace.io.pair import Pair


def _raised(wrong):
    raise wrong


@pytest.fixture
def pair():
    made = Pair(Loop(_raised))
    yield made
    made.close()


@pytest.fixture
def app(pair):
    """The program's end, as the program has it."""
    with pair.app.dup() as end:
        pair.given()
        end.setblocking(False)
        yield end


def state(end):
    poll = select.poll()
    poll.register(end, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    return poll.poll(0)[0][1] if poll.poll(0) else 0


IN, OUT, ERR, HUP = select.POLLIN, select.POLLOUT, select.POLLERR, select.POLLHUP


def test_writable_at_once(app):
    assert state(app) == OUT


def test_filled_it_is_not(pair, app):
    with select.epoll() as edge:
        edge.register(app, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        assert edge.poll(0) == [(app.fileno(), select.EPOLLOUT)]
        pair.fill(app)
        assert pair.filled > 0
        assert state(app) == 0 and edge.poll(0) == []
        with pytest.raises(BlockingIOError):
            app.send(b"x")
        pair.empty()
        assert pair.filled == 0
        assert state(app) == OUT
        assert edge.poll(0) == [(app.fileno(), select.EPOLLOUT)]
        assert app.send(b"x") == 1
        assert pair.master.recv(10) == b"x"  # the first of the program's own


def test_closed_while_filled_everything_is_ready(pair, app):
    """As a socket is whose connect has failed; what the error was, SO_ERROR must tell."""
    pair.fill(app)
    pair.hang_up()
    assert state(app) & (IN | OUT | ERR | HUP) == IN | OUT | ERR | HUP


@pytest.mark.parametrize("size", [1, 5000, 20_000, 60_000, 106_496])
def test_nearly_all_filler_is_taken_out_before(pair, app, size):
    """What a close has to free is little, and until the close the end is not writable."""
    app.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    pair.fill(app)
    filled = pair.filled
    with pair.master.dup() as kept:
        pair.hang_up()
        assert state(app) == 0
        assert 0 < int.from_bytes(fcntl.ioctl(kept, FIONREAD, bytes(4)), sys.byteorder) < filled / 2


def test_emptied_of_the_filler_only(pair, app):
    pair.fill(app)
    filled = pair.filled
    pair.master.recv(1000)
    pair.filled -= 1000
    app.send(b"behind") if state(app) & OUT else None
    pair.empty()
    assert pair.filled == 0 and filled > 0


def test_a_reset_comes_after_the_data(pair, app):
    pair.master.send(b"last words")
    pair.spoil(app)
    pair.close()
    assert app.recv(100) == b"last words"
    with pytest.raises(ConnectionResetError):
        app.recv(100)
    assert app.recv(100) == b""


def test_without_it_the_close_is_an_end(pair, app):
    pair.master.send(b"last words")
    pair.close()
    assert app.recv(100) == b"last words"
    assert app.recv(100) == b""


def test_ends_of_one_direction(pair, app):
    pair.end()
    assert app.recv(1) == b""
    assert app.send(b"x") == 1
    pair.refuse()
    with pytest.raises(BrokenPipeError):
        app.send(b"x")
    pair.end()
    pair.refuse()


def test_what_the_program_left_unread(pair, app):
    assert not pair.left_unread()
    pair.master.send(b"x")
    app.close()
    assert pair.left_unread()


def test_what_the_program_has_read(pair, app):
    pair.master.send(b"x")
    app.recv(1)
    app.close()
    assert not pair.left_unread()


def test_settings_pass_to_a_successor(pair, app):
    os.set_blocking(app.fileno(), True)
    app.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 7)
    successor = Pair(Loop(_raised))
    successor.take_after(app)
    end = successor.app
    assert os.get_blocking(end.fileno())
    assert end.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 7
    os.set_blocking(app.fileno(), False)
    successor.take_after(app)
    assert not os.get_blocking(end.fileno())
    successor.close()


def test_closing_twice(pair, app):
    pair.close()
    pair.close()
    assert pair.closed and app.recv(1) == b""
