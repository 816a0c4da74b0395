"""Measuring: sides that take turns, so that whatever else the machine does hits them alike."""

from __future__ import annotations

import select
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from types import TracebackType

PATIENCE = 300.0
"""Seconds after which a side is taken to hang."""

FEWEST = 2
"""Rounds of which there is at least a spread."""

Figures = dict[str, list[float]]
"""What each side gave, round by round."""


@dataclass(frozen=True)
class Goal:
    """What must be reached: `at least` or `at most` so much."""

    least: bool
    bound: float

    def met(self, value: float) -> bool:
        """Whether `value` is good enough."""
        return value >= self.bound if self.least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {self.bound:g}"


def at_least(bound: float) -> Goal:
    """The more the better."""
    return Goal(True, bound)


def at_most(bound: float) -> Goal:
    """The less the better."""
    return Goal(False, bound)


@dataclass
class Row:
    """One line of the table.

    Args:
        ours, other: what was measured, a value for each round; `other` is empty where the goal is
            for our value itself.
        unit: of the values.
    """

    what: str
    versus: str
    goal: Goal | None
    ours: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)
    unit: str = ""
    missing: str = ""
    """Why there is nothing."""
    note: str = ""

    def ratios(self) -> list[float]:
        """Ours to the other's, round by round; or ours alone."""
        if not self.other:
            return self.ours
        return [ours / other for ours, other in zip(self.ours, self.other, strict=True)]

    def reached(self) -> float:
        """The median."""
        return statistics.median(self.ratios())

    def verdict(self) -> str:
        """Whether that is enough, in a word; in as many digits as are shown."""
        if self.missing:
            return self.missing
        if self.goal is None:
            return ""
        return "met" if self.goal.met(float(f"{self.reached():.3g}")) else "MISSED"


class Worker:
    """A program that measures once for each line it reads, and answers with a number first.

    Raises:
        RuntimeError: from `ask`: the program ended in place of answering, or hangs.
    """

    def __init__(self, command: Sequence[str], patience: float = PATIENCE) -> None:
        self.command = list(command)
        self.patience = patience
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def ask(self, line: str) -> list[float]:
        """Let it measure, and take all numbers of its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            if not select.select([self._process.stdout], [], [], self.patience)[0]:
                self._process.terminate()
                raise RuntimeError(f"{' '.join(self.command)}: no answer to {line}")
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            status = self._process.wait(PATIENCE)
            raise RuntimeError(f"{' '.join(self.command)} ended with status {status}")
        return [float(word) for word in answer.split()]

    def asked(self, line: str) -> Callable[[], float]:
        """Something to call that lets it measure, and gives the first number."""
        return lambda: self.ask(line)[0]

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        wrong: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def rounds(
    sides: Mapping[str, Callable[[], float]],
    count: int,
    seconds: float = inf,
    said: Callable[[int, int, str], None] = lambda turn, count, side: None,
    clock: Callable[[], float] = time.monotonic,
) -> Figures:
    """Let all sides measure `count` times, in turns, each round in another order.

    One round before that does not count: it fills caches, and makes what is made once.

    Args:
        seconds: when another round would take longer than this in all, there is none; but
            FEWEST are made whatever they take.
        said: is told the round, of how many, and the side that is next.
    """
    figures: Figures = {side: [] for side in sides}
    names = list(sides)
    since = clock()
    for turn in range(count + 1):
        spent = clock() - since
        if turn > FEWEST and spent + spent / turn > seconds:
            break
        for side in names:
            said(turn, count, side)
            value = sides[side]()
            if turn > 0:
                figures[side].append(value)
        names = names[1:] + names[:1]
    return figures
