"""The urgent byte of a stream, at either end of a graph (tcp(7), and unix(7) since Linux 5.15).

Facts: recv stops in front of the urgent byte; poll says POLLPRI when it is there.  Reading on from
there skips the byte, unless SO_OOBINLINE is set: then it is read like any other.  So we set that,
and nothing can be lost; and when the byte is what comes next, it is read alone and passed on as
urgent.
"""

from __future__ import annotations

import fcntl
import socket

SIOCATMARK = 0x8905

# Plain numbers: the arithmetic of Python's flags takes a microsecond.
_PLAIN = int(socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
_URGENT = int(socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT | socket.MSG_OOB)


class Urgent(bytes):
    """A byte that is to be sent as urgent, among others that wait to be sent."""


def flags_for(data: bytes) -> int:
    """The flags to send `data` with."""
    return _URGENT if type(data) is Urgent else _PLAIN


def at_mark(stream: socket.socket) -> bool:
    """Whether the urgent byte is what comes next."""
    try:
        return any(fcntl.ioctl(stream, SIOCATMARK, bytes(4)))
    except OSError:  # a kernel without it on AF_UNIX
        return False


def prepare(stream: socket.socket) -> None:
    """Let no urgent byte be skipped."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def take(stream: socket.socket) -> bytes:
    """The urgent byte, which comes next; nothing if it is not there after all."""
    try:
        return stream.recv(1)
    except OSError:
        return b""
