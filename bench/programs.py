"""Programs that make no socket calls: they should not notice us."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from bench.machine import HERE, Missing, compiled, need, supervisor_of, tesla
from bench.measure import Goal, Row, Worker, at_most
from bench.settings import Settings

OURS = "ours"
NATIVE = "native"
FILTERED = "the same under an always-allow filter"


def rows(settings: Settings) -> Iterator[Row]:
    """Whole programs against native ones, and a bare loop of system calls against any filter."""
    # Nothing may write to the checkout's index while it is measured.
    os.environ["GIT_OPTIONAL_LOCKS"] = "0"
    for what, command, count in (
        ("compile a C file", ["cc", "-O2", "-c", str(HERE / "stream.c"), "-o", "/dev/null"], 60),
        ("find /usr -xdev", ["find", "/usr", "-xdev"], 40),
        ("git status", ["git", "-C", str(HERE.parent), "status"], 200),
    ):
        goals = {NATIVE: at_most(1.03), FILTERED: None}
        try:
            yield from _timed(settings, what, command, count, goals).values()
        except Missing as wrong:
            yield Row(what, NATIVE, at_most(1.03), missing=str(wrong))
    # In all as many copies as there are in the goal, but in turns short enough to compare.
    dd = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=300000"]
    goals = {FILTERED: at_most(1.02), NATIVE: None}
    yield from _timed(settings, "dd, copies of 1 byte", dd, 60, goals).values()


def _timed(
    settings: Settings,
    what: str,
    command: list[str],
    count: int,
    against: Mapping[str, Goal | None],
) -> dict[str, Row]:
    """Time `command` under us and under others, in turns; the start of none of them counts."""
    timer = [compiled(settings.folder, "timer"), need(command[0]), *command[1:]]
    under = {NATIVE: [], FILTERED: [compiled(settings.folder, "allow")]}
    clock: dict[str, list[float]] = {side: [] for side in (OURS, *against)}

    def timed(side: str, worker: Worker) -> Callable[[], float]:
        def run() -> float:
            before = _used(worker) if side == OURS else 0
            cpu, wall = worker.ask("")
            clock[side].append(wall)
            return cpu + (_used(worker) - before if side == OURS else 0)

        return run

    with ExitStack() as open:
        sides = {OURS: timed(OURS, open.enter_context(Worker([*tesla("+dummy"), *timer])))}
        for versus in against:
            sides[versus] = timed(versus, open.enter_context(Worker([*under[versus], *timer])))
        figures = settings.measured(sides, count // 6 if settings.quick else count, part=1 / 4)
    walls = {side: statistics.median(values[1:]) for side, values in clock.items()}
    return {
        versus: Row(
            what,
            versus,
            goal,
            figures[OURS],
            figures[versus],
            "s CPU",
            note=f"by the clock {walls[OURS] / walls[versus]:.3f}",
        )
        for versus, goal in against.items()
    }


def _used(worker: Worker) -> float:
    """Seconds of CPU that the supervisor has used; none before it has served the first round."""
    try:
        schedstat = Path(f"/proc/{supervisor_of(worker.pid)}/schedstat").read_text()
    except (OSError, IndexError):
        return 0
    return int(schedstat.split()[0]) * 1e-9
