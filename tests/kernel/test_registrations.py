"""Moving a registration with epoll from one file to another."""

import os
import select
import socket
import threading

import pytest

from tesla_trace.kernel import proc, registrations
from tesla_trace.kernel.registrations import TooMany, find, find_all, move


def registered(one, thread=None):
    thread = thread or os.getpid()
    return find_all(thread, proc.files(thread), proc.socket_name(one.fileno()))


@pytest.fixture
def sockets():
    """A socket that is registered, and what takes its place."""
    with socket.socket() as old, select.epoll() as epoll:
        new, other = socket.socketpair()
        with new, other:
            yield old, new, other, epoll


def test_registrations(sockets):
    old, new, _, epoll = sockets
    assert registered(old) == []
    epoll.register(old, select.EPOLLIN | select.EPOLLET)
    (found,) = registered(old, threading.get_native_id())
    assert found.epoll == epoll.fileno() and found.number == old.fileno()
    assert found.events & select.EPOLLIN and found.events & select.EPOLLET
    assert found.data & 0xFFFFFFFF == old.fileno()
    assert registered(new) == []


def test_a_registration_moves(sockets):
    """The number is the new file's by then, as ADDFD makes it."""
    old, new, other, epoll = sockets
    epoll.register(old, select.EPOLLIN | select.EPOLLET)
    found = registered(old)
    with old.dup() as kept:
        os.dup2(new.fileno(), old.fileno())
        move(os.getpid(), found, kept.fileno(), new.fileno())
        assert epoll.poll(0) == []
        other.send(b"x")
        assert epoll.poll(5) == [(old.fileno(), select.EPOLLIN)]
        assert epoll.poll(0) == []  # edge-triggered, as before
        assert registered(kept) == []


def at(epoll, one, **more):
    with one.dup() as copy:
        return find(os.getpid(), [epoll.fileno()], one.fileno(), copy.fileno(), **more)


def test_what_is_registered_under_a_number(sockets):
    old, new, _, epoll = sockets
    epoll.register(new, select.EPOLLIN)
    assert at(epoll, old, patiently=False) == []
    epoll.register(old, select.EPOLLIN)
    assert at(epoll, old, patiently=True) == registered(old)
    with pytest.raises(TooMany):
        at(epoll, old, patiently=False)


def test_a_number_that_meant_something_else_before(sockets):
    """Both files are registered under it, as long as they live."""
    old, new, other, epoll = sockets
    number = old.fileno()
    epoll.register(old, select.EPOLLIN)
    with old.dup():
        os.dup2(new.fileno(), number)
        epoll.register(number, select.EPOLLIN)
        found = find(os.getpid(), [epoll.fileno()], number, new.fileno(), patiently=True)
        assert [each.number for each in found] == [number]
        assert found == registered(new) and len(registered(new)) == 1


def test_so_many_that_it_takes_long(sockets, monkeypatch):
    old, new, _, epoll = sockets
    epoll.register(old, select.EPOLLIN)
    monkeypatch.setattr(registrations, "ROOM", 10)
    with pytest.raises(TooMany):
        at(epoll, old, patiently=True)
    epoll.unregister(old)
    assert at(epoll, old, patiently=False) == []


def test_a_number_that_is_closed_by_now(sockets):
    """The file is still registered under it."""
    old, _, _, epoll = sockets
    with old.dup() as copy:
        epoll.register(copy, select.EPOLLIN)
        number = copy.fileno()
    (found,) = at(epoll, old, patiently=True)
    assert found.number == number
