"""How a program's end of ours can be told by somebody who has nothing but a copy of it.

Facts: SO_MAX_PACING_RATE is 64 bits that any socket has and anybody may set; AF_UNIX makes no use
of them.  A program's own setsockopt(2) on an end of ours does not get there: it is trapped, and
goes to the network's socket.

What it means for us: they say that the end is ours, and what stands behind it.  A program that
guesses 48 random bits makes a socket of its own one that is refused or replaced, and no more.
"""

from __future__ import annotations

import os
import socket as sockets
import struct
from typing import NamedTuple

SO_MAX_PACING_RATE = 47

_VALUE = struct.Struct("=Q")
_OURS = int.from_bytes(os.urandom(6), "big") << 16
"""The same in all processes that we fork."""

_STREAM, _LISTENED = 1 << 8, 1 << 9


class Mark(NamedTuple):
    """What stands behind an end of ours."""

    domain: int
    """AF_INET or AF_INET6."""
    stream: bool
    listened: bool = False
    """Whether it came in the place of one that listened, when that could listen no more."""


def mark(end: sockets.socket, of: Mark) -> None:
    """Mark an end that the program is about to get."""
    bits = of.domain | of.stream * _STREAM | of.listened * _LISTENED
    end.setsockopt(sockets.SOL_SOCKET, SO_MAX_PACING_RATE, _VALUE.pack(_OURS | bits))


def marked(end: sockets.socket) -> Mark | None:
    """What stands behind it; None if it is not ours."""
    data = end.getsockopt(sockets.SOL_SOCKET, SO_MAX_PACING_RATE, _VALUE.size)
    value = _VALUE.unpack(data)[0] if len(data) == _VALUE.size else 0
    if value & ~0xFFFF != _OURS:
        return None
    return Mark(value & 0xFF, bool(value & _STREAM), bool(value & _LISTENED))
