"""What was found, for people: on the terminal, and in README.md beside this file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from conformance.compare import Compared
from conformance.known import KNOWN
from tesla_trace.tables import markdown, renewed

TITLES = ("module", "tests", "the same", "explained", "different")

README = Path(__file__).with_name("README.md")
LIMITS = README.parent.parent / "docs/limits.md"


def rows(compared: Sequence[Compared]) -> Iterator[tuple[str, ...]]:
    """A line for each module; the parts of a package are one."""
    for name, group in itertools.groupby(compared, lambda each: _module(each.suite)):
        parts = list(group)
        yield _row(name, parts)
    yield _row("all", compared)


def lines(compared: Compared) -> Iterator[str]:
    """What differs in a suite."""
    for each in compared.differences:
        yield f"{each.test}: natively {each.native.what}, under us {each.ours.what}"
        yield f"    {each.verdict}"
        if not each.explained:
            for side, outcome in (("natively", each.native), ("under us", each.ours)):
                if outcome.why:
                    yield from _indented(f"{side}: {outcome.why}")


def explained_table() -> str:
    """The differences that are to stay."""
    return markdown(("test", "because"), [(f"`{test}`", why) for test, why in KNOWN.items()])


def write(machine: str, found: Mapping[str, Sequence[Compared]]) -> None:
    """Keep the tables beside this file, and the explained differences in docs/limits.md."""
    parts = [f"{machine}\n"]
    for configuration, compared in found.items():
        parts.append(f"Under `{configuration}`:\n\n{markdown(TITLES, list(rows(compared)))}")
    text = renewed(README.read_text(), {"conformance": lambda: "\n".join(parts)})
    README.write_text(text)
    LIMITS.write_text(renewed(LIMITS.read_text(), {"explained": explained_table}))


def _module(suite: str) -> str:
    return suite.removeprefix("test.").partition(".")[0]


def _row(name: str, parts: Sequence[Compared]) -> tuple[str, ...]:
    counts = (
        sum(each.tests for each in parts),
        sum(each.same for each in parts),
        sum(each.explained for each in parts),
        sum(each.unexplained for each in parts),
    )
    return name, *map(str, counts)


def _indented(text: str) -> Iterator[str]:
    return (f"        {line}" for line in text.splitlines())
