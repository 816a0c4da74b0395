"""How often a trapped call fails with EINTR that natively never does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.machine import compiled, tesla
from bench.measure import Row, Worker
from bench.settings import Settings

INTERVALS = {"1 ms": 1000, "50 µs": 50}
"""Microseconds between two signals."""


def rows(settings: Settings) -> Iterator[Row]:
    """socket, bind, getsockname, listen, get- and setsockopt under a timer without SA_RESTART."""
    program = compiled(settings.folder, "eintr")
    calls = 3000 if settings.quick else 30000
    with Worker([program]) as native, Worker([*tesla("+dummy"), program]) as ours:
        for shown, interval in INTERVALS.items():
            sides = {
                side: _rate(worker, f"{interval} {calls}")
                for side, worker in {"native": native, "ours": ours}.items()
            }
            figures = settings.measured(sides, part=1 / len(INTERVALS))
            yield Row(
                f"trapped calls that fail with EINTR, a signal each {shown} without SA_RESTART",
                "",
                None,
                figures["ours"],
                unit="per million",
                note=f"natively {max(figures['native']):.0f}",
            )


def _rate(worker: Worker, line: str) -> Callable[[], float]:
    def per_million() -> float:
        failed, made = worker.ask(line)
        return failed / made * 1e6

    return per_million
