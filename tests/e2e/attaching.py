"""tesla_trace attached to a process that runs."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from tests.e2e.process import TESLA_TRACE, Program, start


@contextlib.contextmanager
def attached(process: int, *words: object) -> Iterator[Program]:
    """tesla_trace attached to a process; what it says is its `out`."""
    ours = words or ("+log",)
    argv = TESLA_TRACE, "--attach", process, *ours
    with start(*argv, stderr=subprocess.STDOUT) as tracer:
        tracer.until("attached to")
        yield tracer
