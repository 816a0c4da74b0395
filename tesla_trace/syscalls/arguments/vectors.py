"""What sendmsg(2) and recvmsg(2) are given: struct msghdr, its pieces and its control messages."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import NamedTuple

from tesla_trace.io.datagram import Ancillary
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.flags import MSG_CTRUNC
from tesla_trace.syscalls.arguments.layout import Layout
from tesla_trace.syscalls.arguments.words import error

IOV_MAX = 1024
"""Pieces of one message (limits.h)."""

INT_MAX = 2**31 - 1

CONTROL_MAX = 16 * 1024
"""Bytes of control messages that are read; the kernel takes as much (net.core.optmem_max)."""

Piece = tuple[int, int]
"""Address and size of a part of the program's memory."""


class Message(NamedTuple):
    """One struct msghdr, as it was when it was read."""

    name: int
    name_size: int
    pieces: list[Piece]
    control: int
    control_size: int
    at: int
    """Where the structure stands."""

    @property
    def size(self) -> int:
        """Bytes of all the pieces."""
        return sum(size for _, size in self.pieces)


def read_message(stop: Stop, layout: Layout, address: int) -> Message:
    """The message whose header is at `address`.

    Raises:
        OSError: EFAULT; EINVAL, a length that cannot be; EMSGSIZE, more pieces than may be.
    """
    header = layout.msghdr.unpack(stop.read(address, layout.msghdr.size))
    name, name_size, vector, count, control, control_size, _ = header
    if name and name_size > INT_MAX:
        raise error(errno.EINVAL)
    if count > IOV_MAX:
        raise error(errno.EMSGSIZE)
    pieces: list[Piece] = []
    if count:
        read = stop.read(vector, count * layout.iovec.size)
        pieces = list(layout.iovec.iter_unpack(read))
    return Message(name, name_size, pieces, control, control_size if control else 0, address)


def gather(stop: Stop, pieces: list[Piece], most: int) -> bytes:
    """The bytes of the pieces, `most` of them at the most.

    Raises:
        OSError: EFAULT.
    """
    data = []
    for address, size in pieces:
        if take := min(size, most):
            data.append(stop.read(address, take))
            most -= take
    return data[0] if len(data) == 1 else b"".join(data)


def scatter(pieces: list[Piece], data: bytes) -> Iterator[tuple[int, bytes]]:
    """Which part of `data` goes to which piece."""
    for address, size in pieces:
        if not data:
            return
        if size:
            yield address, data[:size]
            data = data[size:]


def read_control(stop: Stop, layout: Layout, message: Message) -> Ancillary:
    """The control messages that the program sends along.

    Raises:
        OSError: EFAULT; EINVAL, what stands there makes no sense; ENOBUFS, it is too much.
    """
    if message.control_size > CONTROL_MAX:
        raise error(errno.ENOBUFS)
    data = stop.read(message.control, message.control_size) if message.control_size else b""
    found, at, head = [], 0, layout.cmsghdr.size
    while at + head <= len(data):
        size, level, kind = layout.cmsghdr.unpack_from(data, at)
        if not head <= size <= len(data) - at:
            raise error(errno.EINVAL)
        found.append((level, kind, data[at + head : at + size]))
        at += _aligned(size, layout)
    return tuple(found)


def pack_control(layout: Layout, ancillary: Ancillary, room: int) -> tuple[bytes, int]:
    """Control messages as put_cmsg() writes them, and MSG_CTRUNC if there is not room for all."""
    packed, head = b"", layout.cmsghdr.size
    for level, kind, data in ancillary:
        if room - len(packed) < head:
            return packed, MSG_CTRUNC
        data = layout.control(level, kind, data)
        size = head + len(data)
        if cut := size > room - len(packed):
            size = room - len(packed)
        packed += layout.cmsghdr.pack(size, level, kind) + data[: size - head]
        if cut:
            return packed, MSG_CTRUNC
        packed += bytes(min(_aligned(size, layout) - size, room - len(packed)))
    return packed, 0


def _aligned(size: int, layout: Layout) -> int:
    return size + -size % layout.align
