"""Names of lines at their right ends, moved apart where they would meet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP = 0.062
"""From one label to the next, as a part of the height."""


def label(axes: Axes, ends: Mapping[str, tuple[float, str]]) -> None:
    """Write names beside the axes, whose limits are set.

    Args:
        ends: of each name the value at which its line ends, and its colour.
    """
    scaled = math.log if axes.get_yscale() == "log" else float
    low, high = map(scaled, axes.get_ylim())
    names = sorted(ends, key=lambda name: ends[name][0])
    places = [(scaled(ends[name][0]) - low) / (high - low) for name in names]
    for name, place, at in zip(names, places, apart(places, GAP), strict=True):
        colour = ends[name][1]
        axes.annotate(
            name,
            xy=(1, place),
            xytext=(1.08, at),
            xycoords="axes fraction",
            color=colour,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.8,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 0,
            },
            annotation_clip=False,
        )


def apart(places: Sequence[float], gap: float) -> list[float]:
    """The places, which rise from 0 to 1, moved as little as keeps them `gap` from each other.

    Those that meet are put about their middle, and so on until none meet.
    """
    groups: list[list[float]] = []
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _spread(groups[-2], gap)[-1] + gap > _spread(groups[-1], gap)[0]:
            last = groups.pop()
            groups[-1] += last
    return [place for group in groups for place in _spread(group, gap)]


def _spread(group: Sequence[float], gap: float) -> list[float]:
    height = gap * (len(group) - 1)
    bottom = sum(group) / len(group) - height / 2
    bottom = max(0, min(bottom, 1 - height))
    return [bottom + gap * at for at in range(len(group))]
