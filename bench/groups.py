"""The groups of rows: each is a table of its own, and may take so long."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench import calls, datagrams, eintr, many, programs, start, stream
from bench.measure import Row
from bench.settings import Settings


@dataclass(frozen=True)
class Group:
    """Rows that are measured and written down together.

    Args:
        quick, full: seconds that a run may take: what is over is not begun, so that a machine
            twice as slow makes fewer rounds rather than a user wait twice as long.
    """

    rows: Callable[[Settings], Iterable[Row]]
    quick: float
    full: float


GROUPS: dict[str, Group] = {
    "calls": Group(calls.rows, 6, 60),
    "eintr": Group(eintr.rows, 4, 30),
    "programs": Group(programs.rows, 16, 240),
    "start": Group(start.rows, 6, 30),
    "stream": Group(stream.rows, 30, 120),
    "many": Group(many.rows, 12, 60),
    "datagrams": Group(datagrams.rows, 12, 100),
}
