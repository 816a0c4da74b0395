"""Sockets that the program did not get from us: inherited, received, or let through at birth.

Facts: a socket is known by its inode, which /proc/PID/fd names; what it is takes a copy of the
descriptor, and that takes 10 µs.  So each is looked at once.
"""

from __future__ import annotations

import os
import socket as sockets
import stat
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tesla_trace.flow import printable
from tesla_trace.kernel import proc
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.words import error
from tesla_trace.syscalls.escapes.ways import HARMLESS, INTERNET, WAYS, Way

if TYPE_CHECKING:
    from tesla_trace.syscalls.session import Session

REMEMBERED = 16384
"""Descriptors' files remembered; the kernel does not tell when one is gone."""

CARRYING = frozenset(
    {"connect", "bind", "listen", "accept", "accept4", "sendto", "sendmsg", "sendmmsg"}
)
"""Calls that can carry something to the network, and are refused where that must not be.  The rest
ask about a socket, or set it up."""


class Strangers:
    """What is known of files that are not ours."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ways: OrderedDict[bytes, Way | None] = OrderedDict()
        self._inherited: set[bytes] = set()
        self._told: set[bytes] = set()

    def inherit(self, fds: Iterable[int], program: str) -> None:
        """The program starts with these descriptors of ours, too."""
        for fd in fds:
            if (name := _network_socket(fd)) is not None:
                self._inherited.add(name)
                if not self._can_be_served(fd):
                    if not self._session.closed:
                        self._told.add(name)
                    self._remember(name, WAYS["inherited"])
                    self._session.counted.add(WAYS["inherited"], program, refused=False)

    def before(self, fd: int, program: str) -> None:
        """A connection that a process had before us; `fd` is a copy, and it is counted now."""
        self._remember(name := proc.socket_name(fd), WAYS["before"])
        if not self._session.closed:
            self._told.add(name)
        self._session.counted.add(WAYS["before"], printable(program), refused=False)

    def born(self, fd: int) -> None:
        """A socket that was let through: it has been counted already."""
        self._remember(proc.socket_name(fd), None)

    def met(self, stop: Stop, fd: int, file: bytes) -> None:
        """A trapped call is about such a file.

        Raises:
            OSError: it must not carry anything.
        """
        if file not in self._ways and not self._look(stop, fd, file):
            return
        way = self._ways[file]
        if way is None or self._session.closed and stop.call not in CARRYING:
            return
        if file not in self._told:
            self._told.add(file)
            self._session.uncovered(stop, way)
        elif self._session.closed:
            raise error(way.errno)

    def _look(self, stop: Stop, fd: int, file: bytes) -> bool:
        """Find out what it is; False if it may be something else the next time."""
        way = None
        if file.startswith(b"socket:") and not isinstance(self._session.acting.of(stop), Way):
            try:
                copy = stop.borrow(fd, file)
            except OSError:
                return False  # closed meanwhile, so that the call will find nothing
            try:
                if is_network_socket(copy):
                    if self._can_be_served(copy):
                        return False
                    way = WAYS["inherited" if file in self._inherited else "received"]
            finally:
                os.close(copy)
        self._remember(file, way)
        return True

    def _can_be_served(self, fd: int) -> bool:
        """Whether it goes through the handlers once it connects or accepts: see `adopt.py`."""
        with sockets.socket(fileno=os.dup(fd)) as copy:
            if copy.family not in INTERNET or copy.type != sockets.SOCK_STREAM:
                return False
            if copy.proto != sockets.IPPROTO_TCP:
                return False
            serves = self._session.stack.serves(sockets.SOCK_STREAM)
            return serves and not _has_peer(fd)

    def _remember(self, file: bytes, way: Way | None) -> None:
        self._ways[file] = way
        if len(self._ways) > REMEMBERED:
            self._told.discard(self._ways.popitem(last=False)[0])


def connected(fds: Iterable[int]) -> list[int]:
    """Those of our descriptors that are sockets with a peer out there."""
    return [fd for fd in fds if is_network_socket(fd) and _has_peer(fd)]


def _network_socket(fd: int) -> bytes | None:
    """Its name in /proc/PID/fd, if it is a socket that can reach a network."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return None
        with sockets.socket(fileno=os.dup(fd)) as copy:
            return None if copy.family in HARMLESS else proc.socket_name(fd)
    except OSError:
        return None


def is_network_socket(fd: int) -> bool:
    """Whether our descriptor is a socket that can reach a network."""
    return _network_socket(fd) is not None


def _has_peer(fd: int) -> bool:
    with sockets.socket(fileno=os.dup(fd)) as copy:
        try:
            copy.getpeername()
        except OSError:
            return False
    return True
