"""What is being measured just now, for somebody who waits."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Says nothing: for a run that nobody watches."""

    @contextmanager
    def group(self, name: str) -> Iterator[None]:
        """While a group of rows is measured."""
        yield

    def round(self, turn: int, count: int, side: str) -> None:
        """A side is about to measure, in this round of so many; round 0 is not counted."""


QUIET = Progress()


class Lines(Progress):
    """Where there is no terminal: a line on stderr for each group, and the seconds that it took."""

    @contextmanager
    def group(self, name: str) -> Iterator[None]:
        since = time.monotonic()
        print(f"{name} ...", file=sys.stderr)
        yield
        print(f"{name}: {time.monotonic() - since:.0f} s", file=sys.stderr)


class Spinner(Lines):
    """On a terminal: the side and round as well, on a line that changes."""

    def __init__(self) -> None:
        from rich.spinner import Spinner as Turning

        self._name = ""
        self._turning = Turning("dots")

    @contextmanager
    def group(self, name: str) -> Iterator[None]:
        from rich.console import Console
        from rich.live import Live

        self._name = name
        self._turning.update(text=name)
        # What is printed to stdout, perhaps into a file, is none of its affair.
        live = Live(
            self._turning,
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with super().group(name), live:
            yield

    def round(self, turn: int, count: int, side: str) -> None:
        self._turning.update(text=f"{self._name}: round {turn} of {count}: {side}")


def watched() -> Progress:
    """The one that fits stderr."""
    return Spinner() if sys.stderr.isatty() else Lines()
