"""What each of our three ways for bytes must reach, against what it competes with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.curves import Curve, measured
from bench.ends import BLOCK
from bench.figures import QUICK_SECONDS, SECONDS
from bench.measure import Goal, Row, at_least
from bench.place import LOOPBACK
from bench.settings import Settings
from bench.sides import (
    BUILT_IN,
    HANDED_BACK,
    HANDLED,
    NATIVE,
    SOCKS,
    SPLICED,
    SPLICER,
    TCP_PROXIES,
    UNIX_PROXIES,
    Side,
)
from bench.stage import Stage
from bench.stream import ANY, two_cpus

ROUNDS = 51
"""Many and short ones, for what counts is a ratio; where the time is enough for them."""

Against = tuple[Side, Sequence[Side], Goal | None]
"""Ours, the others of which the best counts, and what must be reached."""


@dataclass(frozen=True)
class Contest:
    """Rows of which all sides do the same.

    Args:
        line: what the client is asked; the seconds come behind.
        apart: server and client each on a CPU of its own.
        part: of the time that there is.
    """

    what: str
    line: str
    unit: str
    pairs: Sequence[Against]
    part: float
    apart: bool = False

    def sides(self) -> list[Side]:
        """All that take part, each once."""
        every = (side for ours, others, _ in self.pairs for side in (ours, *others))
        return list(dict.fromkeys(every))


SEND, RECV, PING = f"send {BLOCK}", f"recv {BLOCK}", "ping"

CONTESTS = (
    Contest(
        "64 KiB sent through a SOCKS proxy",
        SEND,
        "B/s",
        [(SOCKS, [BUILT_IN], at_least(0.98))],
        0.15,
    ),
    Contest(
        "round trips of 1 byte through a SOCKS proxy",
        PING,
        "/s",
        [(SOCKS, [BUILT_IN], at_least(0.98))],
        0.15,
        apart=True,
    ),
    Contest(
        "64 KiB sent in a stream",
        SEND,
        "B/s",
        [
            (HANDED_BACK, [NATIVE], None),
            (SPLICED, [SPLICER], at_least(0.95)),
            (SPLICED, [NATIVE], at_least(0.55)),
            (SPLICED, [*TCP_PROXIES, *UNIX_PROXIES], at_least(1.1)),
            (SPLICER, [*TCP_PROXIES, *UNIX_PROXIES], None),  # the most that can be expected
            (HANDLED, UNIX_PROXIES, at_least(0.85)),
            (HANDLED, [NATIVE], None),
        ],
        0.3,
    ),
    Contest(
        "64 KiB received in a stream",
        RECV,
        "B/s",
        [(SPLICED, [SPLICER], None), (HANDLED, UNIX_PROXIES, None), (HANDLED, [NATIVE], None)],
        0.15,
    ),
    Contest(
        "round trips of 1 byte",
        PING,
        "/s",
        [
            (HANDED_BACK, [NATIVE], None),
            (SPLICED, [NATIVE], None),
            (HANDLED, [NATIVE], at_least(0.75)),
            (HANDLED, UNIX_PROXIES[:1], at_least(1)),
        ],
        0.25,
        apart=True,
    ),
)


def rows(settings: Settings, contests: Sequence[Contest] = CONTESTS) -> Iterator[Row]:
    """All sides of a contest in turns."""
    seconds, count = (QUICK_SECONDS, 5) if settings.quick else (SECONDS, ROUNDS)
    for contest in contests:
        with ExitStack() as open:
            stage = Stage(settings, LOOPBACK, open, two_cpus() if contest.apart else ANY)
            asked = {BLOCK: f"{contest.line} {seconds}"}
            curves = measured(stage, contest.sides(), asked, count=count, part=contest.part)
        yield from compared(contest, {curve.side: curve for curve in curves})


def compared(contest: Contest, curves: dict[Side, Curve]) -> Iterator[Row]:
    """The rows of a contest, each against the others' best by its median."""
    for side, others, goal in contest.pairs:
        what = f"{contest.what}: {side.name}"
        there = [curves[other] for other in others if not curves[other].missing]
        ours, reasons = curves[side], [curves[other].missing for other in others]
        if ours.missing or not there:
            names = " or ".join(other.name for other in others)
            yield Row(what, names, goal, missing=ours.missing or "; ".join(reasons))
            continue
        best = max(there, key=lambda curve: curve.median(BLOCK))
        values = ours.points[BLOCK], best.points[BLOCK]
        # Where not all are there, the best of them may not be the best there is.
        lacking = "; ".join(filter(None, reasons))
        versus = f"{best.side.name}, best of {len(others)}" if len(others) > 1 else best.side.name
        yield Row(what, versus, goal, *values, contest.unit, note=lacking and f"without: {lacking}")
