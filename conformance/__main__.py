"""`python -m conformance [--all] [--short] [--write] [MODULE ...]`: run, compare, print."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from conformance import report
from conformance.compare import Compared, compare
from conformance.configurations import CONFIGURATIONS
from conformance.run import Outcome, Outcomes, again, outcomes
from conformance.suites import MODULES, SHORT, Missing, Suite, interpreter, suites
from tesla_trace.tables import show

NATIVE: tuple[str, ...] = ()

UNEXPLAINED, CANNOT = 1, 2
"""Exit statuses."""


def main() -> int:
    """Exit status 1 where something differs and nothing explains it."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--all", action="store_true", help="under every configuration")
    parser.add_argument("--short", action="store_true", help="a selection that takes seconds")
    parser.add_argument("--write", action="store_true", help="write the tables into the pages")
    parser.add_argument("--jobs", type=int, default=2, help="suites at a time (2)")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=" ".join(MODULES))
    words = parser.parse_args()
    if words.write and (words.modules or words.short):
        parser.error("--write is for a full run")
    try:
        python = interpreter()
        chosen = list(SHORT if words.short else suites(words.modules or MODULES))
    except Missing as wrong:
        print(wrong, file=sys.stderr)
        return CANNOT
    if not chosen:
        parser.error(f"{' '.join(words.modules)}: {python} has no such tests")
    configurations = list(CONFIGURATIONS.items())
    found = {}
    for name, handlers in configurations if words.all else configurations[:1]:
        found[" ".join(handlers)] = _compared(name, handlers, chosen, words.jobs)
    for compared in found.values():
        show(report.TITLES, list(report.rows(compared)))
    if words.write:
        report.write(_machine(python), found)
    return UNEXPLAINED if any(each.unexplained for all in found.values() for each in all) else 0


def _compared(
    name: str, handlers: tuple[str, ...], chosen: Sequence[Suite], jobs: int
) -> list[Compared]:
    def one(suite: Suite) -> Compared:
        def alone(test: str, ours: bool) -> Outcome:
            return again(suite, test, handlers if ours else NATIVE)

        def whole() -> Outcomes:
            return outcomes(suite, handlers)

        compared = compare(
            suite.module, outcomes(suite, NATIVE), outcomes(suite, handlers), alone, whole
        )
        text = f"{name}: {suite.module}: {compared.tests} tests, {compared.unexplained} different"
        print("\n".join([text, *report.lines(compared)]), flush=True)
        return compared

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, chosen))


def _machine(python: str) -> str:
    version = subprocess.run([python, "--version"], capture_output=True, text=True, check=True)
    return f"{version.stdout.strip()}, Linux {platform.release()} {platform.machine()}"


if __name__ == "__main__":
    sys.exit(main())
