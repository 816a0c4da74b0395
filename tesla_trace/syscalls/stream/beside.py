"""Two sockets bound to one port.

Facts: bind(2) looks at SO_REUSEADDR of both sockets as it is at that moment, and lets them share a
port while neither listens.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def beside(other: socket.socket | None, bound: socket.socket) -> Iterator[None]:
    """Let `bound` be bound to an address that `other`, if there is one, has too."""
    if other is None:
        yield
        return
    both = other, bound
    before = [each.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) for each in both]
    try:
        for each in both:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield
    finally:
        for each, value in zip(both, before, strict=True):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, value)
