"""The socket that is made before it is asked for."""

import errno
import gc
import os
import socket

import pytest

from tesla_trace.flow import Stack, parse
from tesla_trace.io.loop import Loop
from tesla_trace.syscalls.create import _make
from tesla_trace.syscalls.session import Session


def _raised(wrong):
    raise wrong


@pytest.fixture
def session():
    made = Session(Loop(_raised), Stack(parse(["+dummy"])), _raised, _raised)
    made.ends.new().close()  # what is made once
    return made


def take(session, domain=socket.AF_INET, make=_make):
    return session.spare.take(domain, 0, make)


def wait(session):
    """A call is held, and nothing happens for two turns."""
    session.spare.renew()
    for _ in range(2):
        session.loop.at(session.loop.now() + 0.0005, lambda: None)
        session.loop.turn(0.0005)


def test_one_is_made_while_somebody_waits(session):
    assert take(session) is None
    wait(session)
    made = take(session)
    assert made.domain == socket.AF_INET
    assert made.bottom.real.gettimeout() == 0
    assert made.pair.app is not None
    assert take(session) is None
    made.left()


def test_none_is_made_where_nobody_has_asked_or_nobody_waits(session):
    wait(session)
    assert not session.network.open
    take(session)
    session.loop.turn(0)
    assert not session.network.open


def test_not_before_all_else_is_served(session):
    take(session)
    one, other = socket.socketpair()
    seen = []
    session.loop.on_readable(one.fileno(), lambda: seen.append(one.recv(1)))
    other.send(b"x")
    session.spare.renew()
    session.loop.turn(1)
    assert (seen, len(session.network.open)) == ([b"x"], 0)


def test_one_of_another_kind_is_let_go(session):
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    take(session)
    wait(session)
    assert len(os.listdir("/proc/self/fd")) == before + 2
    assert take(session, socket.AF_INET6) is None
    assert len(os.listdir("/proc/self/fd")) == before
    assert not session.network.open
    wait(session)
    made = take(session, socket.AF_INET6)
    assert made.domain == socket.AF_INET6
    made.left()


def test_it_is_counted_when_it_is_born(session):
    first = session.flow()
    take(session)
    wait(session)
    second = session.flow()
    made = take(session)
    third = session.flow()
    flows = first, second, made.bottom.ctx.flow, third
    assert [each.number for each in flows] == [1, 2, 3, 4]
    made.left()


def test_that_it_cannot_be_made_is_told_to_who_asks(session):
    def fail(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    take(session, make=fail)
    wait(session)
    assert take(session) is None


def test_at_the_end_nothing_is_left(session):
    take(session)
    session.spare.renew()
    session.loop.turn(0.001)  # half of it is there
    session.end()
    wait(session)
    assert not session.network.open
