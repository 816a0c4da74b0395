"""socket(2)."""

from __future__ import annotations

import errno
import socket as sockets

from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.acting import OURS, Guise
from tesla_trace.syscalls.arguments.flags import CLOEXEC, FLAGS, NONBLOCK
from tesla_trace.syscalls.arguments.words import error, signed
from tesla_trace.syscalls.datagram.socket import DatagramSocket
from tesla_trace.syscalls.escapes import unserved, ways
from tesla_trace.syscalls.program_socket import ProgramSocket
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream.socket import Socket

KIND = 0xF
"""The bits of socket(2)'s type that are the type (SOCK_TYPE_MASK)."""

IPPROTO_MAX = 263
"""linux/in.h; a smaller protocol that is unknown is EPROTONOSUPPORT."""


def socket(session: Session, stop: Stop) -> None:
    """Give the program one end of a pair; ours goes to the network when it connects or listens."""
    domain, type, protocol = (signed(arg) for arg in stop.args[:3])
    kind, flags = type & KIND, type & ~KIND
    if flags & ~FLAGS or domain in ways.INTERNET and not 0 <= protocol < IPPROTO_MAX:
        raise error(errno.EINVAL)
    served = session.stack.serves(kind)
    way = ways.of_socket(domain, kind, protocol)
    if way is None and kind == sockets.SOCK_DGRAM and not served:
        way = ways.WAYS["udp"]
    if way is not None:
        return unserved.give(session, stop, way)
    if not served:
        if session.stack.refuses(kind):
            raise error(errno.EPROTONOSUPPORT)
        return unserved.give(session, stop)
    guise = session.guise(stop)
    if guise is None:
        return stop.proceed()
    if stop.makes and kind == sockets.SOCK_STREAM:
        return _have_made(session, stop, domain, protocol, guise)
    if guise is OURS and kind == sockets.SOCK_STREAM:
        made = session.spare.take(domain, protocol, _make) or _make(session, domain, protocol)
        return _give(stop, made, flags)
    with guise:
        real = sockets.socket(domain, kind | NONBLOCK, protocol)
    if kind == sockets.SOCK_DGRAM:
        _give(stop, DatagramSocket(session, domain, real, guise), flags)
    else:
        _give(stop, Socket(session, domain, real, guise=guise), flags)


def _make(session: Session, domain: int, protocol: int) -> Socket:
    """A stream socket of our own rights and namespace."""
    real = sockets.socket(domain, sockets.SOCK_STREAM | NONBLOCK, protocol)
    return Socket(session, domain, real)


def _have_made(session: Session, stop: Stop, domain: int, protocol: int, guise: Guise) -> None:
    """Have the caller make what is to be the program's end."""
    type = signed(stop.args[1])
    with guise:
        real = sockets.socket(domain, sockets.SOCK_STREAM | NONBLOCK, protocol)
    try:
        fd, app = stop.make(sockets.AF_UNIX, type)
    except BaseException:
        real.close()
        raise
    try:
        there = session.ends.offer(app)
        made = Socket(session, domain, real, guise=guise)
        if not there and made.pair.app is not None:
            made.pair.app.setblocking(not type & NONBLOCK)
            stop.inject(made.pair.app.fileno(), cloexec=bool(type & CLOEXEC), at=fd)
    except BaseException:
        stop.take_back(fd)
        raise
    made.pair.given()
    made.seen = stop, fd
    stop.reply(fd)


def _give(stop: Stop, made: ProgramSocket, flags: int) -> None:
    """Make the socket the caller's."""
    app = made.pair.app
    assert app is not None
    if flags & NONBLOCK:
        app.setblocking(False)
    try:
        fd = stop.give(app.fileno(), cloexec=bool(flags & CLOEXEC))
    except (OSError, Gone):
        made.left()
        raise
    made.pair.given()
    made.seen = stop, fd
