"""What became of every flow: for the report at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from tesla_trace.flow import Flow, printable, shown

Entry = dict[str, object]

OPEN, CLOSED = "open", "closed"
"""How a flow stands that did not fail: still there, or ended by both sides."""


class Totals(NamedTuple):
    """Of all flows."""

    flows: int = 0
    out: int = 0
    into: int = 0

    def plus(self, flow: Flow) -> Totals:
        """With one more."""
        return Totals(self.flows + 1, self.out + flow.out, self.into + flow.into)


class Accounts:
    """Keeps the flows that are under way; each is handed on when it is over.

    Args:
        keep: takes the entry of a flow that is over.
    """

    def __init__(self, keep: Callable[[Entry], None], now: Callable[[], float] = time.time) -> None:
        self._keep = keep
        self._now = now
        self._open: dict[int, tuple[Flow, float]] = {}
        self._totals = Totals()

    def began(self, flow: Flow) -> None:
        """The flow connects, or came in."""
        self._open[flow.number] = flow, self._now()

    def over(self, flow: Flow, outcome: str = CLOSED) -> None:
        """Nothing more will pass."""
        known = self._open.pop(flow.number, None)
        if known is not None:  # else a socket that never connected, or a listener
            self._totals = self._totals.plus(flow)
            self._keep(self._entry(*known, outcome))

    def under_way(self) -> list[Entry]:
        """The flows that are not over."""
        return [self._entry(*known, OPEN) for known in self._open.values()]

    def totals(self) -> Totals:
        """Of all flows, those under way with what they have carried by now."""
        totals = self._totals
        for flow, _ in self._open.values():
            totals = totals.plus(flow)
        return totals

    def _entry(self, flow: Flow, began: float, outcome: str) -> Entry:
        return {
            "number": flow.number,
            "program": printable(flow.program),
            "pid": flow.pid,
            "accepted": flow.accepted,
            "target": shown(flow.target) if flow.target else None,
            "began": round(began, 3),
            "seconds": round(max(self._now() - began, 0.0), 3),
            "datapath": flow.datapath,
            "out": None if flow.datapath == "handed back" else flow.out,
            "in": None if flow.datapath == "handed back" else flow.into,
            "outcome": flow.failed or outcome,
        }
