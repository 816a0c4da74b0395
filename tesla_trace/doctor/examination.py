"""What this machine allows, what the absence of each thing costs, and what to do about that."""

from __future__ import annotations

import errno
import os
import platform
import select
import signal
import sys
import textwrap
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from tesla_trace.doctor.probe import WAYS, Absent, Probe
from tesla_trace.doctor.probes import PROBES

LIMIT = 20.0
"""Seconds that a probe may take; what would hang for ever is ended then.  One imports what it
tries: 5 s are too few for a user for whom Python keeps nothing compiled, on a busy machine."""

NOT_HERE = 3
"""Exit status where programs cannot be run."""


@dataclass(frozen=True)
class Result:
    """What came of a probe."""

    probe: Probe
    there: bool
    said: str

    @property
    def text(self) -> str:
        """In a few words."""
        return ("yes" if self.there else "no") + (f": {self.said}" if self.said else "")


def main() -> int:
    """Print what this machine allows.

    Returns:
        The exit status: 0 if programs can be run, else 3.
    """
    results = [run(probe) for probe in PROBES]
    here = (w for w in WAYS if all(each.there for each in results if w in each.probe.needed))
    way = next(here, None)
    print(f"Linux {platform.release()} {platform.machine()}, Python {platform.python_version()}")
    if sys.stdout.isatty():
        from tesla_trace.tables import show

        show(
            ("probe", "here", "without it", "remedy"),
            [
                (
                    each.probe.name,
                    each.text,
                    each.probe.cost,
                    "" if each.there else each.probe.remedy,
                )
                for each in results
            ],
        )
    else:
        for each in results:
            print("\n".join(_plain(each)))
    print("Programs cannot be run here." if way is None else f"Programs can be run: {WAYS[way]}.")
    return NOT_HERE if way is None else 0


def run(probe: Probe, limit: float = LIMIT) -> Result:
    """Try it, in a child."""
    said, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(said)
        _attempt(probe, say)
    os.close(say)
    text = b""
    if select.select([said], [], [], limit)[0]:
        text = os.read(said, 4096)
    os.close(said)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if text:
        return Result(probe, text[:1] == b"+", text[1:].decode())
    died = os.waitstatus_to_exitcode(status)
    ended = f"killed by signal {-died}" if died != -signal.SIGKILL else f"nothing in {limit:g} s"
    return Result(probe, False, ended)


def _attempt(probe: Probe, say: int) -> NoReturn:
    """The child: say + or -, and what more there is to say."""
    try:
        text = "+" + (probe.attempt() or "")
    except OSError as wrong:
        text = f"-{errno.errorcode.get(wrong.errno or 0, '')} {wrong.strerror}"
    except (Absent, ValueError) as wrong:
        text = f"-{wrong}"
    except BaseException:
        text = "-" + traceback.format_exc(limit=0).strip().splitlines()[-1]
    os.write(say, text.encode())
    os._exit(0)


def _plain(result: Result) -> Iterator[str]:
    yield f"{'yes' if result.there else 'no ':3}  {result.probe.name}" + (
        f" ({result.said})" if result.said else ""
    )
    if not result.there:
        for title, text in (("without it", result.probe.cost), ("remedy", result.probe.remedy)):
            yield from textwrap.wrap(
                f"{title}: {text}", 92, initial_indent=" " * 7, subsequent_indent=" " * 9
            )
