"""One flow's graph of handlers, held together: its clock, its ends, and what happens if one fails.

An exception out of a handler ends that flow only.  So whatever calls into the handlers of a flow,
be it a descriptor, a timer or the program, does it through the flow's `Graph`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Protocol

from tesla_trace.flow import Flow, FlowHandler, failure, trace
from tesla_trace.io.loop import Alarm, Loop, Watch
from tesla_trace.io.pipes import Pipes

Call = Callable[[], object]

OURSELVES: AbstractContextManager[object] = nullcontext()


class TopEnd(Protocol):
    """The program's end of a graph."""

    closed: bool

    def lose(self, error: OSError) -> None:
        """The flow is over."""


class Graph:
    """The `flow.Clock` of all handlers of a flow, and their guard.

    Args:
        guise: `with` it, the sockets of the flow are made.
    """

    def __init__(
        self, loop: Loop, flow: Flow, guise: AbstractContextManager[object] = OURSELVES
    ) -> None:
        self.loop = loop
        self.flow = flow
        self.guise = guise
        self.top: TopEnd | None = None
        self.bottoms: list[FlowHandler] = []
        self.pipes: Pipes | None = None
        """Through which bytes may go that no handler wants; None if they may not."""
        self.crashed = False
        """Whether a handler has failed."""
        self._when_open: list[Call] | None = None

    def expect_open(self) -> None:
        """The program's end is going to be opened: until then only handlers have bytes."""
        self._when_open = []

    def once_open(self, call: Call) -> None:
        """Do `call` when the program's end is opened; now if it is, or nobody opens it."""
        if self._when_open is None:
            call()
        else:
            self._when_open.append(call)

    def opened(self) -> None:
        """The program's end is open."""
        waiting, self._when_open = self._when_open, None
        for call in waiting or ():
            call()

    def now(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return self.loop.now()

    def at(self, when: float, call: Call) -> Alarm:
        """Call `call` once, on the first turn of the loop after this one with `now() >= when`."""
        return self.loop.at(when, partial(self.run, call))

    def serve(
        self, watch: Watch, readable: Call, writable: Call, hung_up: Call, urgent: Call
    ) -> None:
        """Let a descriptor of the flow call these from now on: see `Watch.call`."""
        watch.call(readable, writable, hung_up, urgent, self.crash)

    def run(self, call: Call) -> None:
        """Do `call`, which may reach the handlers; if one of them fails, end the flow."""
        try:
            call()
        except Exception as wrong:
            self.crash(wrong)

    def crash(self, wrong: Exception) -> OSError:
        """End the flow because a handler raised `wrong`, and say so once.

        Returns:
            What a call of the program that is under way fails with.
        """
        error = failure(errno.ECONNABORTED, "a handler failed")
        if self.crashed:
            return error
        self.crashed = True
        self.flow.log("a handler failed, and the flow with it")
        for line in trace(wrong):
            self.flow.log(f"  {line}")
        self.flow.events.close()
        for bottom in list(self.bottoms):
            bottom.abort()
        if self.top is not None:
            self.run(partial(self.top.lose, error))  # for it reaches the handlers once more
        return error
