"""Moving a registration with epoll from one file to another."""

import os
import select
import socket
import threading

import pytest

from tesla_trace.kernel.replace import move, see


def name_of(one):
    return b"socket:[%d]" % os.fstat(one.fileno()).st_ino


@pytest.fixture
def sockets():
    """A socket that is registered, and what takes its place."""
    with socket.socket() as old, select.epoll() as epoll:
        new, other = socket.socketpair()
        with new, other:
            yield old, new, other, epoll


def test_registrations(sockets):
    old, new, _, epoll = sockets
    assert see(os.getpid(), name_of(old)).registrations == []
    epoll.register(old, select.EPOLLIN | select.EPOLLET)
    (found,) = see(threading.get_native_id(), name_of(old)).registrations
    assert found.epoll == epoll.fileno() and found.number == old.fileno()
    assert found.events & select.EPOLLIN and found.events & select.EPOLLET
    assert found.data & 0xFFFFFFFF == old.fileno()
    assert see(os.getpid(), name_of(new)).registrations == []


def test_a_registration_moves(sockets):
    """The number is the new file's by then, as ADDFD makes it."""
    old, new, other, epoll = sockets
    epoll.register(old, select.EPOLLIN | select.EPOLLET)
    found = see(os.getpid(), name_of(old)).registrations
    with old.dup() as kept:
        os.dup2(new.fileno(), old.fileno())
        move(os.getpid(), found, kept.fileno(), new.fileno())
        assert epoll.poll(0) == []
        other.send(b"x")
        assert epoll.poll(5) == [(old.fileno(), select.EPOLLIN)]
        assert epoll.poll(0) == []  # edge-triggered, as before
        assert see(os.getpid(), name_of(kept)).registrations == []
