"""socket(2)."""

from __future__ import annotations

import errno
import socket as sockets

from tesla_trace.kernel.trap import Gone, Stop
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
    if kind != sockets.SOCK_STREAM or not session.same_network(stop):
        return stop.proceed()
    real = sockets.socket(domain, kind, protocol)
    if real.proto not in (0, sockets.IPPROTO_TCP):  # MPTCP, SCTP: programs fall back to TCP
        real.close()
        raise error(errno.EPROTONOSUPPORT)
    made = Socket(session, domain, real)
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
