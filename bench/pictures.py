"""Pictures of curves, with matplotlib where it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.curves import Curve
from bench.machine import Missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, BLUE, GREEN, VIOLET = "#555555", "#4c8dc9", "#3a9a6b", "#8a63b8"
RED, ORANGE, YELLOW = "#c8372d", "#ee7a1c", "#e0a800"

LOOKS = {
    "native": (GREY, "-", "o"),
    "TCP proxy: socat": (BLUE, "-", "s"),
    "TCP proxy: haproxy": (BLUE, "--", "D"),
    "UNIX proxy: socat": (GREEN, "-", "s"),
    "UNIX proxy: haproxy": (GREEN, "--", "D"),
    "tesla_trace, handed back": (RED, "-", "o"),
    "tesla_trace, spliced": (ORANGE, "-", "o"),
    "tesla_trace, through +dummy": (YELLOW, "-", "o"),
    "inside the program": (GREY, "-", "o"),
    "a pair of stunnels": (VIOLET, "-", "s"),
    "tesla_trace, +crypt at both ends": (RED, "-", "o"),
}
"""Colour, line and marker of each side: what is ours is warm."""

STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "axes.edgecolor": "#999999",
    "figure.facecolor": "white",
}

NATIVE = "native"

GAP = 0.05
"""From one label to the next, as a part of the height."""


class Drawn(Protocol):
    """How a figure is drawn."""

    def __call__(
        self, title: str, unit: str, curves: Sequence[Curve], file: Path, machine: str
    ) -> None:
        """Make the file.

        Raises:
            Missing: matplotlib is not there.
        """


def lines(title: str, unit: str, curves: Sequence[Curve], file: Path, machine: str) -> None:
    """By the bytes in a write, both on logarithmic axes: a panel each for plain and encrypted."""
    figure = _figure(13, 6.2)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    shown = []
    for axes, encrypted in zip(panels, (False, True), strict=True):
        there = [
            curve
            for curve in curves
            if not curve.missing
            and (curve.side.encrypted == encrypted or curve.side.name == NATIVE)
        ]
        for curve in there:
            _line(axes, curve, faint=encrypted and curve.side.name == NATIVE)
        shown.append(there)
        axes.set_title("encrypted" if encrypted else "plain", loc="left", color=GREY)
    for axes, there in zip(panels, shown, strict=True):  # with the limits that both need
        _scales(axes, there, unit)
        _labels(axes, there)
    _save(figure, title, file, machine)


def bars(title: str, unit: str, curves: Sequence[Curve], file: Path, machine: str) -> None:
    """A bar for each side, and within which half of the rounds lie."""
    there = [curve for curve in curves if not curve.missing]
    figure = _figure(10, 0.45 * len(there) + 1.6)
    axes = figure.subplots()
    for at, curve in enumerate(there):
        (size,) = curve.points
        low, high = curve.quartiles(size)
        middle = curve.median(size)
        axes.barh(at, middle, color=LOOKS[curve.side.name][0], height=0.7)
        axes.plot([low, high], [at, at], color="black", linewidth=1.2)
        axes.text(max(high, middle), at, f"  {middle / 1e3:.3g} k", va="center")
    names = [curve.side.name + (" (encrypted)" if curve.side.encrypted else "") for curve in there]
    axes.set_yticks(range(len(there)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("round trips per second")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e3:g} k")
    _save(figure, title, file, machine)


def _figure(width: float, height: float) -> Figure:
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as wrong:
        raise Missing("matplotlib is not there") from wrong
    mpl.rcParams.update(STYLE)
    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _line(axes: Axes, curve: Curve, *, faint: bool) -> None:
    colour, line, marker = LOOKS[curve.side.name]
    sizes = list(curve.points)
    low, high = zip(*(curve.quartiles(size) for size in sizes), strict=True)
    alpha = 0.4 if faint else 1
    medians = [curve.median(size) for size in sizes]
    axes.plot(sizes, medians, line, color=colour, marker=marker, markersize=5, alpha=alpha)
    axes.fill_between(sizes, low, high, color=colour, alpha=0.1, linewidth=0)


def _scales(axes: Axes, curves: Sequence[Curve], unit: str) -> None:
    sizes = sorted({size for curve in curves for size in curve.points})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{size // 1024} Ki" if size >= 1024 else str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("bytes in one write")
    axes.set_ylabel(unit)


def _labels(axes: Axes, curves: Sequence[Curve]) -> None:
    """The name of each line at its right end, moved apart where they would meet."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    size = max(size for curve in curves for size in curve.points)
    ends = {curve: (math.log(curve.median(size)) - low) / (high - low) for curve in curves}
    names = sorted(curves, key=lambda curve: ends[curve])
    for curve, at in zip(names, _apart([ends[curve] for curve in names], GAP), strict=True):
        colour = LOOKS[curve.side.name][0]
        axes.annotate(
            curve.side.name,
            xy=(1, ends[curve]),
            xytext=(1.06, at),
            xycoords="axes fraction",
            color=colour,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "alpha": 0.6},
            annotation_clip=False,
        )


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """The places, which rise, moved as little as keeps them `gap` from each other.

    Those that meet are put about their middle, and so on until none meet.
    """
    clusters: list[list[float]] = []  # of each its places
    for place in places:
        clusters.append([place])
        while len(clusters) > 1 and _top(clusters[-2], gap) + gap > _bottom(clusters[-1], gap):
            last = clusters.pop()
            clusters[-1] += last
    return [_bottom(cluster, gap) + gap * at for cluster in clusters for at in range(len(cluster))]


def _bottom(cluster: Sequence[float], gap: float) -> float:
    return sum(cluster) / len(cluster) - gap * (len(cluster) - 1) / 2


def _top(cluster: Sequence[float], gap: float) -> float:
    return _bottom(cluster, gap) + gap * (len(cluster) - 1)


def _save(figure: Figure, title: str, file: Path, machine: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=15, fontweight="bold")
    figure.supxlabel(machine, x=0.99, ha="right", fontsize=9, color=GREY)
    figure.savefig(file, dpi=110)
