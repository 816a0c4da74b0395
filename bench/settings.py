"""How a run is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from bench.measure import Figures, rounds
from bench.progress import QUIET, Progress


@dataclass(frozen=True)
class Settings:
    """Where the C programs go, and how patient the user is.

    Args:
        folder: for whatever is made; it goes with the run.
        seconds: what the group may take in all, its preparations apart.
        progress: where to say what is being done.
        broken: what was not measured to its end is added here; the rest goes on.
        notes: what is to be said below the table.
    """

    folder: Path
    quick: bool
    seconds: float = inf
    progress: Progress = QUIET
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Say this below the table, once."""
        if line not in self.notes:
            self.notes.append(line)

    def rounds(self, *, fine: bool = False) -> int:
        """How many rounds to make; `fine` ones are short, or must tell small differences."""
        return (7 if self.quick else 21) if fine else (3 if self.quick else 7)

    def measured(
        self,
        sides: Mapping[str, Callable[[], float]],
        count: int = 0,
        *,
        fine: bool = False,
        part: float = 1,
    ) -> Figures:
        """Let the sides measure in turns: `count` rounds, or what `rounds` says.

        Args:
            part: of the group's seconds, after which the rounds end early.
        """
        return rounds(
            sides, count or self.rounds(fine=fine), self.seconds * part, self.progress.round
        )
