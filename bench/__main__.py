"""`python -m bench [--quick] [GROUP ...]`: measure, print, and after a full run write it down."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench import machine, report
from bench.groups import GROUPS
from bench.measure import Row
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
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        tables = _measured(words.groups or list(GROUPS), Path(folder), words.quick, broken)
    print(machine.name())
    for group, rows in tables.items():
        print(f"\n{group}")
        show(report.TITLES, [report.cells(row) for row in rows])
        if not (words.quick or broken):
            report.write(group, machine.name(), rows)
    for line in broken:
        print(line, file=sys.stderr)
    return bool(broken)


def _measured(
    groups: Iterable[str], folder: Path, quick: bool, broken: list[str]
) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {}
    with watched() as progress:
        for name in groups:
            group = GROUPS[name]
            seconds = group.quick if quick else group.full
            rows = tables[name] = []
            progress.group(name)
            try:
                for row in group.rows(Settings(folder, quick, seconds, progress)):
                    rows.append(row)
            except machine.Missing as wrong:
                rows.append(Row(name, "", None, missing=str(wrong)))
            except RuntimeError as wrong:
                broken.append(f"{name}: not measured to its end: {wrong}")
    return tables


if __name__ == "__main__":
    sys.exit(main())
