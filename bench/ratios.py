"""Rows as a table: ours against theirs, and whether that is enough."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bench.measure import Row
from bench.report import Table, quantity

TITLES = ("what", "against", "ours", "theirs", "ratio", "spread", "must reach", "verdict")
COLUMNS = ("what", "against", "unit", "round", "ours", "theirs", "missing")


def table(rows: Sequence[Row]) -> Table:
    """Medians for people, all rounds for programs."""
    goals = [cells(row) for row in rows if row.goal is not None]
    return Table(TITLES, [cells(row) for row in rows], COLUMNS, [*_records(rows)], goals=goals)


def cells(row: Row) -> tuple[str, ...]:
    """The row as text: medians, and between which two the ratios of all rounds lie."""
    goal = str(row.goal or "")
    what = f"{row.what} ({row.note})" if row.note else row.what
    if row.missing:
        return what, row.versus, "", "", "", "", goal, f"left out: {row.missing}"
    ours = quantity(statistics.median(row.ours), row.unit)
    if not row.other:
        return what, row.versus, ours, "", "", _spread(row.ours), goal, row.verdict()
    other = quantity(statistics.median(row.other), row.unit)
    ratio = f"{row.reached():.3g}"
    return what, row.versus, ours, other, ratio, _spread(row.ratios()), goal, row.verdict()


def _records(rows: Sequence[Row]) -> Iterator[tuple[object, ...]]:
    for row in rows:
        for turn, ours in enumerate(row.ours or [""]):
            other = row.other[turn] if row.other else ""
            yield row.what, row.versus, row.unit, turn, ours, other, row.missing


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.3g} - {max(values):.3g}" if len(values) > 1 else ""
