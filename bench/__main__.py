"""`python -m bench [--quick] [GROUP ...]`: measure, print, and after a full run write it down."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from bench import machine, ratios
from bench.groups import GROUPS
from bench.progress import watched
from bench.settings import Settings
from tesla_trace.tables import show


def main() -> int:
    """Exit status 1 where something could not be measured to its end; a missed goal is no error."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds; nothing is written down")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=" ".join(GROUPS))
    words = parser.parse_args()
    if unknown := set(words.groups) - set(GROUPS):
        parser.error(f"{' '.join(unknown)}: no such group; there are {' '.join(GROUPS)}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        return _run(words.groups or list(GROUPS), words.quick)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(groups: Sequence[str], quick: bool) -> int:
    said: list[str] = []
    goals: list[Sequence[str]] = []
    print(machine.name())
    progress = watched()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in groups:
            group, broken = GROUPS[name], list[str]()
            seconds = group.quick if quick else group.full
            with progress.group(name):
                table = group.measured(Settings(Path(folder), quick, seconds, progress, broken))
            print(f"\n{name}")
            table.print()
            goals += table.goals
            said += [f"{name}: {wrong}" for wrong in broken]
            if not (quick or broken) and (wrong := table.write(name, machine.name())):
                print(wrong, file=sys.stderr)
    if len(groups) > 1 and goals:
        print("\nwhat must be reached")
        show(ratios.TITLES, goals)
    for line in said:
        print(line, file=sys.stderr)
    return bool(said)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """End as at Ctrl-C: all that runs for us is ended, and namespaces are removed."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
