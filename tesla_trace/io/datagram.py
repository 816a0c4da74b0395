"""A datagram with what belongs to it besides its bytes."""

from __future__ import annotations

import errno
import os
import struct

from tesla_trace.address import Address

_ERRNO = struct.Struct("=I")
"""What struct sock_extended_err begins with."""

Ancillary = tuple[tuple[int, int, bytes], ...]
"""Control messages of recvmsg(2) and sendmsg(2): level, type, data."""


class Datagram(bytes):
    """Bytes of a datagram that came, or is to go, with control messages.

    Handlers pass it on as they do bytes; one that makes other bytes of them leaves these behind.
    """

    ancillary: Ancillary = ()


def with_ancillary(data: bytes, ancillary: Ancillary) -> Datagram:
    """The datagram of these bytes and control messages."""
    datagram = Datagram(data)
    datagram.ancillary = ancillary
    return datagram


def ancillary_of(data: bytes) -> Ancillary:
    """The control messages of a datagram; none of plain bytes."""
    return data.ancillary if isinstance(data, Datagram) else ()


class Reported(OSError):
    """An entry of a socket's error queue (ip(7), IP_RECVERR), for a program that reads that.

    Args:
        data: of the datagram that did not get there, what the ICMP message had of it.
        to: where it was to go.
    """

    def __init__(self, data: bytes, ancillary: Ancillary, to: Address | None) -> None:
        number = next((_ERRNO.unpack_from(each)[0] for _, _, each in ancillary if each), errno.EIO)
        super().__init__(number, os.strerror(number))
        self.data = data
        self.ancillary = ancillary
        self.to = to
