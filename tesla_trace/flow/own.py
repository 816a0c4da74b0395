"""Requests of programs that know of us, to one handler of a flow (TESLA, section 3.6).

A program names the handler, and what it asks is a request of that handler's `ioctl`, like the
ioctl(2) requests that the program makes in ignorance of handlers.  Those pass down to the network
unless a handler answers; a request of our own is for one handler only, and would mean something
else to the next.  So these have numbers that no request of the kernel has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tesla_trace.flow.handler import FlowHandler

OWN = 0x7E51_0000
"""The program's request N comes to the handler's `ioctl` as OWN + N."""

HIGHEST = 0xFFFF
"""The highest N there may be; 0 lists the handlers, and is answered for all of them."""


def is_own(request: int) -> bool:
    """Whether a request is a program's, to one handler."""
    return OWN <= request <= OWN + HIGHEST


def handlers_of(top: FlowHandler) -> Iterator[FlowHandler]:
    """The handlers that the user named between a program and the network, from above."""
    for flow in top.plumbed:
        if flow.plumbed:
            if not flow.internal:
                yield flow
            yield from handlers_of(flow)
