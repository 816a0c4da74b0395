"""The groups of rows: each is a table of its own, and may take so long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from bench import (
    calls,
    connects,
    datagrams,
    eintr,
    figures,
    many,
    plots,
    programs,
    ratios,
    rungs,
    scale,
    services,
    start,
)
from bench.curves import Curve
from bench.machine import Missing
from bench.measure import Row
from bench.report import Table
from bench.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Group(Generic[T]):
    """Rows that are measured and written down together.

    Args:
        quick, full: seconds that a run may take: what is over is not begun, so that a machine
            twice as slow makes fewer rounds rather than a user wait twice as long.
    """

    rows: Callable[[Settings], Iterable[T]]
    table: Callable[[Sequence[T]], Table]
    quick: float
    full: float

    def measured(self, settings: Settings) -> Table:
        """Its table, as far as it could be measured."""
        rows: list[T] = []
        try:
            for row in self.rows(settings):
                rows.append(row)  # those before a failure are kept
        except RuntimeError as wrong:
            settings.broken.append(f"not measured to its end: {wrong}")
        except Missing as wrong:
            if not rows:
                return Table(("left out",), [(str(wrong),)], ("left out",), [(str(wrong),)])
            settings.note(f"The rest is left out: {wrong}.")
        return replace(self.table(rows), note=" ".join(settings.notes))


GROUPS: dict[str, Group[Row] | Group[Curve]] = {
    "rungs": Group(rungs.rows, ratios.table, 8, 110),
    "figure-6": Group(figures.bandwidth, plots.FIGURE_6.table, 8, 140),
    "figure-7": Group(figures.slow_link, plots.FIGURE_7.table, 8, 150),
    "figure-8": Group(figures.latency, plots.FIGURE_8.table, 4, 45),
    "calls": Group(calls.rows, ratios.table, 5, 45),
    "eintr": Group(eintr.rows, ratios.table, 3, 25),
    "programs": Group(programs.rows, ratios.table, 7, 140),
    "start": Group(start.rows, ratios.table, 3, 20),
    "connects": Group(connects.rows, ratios.table, 6, 90),
    "many": Group(many.rows, ratios.table, 7, 60),
    "scale": Group(scale.rows, ratios.table, 9, 180),
    "services": Group(services.rows, ratios.table, 20, 300),
    "datagrams": Group(datagrams.rows, ratios.table, 7, 70),
}
