"""How a program lays out what its calls point at: by the width of its words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from socket import SOL_SOCKET
from struct import Struct, calcsize
from typing import NamedTuple

from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.words import signed


class Layout(NamedTuple):
    """The C structures of one ABI."""

    msghdr: Struct
    """struct msghdr: name, namelen, iov, iovlen, control, controllen, flags."""
    mmsghdr: int
    """Bytes from one struct mmsghdr to the next; its length is behind the msghdr."""
    length: int
    """Where in a struct mmsghdr msg_len stands."""
    iovec: Struct
    """struct iovec: base, len."""
    align: int
    """What control messages are aligned to."""
    cmsghdr: Struct
    """struct cmsghdr: len, level, type."""
    timespec: Struct
    """struct timespec: seconds, nanoseconds."""
    name_size: int
    """Where in a struct msghdr msg_namelen stands."""
    results: int
    """Where in a struct msghdr msg_controllen and, next to it, msg_flags stand."""
    result: Struct
    """These two."""

    def told(self, at: int, name: int, control: int, flags: int) -> Iterator[tuple[int, bytes]]:
        """What recvmsg(2) writes into the struct msghdr at `at`, and where."""
        yield at + self.name_size, name.to_bytes(4, sys.byteorder)
        yield at + self.results, self.result.pack(control, flags)

    def control(self, level: int, kind: int, data: bytes) -> bytes:
        """What a control message that we received says to the program: old times are in words."""
        if (level, kind) not in OLD_TIMES or self.align == _OURS:
            return data
        times = LAYOUTS[_OURS].timespec.iter_unpack(data)
        narrow = LAYOUTS[self.align].timespec
        return b"".join(narrow.pack(*map(signed, each)) for each in times)


_OURS = calcsize("P")

OLD_TIMES = frozenset((SOL_SOCKET, kind) for kind in (29, 35, 37))
"""SCM_TIMESTAMP, SCM_TIMESTAMPNS and SCM_TIMESTAMPING (asm-generic/socket.h); the newer ones have
64 bits in every program."""

LAYOUTS = {
    8: Layout(
        msghdr=Struct("=QI4xQQQQi"),
        mmsghdr=64,
        length=56,
        iovec=Struct("=QQ"),
        align=8,
        cmsghdr=Struct("=Qii"),
        timespec=Struct("=qq"),
        name_size=8,
        results=40,
        result=Struct("=Qi"),
    ),
    4: Layout(
        msghdr=Struct("=IIIIIIi"),
        mmsghdr=32,
        length=28,
        iovec=Struct("=II"),
        align=4,
        cmsghdr=Struct("=Iii"),
        timespec=Struct("=ii"),
        name_size=4,
        results=20,
        result=Struct("=Ii"),
    ),
}
"""By the bytes of a pointer."""

TIME64 = "_time64"
"""How the calls of 32-bit programs end that count seconds in 64 bits."""

LATE = LAYOUTS[4]._replace(timespec=Struct("=qq"))
"""The layout of such a call."""


def layout_of(stop: Stop) -> Layout:
    """The structures as the program that makes the call has them."""
    return LATE if stop.call.endswith(TIME64) else LAYOUTS[stop.word]
