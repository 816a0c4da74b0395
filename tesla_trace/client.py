"""Ask the handlers of tesla_trace about a socket, from a program that knows of them.

    from tesla_trace import client          # or a copy of this file, which needs nothing else

    if "log" in client.handlers(sock):      # none without tesla_trace
        client.ioctl(sock, "log", 1, b"here the interesting part begins")

A handler is addressed by its name, and where there are several of one name by their index, the one
nearest the program being 0.  What it can be asked, `tesla_trace +NAME` says.

Errors are OSError.  ENOPROTOOPT: no tesla_trace, or none for this socket.  ENOTCONN: the socket has
no handlers yet (it gets them with connect, listen, accept or the first datagram), or no more.
ENODEV: no such handler.  ENOTTY: it does not know the request.  ERANGE: no room for the answer.
Others: as the handler says.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import NamedTuple

LEVEL, REQUEST, EVENTS = 0x7E51, 1, 2
LIST = 0
LARGEST = 4096

_HEAD = struct.Struct("=32sIIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """What a handler has told."""

    handler: str
    number: int
    """Which of its name it is."""
    kind: int
    lost: int
    """Events that there was no room for, before this one."""
    data: bytes


def ioctl(
    sock: socket.socket, handler: str, request: int, argument: bytes = b"", index: int = 0
) -> bytes:
    """Ask a handler; its answer."""
    said = _HEAD.pack(handler.encode(), index, request, len(argument), 0) + argument
    return _getsockopt(sock, REQUEST, said.ljust(_HEAD.size + LARGEST, b"\0"))


def handlers(sock: socket.socket) -> list[str]:
    """The names of the socket's handlers, the one nearest the program first; none without them."""
    try:
        return ioctl(sock, "", LIST).decode().split("\0")[:-1]
    except OSError as wrong:
        if wrong.errno in (errno.ENOPROTOOPT, errno.ENOTCONN):
            return []
        raise


def events(sock: socket.socket) -> socket.socket:
    """A socket that is readable when a handler tells something of `sock`; see `event`.

    It ends with the connection.  A second one ends the first.
    """
    value = _getsockopt(sock, EVENTS, bytes(4))
    return socket.socket(fileno=struct.unpack("=i", value)[0])


def event(events: socket.socket) -> Event | None:
    """The next event; None at the end."""
    record = events.recv(_HEAD.size + LARGEST)
    if not record:
        return None
    name, number, kind, lost, size = _HEAD.unpack_from(record)
    data = record[_HEAD.size : _HEAD.size + size]
    return Event(name.partition(b"\0")[0].decode(), number, kind, lost, data)


def _getsockopt(sock: socket.socket, option: int, value: bytes) -> bytes:
    """getsockopt(2), whose value is looked at before it is set; Python's own passes none."""
    room = ctypes.create_string_buffer(value, len(value))
    length = ctypes.c_uint(len(value))
    if _libc.getsockopt(sock.fileno(), LEVEL, option, room, ctypes.byref(length)):
        number = ctypes.get_errno()
        if number == errno.EOPNOTSUPP:  # so says Linux of some sockets
            number = errno.ENOPROTOOPT
        raise OSError(number, os.strerror(number))
    return room.raw[: length.value]
