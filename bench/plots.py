"""The figures as tables; `pictures` draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from bench import pictures
from bench.curves import Curve
from bench.report import Table, quantity

COLUMNS = ("side", "encrypted", "bytes", "unit", "round", "value", "missing")


@dataclass(frozen=True)
class Figure:
    """One of the paper's figures.

    Args:
        title: of the picture.
        unit: of the values.
        draw: whether as lines, by the bytes in a write, or as bars.
    """

    title: str
    unit: str
    draw: pictures.Drawn

    def table(self, curves: Sequence[Curve]) -> Table:
        """A line for each side: the medians, and how far around each half of the rounds lie."""
        sizes = list(dict.fromkeys(size for curve in curves for size in curve.points))
        titles = ("", "side", *([_bytes(size) for size in sizes] or [""]))
        cells = [tuple(self._line(curve, sizes)) for curve in curves]
        draw = partial(self.draw, self.title, self.unit, curves)
        return Table(titles, cells, COLUMNS, [*self._records(curves)], draw)

    def _line(self, curve: Curve, sizes: Sequence[int]) -> Iterator[str]:
        yield "encrypted" if curve.side.encrypted else "plain"
        yield curve.side.name
        if curve.missing:
            yield f"left out: {curve.missing}"
            yield from [""] * (len(sizes) - 1)
            return
        for size in sizes:
            low, high = curve.quartiles(size)
            half = (high - low) / 2 / curve.median(size)
            yield f"{quantity(curve.median(size), self.unit)} ± {half:.0%}"

    def _records(self, curves: Sequence[Curve]) -> Iterator[tuple[object, ...]]:
        for curve in curves:
            side = curve.side.name, curve.side.encrypted
            if curve.missing:
                yield *side, "", self.unit, "", "", curve.missing
            for size, values in curve.points.items():
                for turn, value in enumerate(values):
                    yield *side, size, self.unit, turn, value, ""


def _bytes(size: int) -> str:
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


FIGURE_6 = Figure("Bandwidth on loopback", "B/s", pictures.lines)
FIGURE_7 = Figure("Bandwidth over a link of 100 Mbit/s", "B/s", pictures.lines)
FIGURE_8 = Figure("Round trips of one byte on loopback", "/s", pictures.bars)
