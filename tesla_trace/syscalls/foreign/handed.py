"""Calls on sockets that were handed back: nearly all are the kernel's to do.

Facts: connect(2) with AF_UNSPEC, or sendto(2) with MSG_FASTOPEN after it, would connect the socket
once more, past us.  So these are never left to the kernel.
"""

from __future__ import annotations

import errno
import socket as sockets
from collections.abc import Callable
from functools import partial

from tesla_trace.kernel import sockaddr
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.flags import MSG_FASTOPEN
from tesla_trace.syscalls.arguments.words import (
    error,
    read_sockaddr,
    room_for_sockaddr,
    signed,
    write_sockaddr,
)
from tesla_trace.syscalls.foreign import adopt
from tesla_trace.syscalls.handback.handed import Handed
from tesla_trace.syscalls.options import ioctls, known, sockopt
from tesla_trace.syscalls.session import Session

Doing = Callable[[Session, Stop, Handed], None]

TCP_REPAIR = 19


def serve(session: Session, stop: Stop, handed: Handed) -> None:
    """Do one trapped call."""
    handed.seen = stop, signed(stop.args[0])
    if (doing := CALLS.get(stop.call)) is None:
        return stop.proceed()
    doing(session, stop, handed)


def connect(_: Session, stop: Stop, handed: Handed) -> None:
    """Say that it is connected; with AF_UNSPEC let it be one of ours again, unconnected."""
    data = read_sockaddr(stop, stop.args[1], stop.args[2])
    if len(data) < 2:
        raise error(errno.EINVAL)
    if sockaddr.family(data) == sockets.AF_UNSPEC:
        with handed.borrowed() as found:
            adopt.dissolve(found, data)
            handed.left()
            handed.socket.take_back(stop, signed(stop.args[0]), handed.file, found)
    elif handed.told:
        raise error(errno.EISCONN)
    handed.told = True
    stop.reply(0)


def _name(which: str, _: Session, stop: Stop, handed: Handed) -> None:
    """Give an address as the handlers say it."""
    packed = handed.names.get(which)
    if which == "getpeername":
        with handed.borrowed() as real:
            real.getpeername()  # ENOTCONN, once the connection is gone
    if packed is None:
        with handed.asked() as asked:
            packed = sockaddr.pack(getattr(asked, which)(), handed.socket.domain)
        handed.names[which] = packed
    address, length = stop.args[1:3]
    write_sockaddr(stop, address, length, room_for_sockaddr(stop, length), packed)
    stop.reply()


def getsockopt(session: Session, stop: Stop, handed: Handed) -> None:
    """Let the kernel answer, unless it is a handler's to."""
    if known.is_known(stop):
        return known.getsockopt(session, stop, handed)
    level, option = signed(stop.args[1]), signed(stop.args[2])
    if "getsockopt" not in handed.answered or not _is_asked_of_handlers(level, option):
        return stop.proceed()
    size = sockopt.room(stop)
    with handed.asked() as asked:
        value = asked.getsockopt(level, option, size)
    sockopt.give(stop, value)


def setsockopt(session: Session, stop: Stop, handed: Handed) -> None:
    """Set it through the handlers, who remember it; what the pair would keep, the kernel does."""
    if known.is_known(stop):
        return known.setsockopt(session, stop, handed)
    level, option = signed(stop.args[1]), signed(stop.args[2])
    if (level, option) == (sockopt.TCP, TCP_REPAIR):  # it could be connected anew
        raise error(errno.ENOPROTOOPT)
    if sockopt.must_not(session, level, option):
        raise error(errno.ENODEV)
    if not _is_asked_of_handlers(level, option):
        return stop.proceed()
    value = sockopt.given(stop)
    rights = session.acting.rights(stop, handed.socket.guise.namespace)
    with handed.asked() as asked, rights:
        asked.setsockopt(level, option, value)
    stop.reply(0)


def ioctl(session: Session, stop: Stop, handed: Handed) -> None:
    """Let the kernel answer, unless it is a handler's to."""
    if "ioctl" not in handed.answered:
        return stop.proceed()
    ioctls.ioctl(session, stop, handed)


def _is_asked_of_handlers(level: int, option: int) -> bool:
    whose = sockopt.OPTIONS.get((level, option), sockopt.OTHER).whose
    return whose is sockopt.Whose.REAL and (level, option) not in sockopt.NETFILTER


def _send(flags: int, _: Session, stop: Stop, handed: Handed) -> None:
    """Let the kernel send; if the flags, in that argument, say to connect: it is connected."""
    if stop.args[flags] & MSG_FASTOPEN:
        raise error(errno.EISCONN)
    stop.proceed()


CALLS: dict[str, Doing] = {
    "connect": connect,
    "getsockname": partial(_name, "getsockname"),
    "getpeername": partial(_name, "getpeername"),
    "getsockopt": getsockopt,
    "setsockopt": setsockopt,
    "ioctl": ioctl,
    "sendto": partial(_send, 3),
    "sendmsg": partial(_send, 2),
    "sendmmsg": partial(_send, 3),
}
"""What does the calls that are not left to the kernel."""
