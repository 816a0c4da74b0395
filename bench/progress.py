"""What is being measured just now, for somebody who waits."""

from __future__ import annotations

import sys
import time
from types import TracebackType


class Progress:
    """Says nothing: for a run that nobody watches."""

    def group(self, name: str) -> None:
        """A group of rows begins."""

    def round(self, turn: int, count: int, side: str) -> None:
        """A side is about to measure, in this round of so many; round 0 is not counted."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        wrong: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


QUIET = Progress()


class Lines(Progress):
    """Where there is no terminal: a line on stderr for each group, and the seconds that it took."""

    def __init__(self) -> None:
        self._name = ""
        self._since = 0.0

    def group(self, name: str) -> None:
        self._end()
        self._name, self._since = name, time.monotonic()
        print(f"{name} ...", file=sys.stderr)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        wrong: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._name:
            print(f"{self._name}: {time.monotonic() - self._since:.0f} s", file=sys.stderr)


class Spinner(Lines):
    """On a terminal: the side and round as well, on a line that changes."""

    def __init__(self) -> None:
        from rich.console import Console

        super().__init__()
        self._status = Console(stderr=True).status("")

    def __enter__(self) -> Progress:
        self._status.start()
        return self

    def group(self, name: str) -> None:
        super().group(name)
        self._status.update(name)

    def round(self, turn: int, count: int, side: str) -> None:
        self._status.update(f"{self._name}: round {turn} of {count}, {side}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        wrong: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._status.stop()
        super().__exit__(kind, wrong, trace)


def watched() -> Progress:
    """The one that fits stderr."""
    return Spinner() if sys.stderr.isatty() else Lines()
