"""A listener's handler that only some of what is accepted goes through.

Whom a flow is with is known when it is accepted, not when its listener is made.  So the listener
has the handler, between two of ours: what comes in below either goes on through it, or past it,
and has none of the two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tesla_trace.address import Address
from tesla_trace.flow.handler import Context, FlowHandler

Judge = Callable[[FlowHandler, Address], bool]
"""Whether the handler is for a flow with this peer."""


class Above(FlowHandler):
    """Above the handler: has what went past it accepted, too."""

    name = "selecting"
    internal = True

    def __init__(self, ctx: Context) -> None:
        self._past: deque[tuple[FlowHandler, Address]] = deque()
        self._asking = False
        super().__init__(ctx)

    def accept(self) -> tuple[FlowHandler, Address]:
        """Take the next connection, of those that go through the handler or past it."""
        if self._past:
            return self._past.popleft()
        self._asking = True
        try:
            return self.control.accept()
        except BlockingIOError:
            if not self._past:
                raise
            return self._past.popleft()
        finally:
            self._asking = False

    def past(self, flow: FlowHandler, peer: Address) -> None:
        """A flow came in that the handler is not for."""
        self._past.append((flow, peer))
        if not self._asking:
            self.later(lambda: self.upstream.accept_ready(self))

    def close(self) -> None:
        """Nobody accepts what waits."""
        self._drop()
        super().close()

    def abort(self) -> None:
        """Nobody accepts what waits."""
        self._drop()
        super().abort()

    def _drop(self) -> None:
        while self._past:
            self._past.popleft()[0].abort()


class Below(FlowHandler):
    """Below the handler: lets it have only what it is for."""

    name = "selecting"
    internal = True

    def __init__(self, ctx: Context, judge: Judge, past: Callable[[FlowHandler, Address], None]):
        self._judge, self._past = judge, past
        super().__init__(ctx)

    def accept(self) -> tuple[FlowHandler, Address]:
        """Take the next connection, if the handler is for it; else it goes past."""
        flow, peer = self.control.accept()
        try:
            chosen = self._judge(flow, peer)
        except BaseException:
            flow.abort()
            raise
        if chosen:
            return flow, peer
        self._past(flow, peer)
        raise BlockingIOError
