"""Calls on sockets that are not ours, and may be TCP all the same; see adopt.py and lent.py."""

from __future__ import annotations

import errno
import socket as sockets

from tesla_trace.kernel import sockaddr
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.flags import MSG_FASTOPEN
from tesla_trace.syscalls.arguments.words import error, read_sockaddr, signed
from tesla_trace.syscalls.escapes import resolvers
from tesla_trace.syscalls.foreign import adopt
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream import connect as ours
from tesla_trace.syscalls.stream import send
from tesla_trace.syscalls.stream.socket import Socket


def connect(session: Session, stop: Stop) -> None:
    """Connect a socket of ours instead."""
    fd = signed(stop.args[0])
    found = adopt.look(session, stop, fd)
    if found is None:
        resolvers.hide(session, stop)
        return stop.proceed()
    with found:
        data = read_sockaddr(stop, stop.args[1], stop.args[2])
        if len(data) >= 2 and sockaddr.family(data) == sockets.AF_UNSPEC:
            adopt.dissolve(found, data)
            return stop.reply(0)
        if adopt.is_elsewhere(session, stop, found):
            return stop.proceed()
        if not session.closed and adopt.tcp_state(found) != adopt.CLOSE:
            return stop.proceed()  # it waits on, or is told what has come of it
        socket = adopt.adopt(session, stop, fd, found)
    ours.connect(session, stop, socket)


def sendto(session: Session, stop: Stop) -> None:
    """Connect a socket of ours instead, where it is to connect (TCP Fast Open)."""
    socket = _connecting(session, stop, signed(stop.args[3]))
    if socket is None:
        return stop.proceed()
    send.sendto(session, stop, socket)


def sendmsg(session: Session, stop: Stop) -> None:
    """The same, with everything in one structure."""
    socket = _connecting(session, stop, signed(stop.args[2]))
    if socket is None:
        return stop.proceed()
    send.sendmsg(session, stop, socket)


def sendmmsg(session: Session, stop: Stop) -> None:
    """The same, with several."""
    socket = _connecting(session, stop, signed(stop.args[3]))
    if socket is None:
        return stop.proceed()
    send.sendmmsg(session, stop, socket)


def _connecting(session: Session, stop: Stop, flags: int) -> Socket | None:
    if not flags & MSG_FASTOPEN:
        return None
    fd = signed(stop.args[0])
    found = adopt.look(session, stop, fd)
    if found is None:
        if (
            session.closed
        ):  # the kernel looks the descriptor up again, and Landlock not at this call
            raise error(errno.EOPNOTSUPP)
        return None
    with found:
        if adopt.is_elsewhere(session, stop, found):
            return None
        return adopt.adopt(session, stop, fd, found)
