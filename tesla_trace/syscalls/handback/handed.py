"""A socket of the program that is the kernel's own: its flow was handed back."""

from __future__ import annotations

import socket as sockets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tesla_trace.flow import FlowHandler
from tesla_trace.io.bottom import Bottom
from tesla_trace.io.top import Top
from tesla_trace.kernel.replace import replace
from tesla_trace.kernel.thread import borrow_from_anyone
from tesla_trace.kernel.trap import Stop

if TYPE_CHECKING:
    from tesla_trace.syscalls.stream.socket import Socket


ANSWERED = ("getsockopt", "ioctl")
"""Calls that are the kernel's to answer, unless a handler does."""


class Handed:
    """One such socket, for as long as any process has it.

    Args:
        file: what it is called in /proc/PID/fd.
    """

    def __init__(self, socket: Socket, top: Top, bottom: Bottom, file: bytes) -> None:
        assert socket.seen is not None
        self.seen = socket.seen
        """Where it was last seen: a call, and its descriptor."""
        self.file = file
        self.socket = socket
        """What it was before, and is again when it is dissolved."""
        self.told = socket.told
        """Whether the program knows from connect(2) that it is connected."""
        self.names = socket.names
        """Packed addresses, as the handlers say them."""
        self.instead_of = b""
        """In whose place it came, if that may turn up somewhere."""
        self.seen_by = 0
        """What the seeing of its close is to be ended by; see `Closes.forget`."""
        self._top = top
        self.bottom = bottom
        self.answered = frozenset(each for each in ANSWERED if _answers(top, each))
        """Calls that handlers have something to say to."""

    def left(self) -> None:
        """The program has closed its last descriptor."""
        self.socket.session.forget_handed(self)
        self._top.graph.run(self._top.close)

    def rejoin(self, stop: Stop, fd: int, file: bytes) -> None:
        """Give a process the socket, which has turned up with what it came instead of."""
        members = self.socket.session.members
        with sockets.socket(fileno=stop.borrow(fd, file)) as old:
            with sockets.socket(fileno=borrow_from_anyone(self.file, members)) as real:
                replace(stop, fd, file, old.fileno(), real.fileno())

    @contextmanager
    def asked(self) -> Iterator[FlowHandler]:
        """The graph, to ask; its lower end has the socket for the moment.

        Raises:
            OSError: it is not where it was last seen.
        """
        with self.bottom.lent(self.borrowed()):
            yield self._top

    def borrowed(self) -> sockets.socket:
        """A copy of the socket, to be closed at once; raises as `asked`."""
        stop, fd = self.seen
        return sockets.socket(fileno=stop.borrow(fd, self.file))


def _answers(top: Top, call: str) -> bool:
    """Whether a handler between the two ends of a graph does more than pass a call on."""
    flows = list(top.plumbed)
    while flows:
        flow = flows.pop()
        if flow.plumbed and getattr(type(flow), call) is not getattr(FlowHandler, call):
            return True
        flows += flow.plumbed
    return False
