"""How a program lays out what its calls point at: by the width of its words."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from tesla_trace.kernel.trap import Stop


@dataclass(frozen=True)
class Layout:
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


LAYOUTS = {
    8: Layout(Struct("=QI4xQQQQi"), 64, 56, Struct("=QQ"), 8, Struct("=Qii"), Struct("=qq")),
}
"""By the bytes of a pointer."""


def layout_of(stop: Stop) -> Layout:
    """The structures as the program that makes the call has them."""
    return LAYOUTS[stop.word]
