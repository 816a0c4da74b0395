"""Under what the suites are run: one line for each way that the bytes of a program can take."""

from __future__ import annotations

import sys
from pathlib import Path

CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "handlers": ("+dummy",),
    "spliced": ("--datapath=splice", "+fixtures.handlers:AsideOnceConnected"),
    "handed back": ("+fixtures.handlers:AsideOnceConnected",),
    "ptrace": ("--trap=ptrace", "+dummy"),
}
"""The words of tesla_trace; the first is what `make conformance` runs."""


def command(words: tuple[str, ...]) -> list[str]:
    """The command line that runs what follows under these handlers; natively, if there are none."""
    if not words:
        return []
    return [str(Path(sys.executable).with_name("tesla_trace")), "--log", "/dev/null", *words]
