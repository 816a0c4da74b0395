"""The descriptor by which a program learns what handlers tell: our end of it.

Facts of AF_UNIX (unix(7)): SOCK_SEQPACKET keeps records apart, and has room for what SO_SNDBUF of
the writing end says, each record counted with what the kernel needs for it.  The reader gets what
is there, and then the end, also after the writer is gone.
"""

from __future__ import annotations

import errno
import socket
import struct

from tesla_trace.flow import Event, Flow, FlowHandler, handlers_of
from tesla_trace.io.loop import Loop

RECORD = struct.Struct("=32sIIII")
"""Before the data: the handler's name, its index among those of the name, the kind, how many events
were lost before this one, and the size of the data."""

_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class EventsEnd:
    """Our end, and until it is given away `theirs`.

    Raises:
        OSError: we have no descriptors left.
    """

    def __init__(self, loop: Loop, flow: Flow, top: FlowHandler) -> None:
        self._end, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._end.shutdown(socket.SHUT_RD)  # what the program writes would stay there
        self._top = top
        self._watch = loop.watch(self._end.fileno())
        self._watch.call(_nothing, _nothing, lambda: flow.events.left(self), _nothing)
        self._watch.expect_exceptions()

    def put(self, event: Event, lost: int) -> bool:
        """Send it; see `flow.events.Outlet`."""
        name = event.teller.name
        same = [each for each in handlers_of(self._top) if each.name == name]
        index = same.index(event.teller) if event.teller in same else 0
        head = RECORD.pack(name.encode(), index, event.kind, lost, len(event.data))
        try:
            self._end.send(head + event.data, _FLAGS)
        except OSError as wrong:  # no room; or the program has closed its end, which we shall see
            return wrong.errno in (errno.EPIPE, errno.ECONNRESET)
        return True

    def close(self) -> None:
        """The program sees the end, behind what it has not read."""
        if self._end.fileno() >= 0:
            self._watch.close()
            self._end.close()


def _nothing() -> None: ...
