"""What was measured, for people and for programs."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.machine import HERE
from bench.measure import Row
from tesla_trace.tables import markdown, renewed

TITLES = ("what", "against", "ours", "theirs", "ratio", "spread", "must reach", "verdict")

README = HERE / "README.md"
RESULTS = HERE / "results"


def cells(row: Row) -> tuple[str, ...]:
    """The row as text: medians, and between which two the ratios of all rounds lie."""
    goal = str(row.goal or "")
    what = f"{row.what} ({row.note})" if row.note else row.what
    if row.missing:
        return what, row.versus, "", "", "", "", goal, row.missing
    ours = _value(statistics.median(row.ours), row.unit)
    if not row.other:
        return what, row.versus, ours, "", "", _spread(row.ours), goal, row.verdict()
    other = _value(statistics.median(row.other), row.unit)
    ratio = f"{row.reached():.3g}"
    return what, row.versus, ours, other, ratio, _spread(row.ratios()), goal, row.verdict()


def write(group: str, machine: str, rows: Sequence[Row], results: Path = RESULTS) -> None:
    """Keep every round in the group's file, and its table in the README."""
    results.mkdir(exist_ok=True)
    with (results / f"{group}.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("machine", "what", "against", "unit", "round", "ours", "theirs", "missing"))
        for row in rows:
            for turn, ours in enumerate(row.ours or [""]):
                other = row.other[turn] if row.other else ""
                out.writerow(
                    (machine, row.what, row.versus, row.unit, turn, ours, other, row.missing)
                )
    renew(group, f"{machine}\n\n{markdown(TITLES, [cells(row) for row in rows])}")


def renew(name: str, text: str, readme: Path = README) -> None:
    """Put this between the markers of that name."""
    readme.write_text(renewed(readme.read_text(), {name: lambda: text}))


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.3g} - {max(values):.3g}" if len(values) > 1 else ""


def _value(value: float, unit: str) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if unit in ("B/s", "/s") and value >= factor:
            return f"{value / factor:.3g} {letter}{unit}"
    return f"{value:.4g} {unit}".strip()
