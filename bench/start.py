"""How long it takes until a program runs, and what is loaded for it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from bench.machine import tesla
from bench.measure import Row, at_most
from bench.settings import Settings

HEAVY = ("cryptography", "ptrace", "rich", "matplotlib", "h11", "ssl")
"""What only some handlers and options need."""


def rows(settings: Settings) -> Iterator[Row]:
    """Start, run true(1), end."""
    figures = settings.measured(
        {
            "ours": lambda: _seconds([*tesla("+dummy"), "true"]),
            "Python": lambda: _seconds([sys.executable, "-c", "pass"]),
        },
        fine=True,
    )
    ours, python = figures["ours"], figures["Python"]
    yield Row("tesla_trace +dummy true", "", at_most(0.15), ours, unit="s")
    yield Row("tesla_trace +dummy true", "python -c pass", None, ours, python, "s")
    loaded = imported("+dummy")
    heavy = [name for name in HEAVY if name in loaded]
    note = f"{' '.join(heavy) or 'none'}, of {' '.join(HEAVY)}"
    yield Row("heavy packages imported for +dummy", "", at_most(0), [len(heavy)], note=note)


def imported(*words: str) -> set[str]:
    """The packages that are imported, by the supervisor too, to run true(1)."""
    command = [sys.executable, "-X", "importtime", "-m", "tesla_trace", *words, "true"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    lines = [line.split("|") for line in done.stderr.splitlines()]
    return {fields[-1].strip().partition(".")[0] for fields in lines if len(fields) == 3}


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start
