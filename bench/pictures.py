"""Pictures of curves, with matplotlib where it is."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.curves import Curve
from bench.labels import label
from bench.machine import Missing
from bench.report import quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, GREY, BLUE, GREEN, VIOLET = "#333333", "#8a8a8a", "#3f7fc4", "#2f9463", "#8256b5"
RED, ORANGE, YELLOW, CRIMSON = "#c8281e", "#ee7a1c", "#d9a300", "#a3215b"

LOOKS = {
    "native": ("native", BLACK, "-", "o"),
    "TCP proxy: socat": ("socat, TCP", BLUE, "-", "s"),
    "TCP proxy: haproxy": ("haproxy, TCP", BLUE, "--", "D"),
    "UNIX proxy: socat": ("socat, UNIX", GREEN, "-", "s"),
    "UNIX proxy: haproxy": ("haproxy, UNIX", GREEN, "--", "D"),
    "tesla_trace, handed back": ("handed back", RED, "-", "o"),
    "tesla_trace, spliced": ("spliced", ORANGE, "-", "o"),
    "tesla_trace, through +dummy": ("+dummy", YELLOW, "-", "o"),
    "inside the program": ("inside the program", GREY, "-", "o"),
    "a pair of stunnels": ("pair of stunnels", VIOLET, "-", "s"),
    "tesla_trace, +crypt at both ends": ("+crypt", CRIMSON, "-", "o"),
}
"""Name for short, colour, line and marker of each side: what is ours is warm."""

STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8e8e8",
    "axes.axisbelow": True,
    "axes.edgecolor": "#999999",
    "figure.facecolor": "white",
}

NATIVE = "native"

Values = Callable[[Curve, int], Sequence[float]]
"""What is drawn of a curve at a size: a value for each round."""


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
    """By the bytes in a write: plain and encrypted, in figures above and against native below."""
    figure = _figure(13, 9.5)
    curves = [curve for curve in curves if not curve.missing]
    natively = {curve.side.name: curve for curve in curves}.get(NATIVE)

    def ratios(curve: Curve, size: int) -> Sequence[float]:
        assert natively is not None
        pairs = zip(curve.points[size], natively.points[size], strict=True)
        return [ours / native for ours, native in pairs]

    values: dict[str, Values] = {"bytes per second": lambda curve, size: curve.points[size]}
    if natively is not None:
        values["as a part of native"] = ratios
    rows = figure.subplots(len(values), 2, sharex=True, sharey="row", squeeze=False)
    for row, (what, value) in zip(rows, values.items(), strict=True):
        panels = {axes: _shown(curves, encrypted=axes is row[1]) for axes in row}
        for axes, there in panels.items():
            for curve in there:
                _line(axes, curve, value)
        row[0].set_ylabel(what)
        if value is ratios:
            # By the lines: where the spread goes beyond them, it may be cut off.
            tops = (
                statistics.median(ratios(each, size)) for each in curves for size in each.points
            )
            row[0].set_ylim(0, 1.1 * max(tops))
        else:
            row[0].set_yscale("log")
            row[0].yaxis.set_major_formatter(lambda tick, _: quantity(tick, unit))
        for axes, there in panels.items():  # now that the limits are those that both need
            axes.yaxis.set_tick_params(labelleft=True)
            _sizes(axes, curves)
            label(axes, {LOOKS[each.side.name][0]: _end(each, value) for each in there})
    for axes, name in zip(rows[0], ("plain", "encrypted"), strict=True):
        axes.set_title(name, loc="left")
    for axes in rows[-1]:
        axes.set_xlabel("bytes in one write")
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
        axes.barh(at, middle, color=LOOKS[curve.side.name][1], height=0.7)
        axes.plot([low, high], [at, at], color="black", linewidth=1)
        axes.text(max(high, middle), at, f"  {quantity(middle, unit)}", va="center")
    names = [curve.side.name + (" (encrypted)" if curve.side.encrypted else "") for curve in there]
    axes.set_yticks(range(len(there)), names)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("round trips per second")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e3:g} k" if value else "0")
    _save(figure, title, file, machine)


def _figure(width: float, height: float) -> Figure:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as wrong:
        raise Missing("matplotlib is not there") from wrong
    mpl.rcParams.update(STYLE)
    return Figure((width, height), layout="constrained")


def _shown(curves: Iterable[Curve], *, encrypted: bool) -> list[Curve]:
    """What is in a panel; native is in each, for comparison."""
    return [
        curve for curve in curves if curve.side.encrypted == encrypted or curve.side.name == NATIVE
    ]


def _line(axes: Axes, curve: Curve, values: Values) -> None:
    _, colour, line, marker = LOOKS[curve.side.name]
    sizes = list(curve.points)
    rounds = [values(curve, size) for size in sizes]
    middles = [statistics.median(each) for each in rounds]
    axes.plot(sizes, middles, line, color=colour, marker=marker, markersize=5)
    quartiles = [statistics.quantiles(each, n=4, method="inclusive") for each in rounds]
    low, _, high = zip(*quartiles, strict=True)
    axes.fill_between(sizes, low, high, color=colour, alpha=0.06, linewidth=0)


def _end(curve: Curve, values: Values) -> tuple[float, str]:
    """The value at which the line of a curve ends, and its colour."""
    return statistics.median(values(curve, max(curve.points))), LOOKS[curve.side.name][1]


def _sizes(axes: Axes, curves: Sequence[Curve]) -> None:
    sizes = sorted({size for curve in curves for size in curve.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size // 1024}K" if size >= 1024 else str(size) for size in sizes])
    axes.minorticks_off()


def _save(figure: Figure, title: str, file: Path, machine: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=15, fontweight="bold")
    figure.supxlabel(machine, x=0.99, ha="right", fontsize=9, color=GREY)
    figure.savefig(file, dpi=100)
