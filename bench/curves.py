"""Sides that do the same in turns, and what they gave: a curve for each."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.machine import Missing
from bench.measure import Worker
from bench.sides import Side
from bench.stage import Stage

PATIENCE = 60.0
"""Seconds after which a side hangs."""


@dataclass(eq=False)
class Curve:
    """What one side gave: a value for each round, by bytes in one write."""

    side: Side
    points: dict[int, list[float]] = field(default_factory=dict)
    missing: str = ""
    """Why there is nothing."""

    def median(self, size: int) -> float:
        """The middle one of the rounds."""
        return statistics.median(self.points[size])

    def quartiles(self, size: int) -> tuple[float, float]:
        """Between which half of the rounds lie."""
        low, _, high = statistics.quantiles(self.points[size], n=4, method="inclusive")
        return low, high


def measured(
    stage: Stage,
    sides: Sequence[Side],
    lines: Mapping[int, str],
    *,
    count: int = 0,
    part: float = 1,
) -> list[Curve]:
    """Let all sides do all that the lines say, in turns.

    What a side lacks is its own affair, and if it breaks the others go on.

    Args:
        lines: what to ask a client, by bytes in one write.
        count: of rounds, or what the settings say.
        part: of the time that the settings give.
    """
    curves = [Curve(side) for side in sides]
    asked: dict[str, Callable[[], float]] = {}
    for curve in curves:
        try:
            worker = stage.open.enter_context(Worker(curve.side.command(stage), PATIENCE))
        except (Missing, RuntimeError) as wrong:
            _left_out(stage, curve, wrong)
            continue
        for size, line in lines.items():
            asked[_label(curve, size)] = _asked(stage, curve, worker, line)
    figures = stage.settings.measured(asked, count, part=part)
    for curve in curves:
        if not curve.missing:
            curve.points = {size: figures[_label(curve, size)] for size in lines}
    return curves


def _label(curve: Curve, size: int) -> str:
    return f"{curve.side.name}, {size} B"


def _asked(stage: Stage, curve: Curve, worker: Worker, line: str) -> Callable[[], float]:
    """Something to call that measures, or does nothing any more once that has gone wrong."""

    def ask() -> float:
        if not curve.missing:
            try:
                return worker.ask(line)[0]
            except RuntimeError as wrong:
                _left_out(stage, curve, wrong)
        return math.nan

    return ask


def _left_out(stage: Stage, curve: Curve, wrong: Exception) -> None:
    curve.missing = str(wrong)
    if isinstance(wrong, RuntimeError):
        stage.settings.broken.append(f"{curve.side.name}: {wrong}")
