"""The paper's figures 6, 7 and 8: how fast one stream is, whatever lies between its ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from bench.curves import Curve, measured
from bench.place import LOOPBACK, Place, link
from bench.settings import Settings
from bench.sides import SIDES
from bench.stage import Stage
from bench.stream import two_cpus

SIZES = (1, 16, 256, 4096, 16384, 65536)
"""Bytes in one write."""

QUICK_SIZES = (1, 256, 65536)
SLOW_QUICK_SIZES = (65536,)
"""Of a slow link, on which what was sent into buffers must be waited for."""

SECONDS, QUICK_SECONDS = 0.1, 0.05
"""For one side in a round: short, so that what else the machine does hits its neighbours alike."""

ROUNDS = 15
"""Where the time is enough for them."""

TRIP = 1
"""The size of a round trip."""


def bandwidth(settings: Settings) -> Iterator[Curve]:
    """Figure 6: bytes a second on loopback."""
    yield from _sent(settings, nullcontext(LOOPBACK), QUICK_SIZES)


def slow_link(settings: Settings) -> Iterator[Curve]:
    """Figure 7: bytes a second over a slow link."""
    yield from _sent(settings, link(), SLOW_QUICK_SIZES)


def latency(settings: Settings) -> Iterator[Curve]:
    """Figure 8: round trips of one byte, client and server each on a CPU of its own."""
    seconds, count = (QUICK_SECONDS, 0) if settings.quick else (SECONDS, ROUNDS)
    with ExitStack() as open:
        stage = Stage(settings, LOOPBACK, open, two_cpus())
        yield from measured(stage, SIDES, {TRIP: f"ping {seconds}"}, count=count)


def _sent(
    settings: Settings, place: AbstractContextManager[Place], quick: Sequence[int]
) -> Iterator[Curve]:
    sizes, seconds = (quick, QUICK_SECONDS) if settings.quick else (SIZES, SECONDS)
    count = 0 if settings.quick else ROUNDS
    with ExitStack() as open:
        stage = Stage(settings, open.enter_context(place), open)
        lines = {size: f"send {size} {seconds}" for size in sizes}
        yield from measured(stage, SIDES, lines, count=count)
