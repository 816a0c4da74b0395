"""One suite on one side: each test's outcome, whatever becomes of the process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.configurations import command
from conformance.suites import Suite, interpreter
from tesla_trace.kernel import proc

INSIDE = Path(__file__).with_name("inside.py")

TEST = 60.0
"""Seconds that one test may take."""

SUITE = 900.0
"""Seconds that all tests of a suite may take together."""

AGAIN = 5
"""How often a suite is begun again behind a test that ended its process."""


@dataclass(frozen=True)
class Outcome:
    """What became of a test."""

    what: str
    """ok, FAIL, ERROR, skipped, ..., hangs, crashes"""
    why: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.why})" if self.why else self.what


Outcomes = dict[str, Outcome]


def outcomes(suite: Suite, words: tuple[str, ...]) -> Outcomes:
    """Run the suite under these handlers, or natively under none."""
    found: Outcomes = {}
    for _ in range(AGAIN):
        ended = _once(suite, words, found)
        if ended is None:
            return found
        found |= ended
    return found


def _once(suite: Suite, words: tuple[str, ...], found: Outcomes) -> Outcomes | None:
    """Run what has no outcome yet, and add to `found`.

    Returns:
        None at the end; else the test that ended the process, or what else did.
    """
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        told, done = Path(folder, "told"), Path(folder, "done")
        told.touch()
        done.write_text("\n".join(found) + "\n")
        inside = [interpreter(), str(INSIDE), str(told), f"{TEST:g}"]
        skip = ["--ignorefile", str(done)] if found else []
        ran = _run([*command(words), *inside, *suite.words(), *skip], folder)
        running = None
        for line in told.read_text().splitlines():
            what = json.loads(line)
            if "outcome" in what:
                found[what["test"]] = Outcome(what["outcome"], what["why"])
                running = None
            else:
                running = what["test"]
    if running is not None:
        hangs = ran.late or "Timeout (" in ran.tail
        return {running: Outcome("hangs" if hangs else "crashes", ran.tail[-2000:])}
    if ran.late or ran.status < 0 or ran.status >= 125:
        return {f"{suite.module} as a whole": Outcome("hangs" if ran.late else "crashes", ran.tail)}
    return None


@dataclass(frozen=True)
class _Ran:
    status: int
    late: bool
    tail: str


def _run(words: Sequence[str], folder: str) -> _Ran:
    output = Path(folder, "output")
    with output.open("wb") as file:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "TMPDIR": folder, "PYTHONFAULTHANDLER": "1"},
            start_new_session=True,
        )
        with ended(process):
            try:
                status, late = process.wait(SUITE), False
            except subprocess.TimeoutExpired:
                status, late = 0, True
    return _Ran(status, late, output.read_text(errors="replace")[-10_000:])


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let nothing of a process's be left behind: its descendants now, and its session."""
    try:
        yield
    finally:
        below = proc.descendants(process.pid)
        for each in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def again(suite: Suite, test: str, words: tuple[str, ...]) -> Outcome:
    """One test alone."""
    inside_class = test.endswith(")") and "(" in test  # setUpClass (test.test_x.Class)
    pattern = test.partition("(")[2].rstrip(")") + ".*" if inside_class else test
    found: Outcomes = {}
    ended = _once(replace(suite, only=(pattern,)), words, found)
    return (found | (ended or {})).get(test, Outcome("ok" if inside_class else "not run"))
