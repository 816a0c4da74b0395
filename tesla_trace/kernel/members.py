"""Which processes the program is.

Facts: a process that we start, and all that it starts, stay below us, for orphans are given to us
(PR_SET_CHILD_SUBREAPER).  One that ran before us is below somebody else, and so are its orphans.
A filter says in /proc/PID/status that it is there, and not whose it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Protocol

from tesla_trace.kernel import proc

FILTERED = "2"
"""The mode in /proc/PID/status of one that is under a filter (SECCOMP_MODE_FILTER)."""


class Members(Protocol):
    """The processes of a program."""

    def __contains__(self, process: int) -> bool:
        """Whether it is one of them, or gone."""

    def processes(self) -> list[int]:
        """Those that are there, as far as can be told quickly."""

    def strays(self) -> Iterator[int]:
        """Others that may be."""

    def enclose(self, thread: int) -> bool:
        """Whether all that the thread has a number for are."""


class Below:
    """What we have started."""

    def __init__(self) -> None:
        self._us = os.getpid()

    def __contains__(self, process: int) -> bool:
        """Whether it is one of them, or gone."""
        return process != self._us and _is_below(process, {self._us})

    def processes(self) -> list[int]:
        """All that are there."""
        return proc.descendants(self._us)

    def strays(self) -> Iterator[int]:
        """There are none."""
        return iter(())

    def enclose(self, thread: int) -> bool:
        """That is not to be said."""
        return False


class Joined:
    """Processes that ran before us, and what they start.

    Args:
        roots: their numbers.
    """

    def __init__(self, roots: Iterable[int] = ()) -> None:
        self._roots = set(roots)

    def add(self, process: int) -> None:
        """This is one, too."""
        self._roots.add(process)

    def leave(self, process: int) -> None:
        """It has ended, and its number may become another's."""
        self._roots.discard(process)

    def __contains__(self, process: int) -> bool:
        """Whether it is one of them, or gone; an orphan of theirs is known no more."""
        return _is_below(process, self._roots)

    def processes(self) -> list[int]:
        """Those that are there, but for orphans."""
        found = set(self._roots)
        for root in self._roots:
            found.update(proc.descendants(root))
        return sorted(found)

    def strays(self) -> Iterator[int]:
        """Those under a filter, be it ours or somebody else's."""
        known = {os.getpid(), *self.processes()}
        for name in os.listdir("/proc"):
            if name.isdigit() and (process := int(name)) not in known and _is_filtered(process):
                yield process

    def enclose(self, thread: int) -> bool:
        """That is not to be said."""
        return False


def _is_below(process: int, roots: set[int]) -> bool:
    while process > 1 and process not in roots:
        try:
            process = int(proc.status(process)["PPid"])
        except (OSError, KeyError):
            return True
    return process in roots


def _is_filtered(process: int) -> bool:
    try:
        return proc.status(process).get("Seccomp") == FILTERED
    except OSError:
        return False
