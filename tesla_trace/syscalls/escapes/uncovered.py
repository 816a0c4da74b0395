"""What went past the handlers, counted by way and program, for the end to tell."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tesla_trace.syscalls.escapes.ways import Way

NAMES = 256
"""Programs told apart for one way: they choose their names, and must not fill our memory."""

TOLD = 4
"""Programs named in the line for one way."""

OTHERS = "others"


class Count(NamedTuple):
    """How often one program went one way."""

    way: Way
    refused: bool
    program: str
    times: int


class Uncovered:
    """The counter."""

    def __init__(self) -> None:
        self._times: dict[tuple[Way, bool], Counter[str]] = {}
        self.changed = False
        """Whether something was added since `line` was last asked for."""

    def add(self, way: Way, program: str, *, refused: bool) -> None:
        """It happened once more."""
        programs = self._times.setdefault((way, refused), Counter())
        if program not in programs and len(programs) >= NAMES:
            program = OTHERS
        programs[program] += 1
        self.changed = True

    def counts(self) -> list[Count]:
        """What there is, in the order of first appearance."""
        return [
            Count(way, refused, program, times)
            for (way, refused), programs in self._times.items()
            for program, times in programs.items()
        ]

    def line(self) -> str:
        """All in one line: `2 UDP sockets (ntpd), 1 MPTCP socket refused (curl)`."""
        self.changed = False
        return ", ".join(
            _said(way, programs) + (" refused" if refused else "") + f" ({_named(programs)})"
            for (way, refused), programs in self._times.items()
        )


def _said(way: Way, programs: Counter[str]) -> str:
    times = programs.total()
    return f"{times} {way.one if times == 1 else way.many}"


def _named(programs: Counter[str]) -> str:
    names = [name for name, _ in programs.most_common(TOLD)]
    more = len(programs) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
