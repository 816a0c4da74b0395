"""socket(2)."""

from __future__ import annotations

import errno
import socket as sockets

from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls import unserved
from tesla_trace.syscalls.datagram import DatagramSocket
from tesla_trace.syscalls.program_socket import ProgramSocket
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.socket import Socket
from tesla_trace.syscalls.words import error, signed

KIND = 0xF
"""The bits of socket(2)'s type that are the type (SOCK_TYPE_MASK)."""

IPPROTO_MAX = 263
"""linux/in.h; a smaller protocol that is unknown is EPROTONOSUPPORT."""

FLAGS = sockets.SOCK_NONBLOCK | sockets.SOCK_CLOEXEC


def socket(session: Session, stop: Stop) -> None:
    """Give the program one end of a pair; ours goes to the network when it connects or listens."""
    domain, type, protocol = (signed(arg) for arg in stop.args[:3])
    kind, flags = type & KIND, type & ~KIND
    if flags & ~FLAGS or not 0 <= protocol < IPPROTO_MAX:
        raise error(errno.EINVAL)
    if session.stack.refuses(kind):
        session.say_once(
            f"socket(2) of type {_named(kind)}: refused, for it would bypass a handler"
        )
        raise error(errno.EPROTONOSUPPORT)
    if not session.stack.serves(kind) or not session.same_network(stop):
        return unserved.leave(session, stop)
    if kind == sockets.SOCK_DGRAM:
        return _datagram(session, stop, domain, protocol, flags)
    real = sockets.socket(domain, kind, protocol)
    if real.proto not in (0, sockets.IPPROTO_TCP):  # MPTCP, SCTP: programs fall back to TCP
        real.close()
        raise error(errno.EPROTONOSUPPORT)
    _give(stop, Socket(session, domain, real), flags)


def _datagram(session: Session, stop: Stop, domain: int, protocol: int, flags: int) -> None:
    """UDP is served; ping sockets and UDP-Lite are not."""
    if protocol not in (0, sockets.IPPROTO_UDP):
        if session.stack.exclusive:
            session.say_once(f"socket(2) of protocol {protocol}: it would bypass a handler")
            raise error(errno.EPROTONOSUPPORT)
        return unserved.leave(session, stop)
    real = sockets.socket(domain, sockets.SOCK_DGRAM, protocol)
    _give(stop, DatagramSocket(session, domain, real), flags)


def _give(stop: Stop, made: ProgramSocket, flags: int) -> None:
    """Make the socket the caller's."""
    app = made.pair.app
    assert app is not None
    app.setblocking(not flags & sockets.SOCK_NONBLOCK)
    try:
        fd = stop.inject(app.fileno(), cloexec=bool(flags & sockets.SOCK_CLOEXEC))
    except (OSError, Gone):
        made.left()
        raise
    made.pair.given()
    made.seen = stop, fd
    stop.reply(fd)


def _named(kind: int) -> str:
    try:
        return sockets.SocketKind(kind).name
    except ValueError:
        return str(kind)
