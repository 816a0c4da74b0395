"""`python -m bench [--quick] [GROUP ...]`: measure, print, and after a full run write it down."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bench import calls, datagrams, eintr, machine, many, programs, report, start, stream
from bench.measure import Row
from bench.settings import Settings
from tesla_trace.tables import show

Rows = Callable[[Settings], Iterable[Row]]

GROUPS: dict[str, Rows] = {
    "calls": calls.rows,
    "eintr": eintr.rows,
    "programs": programs.rows,
    "start": start.rows,
    "stream": stream.rows,
    "many": many.rows,
    "datagrams": datagrams.rows,
}


def main() -> int:
    """Exit status 1 where something could not be measured to its end; a missed goal is no error."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds; nothing is written down")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=" ".join(GROUPS))
    words = parser.parse_args()
    if unknown := set(words.groups) - set(GROUPS):
        parser.error(f"{' '.join(unknown)}: no such group; there are {' '.join(GROUPS)}")
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = Settings(Path(folder), words.quick)
        rows = list(_all(words.groups or GROUPS, settings, broken))
    print(machine.name())
    show(report.TITLES, [report.cells(row) for row in rows])
    if not (broken or words.quick or words.groups):
        report.write(machine.name(), rows)
    for line in broken:
        print(line, file=sys.stderr)
    return bool(broken)


def _all(groups: Iterable[str], settings: Settings, broken: list[str]) -> Iterator[Row]:
    for group in groups:
        print(f"{group} ...", file=sys.stderr)
        try:
            yield from GROUPS[group](settings)
        except machine.Missing as wrong:
            yield Row(group, "", None, missing=str(wrong))
        except RuntimeError as wrong:
            broken.append(f"{group}: not measured to its end: {wrong}")


if __name__ == "__main__":
    sys.exit(main())
