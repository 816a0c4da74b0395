"""Two sides' outcomes, test by test; and what differs once more, alone, to know what is chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from conformance.known import reason
from conformance.run import Outcome, Outcomes

TRIES = 5
"""How often a test that differs is run alone, on each side."""

NOT_RUN = Outcome("not run")

Again = Callable[[str, bool], Outcome]
"""Runs a test alone, under us or natively."""

Whole = Callable[[], Outcomes]
"""Runs all tests of the suite under us once more."""


@dataclass(frozen=True)
class Difference:
    """A test whose outcome is not the same."""

    test: str
    native: Outcome
    ours: Outcome
    verdict: str
    explained: bool
    """Whether nothing is to be done about it."""


@dataclass
class Compared:
    """One suite."""

    suite: str
    same: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def tests(self) -> int:
        return self.same + len(self.differences)

    @property
    def explained(self) -> int:
        return sum(each.explained for each in self.differences)

    @property
    def unexplained(self) -> int:
        return len(self.differences) - self.explained


def compare(suite: str, native: Outcomes, ours: Outcomes, again: Again, whole: Whole) -> Compared:
    """What differs, judged."""
    compared = Compared(suite)
    whole = cache(whole)
    for test in sorted(native | ours):
        one, other = native.get(test, NOT_RUN), ours.get(test, NOT_RUN)
        if one.what == other.what:
            compared.same += 1
        else:
            compared.differences.append(_judged(test, one, other, again, whole))
    return compared


def _judged(test: str, native: Outcome, ours: Outcome, again: Again, whole: Whole) -> Difference:
    why = reason(test)
    if why is not None:
        return Difference(test, native, ours, why, explained=True)
    pairs = [(again(test, False), again(test, True)) for _ in range(TRIES)]
    natively = {native.what, *(one.what for one, _ in pairs)}
    under_us = {ours.what, *(other.what for _, other in pairs)}
    differ = [(one, other) for one, other in pairs if one.what != other.what]
    if under_us <= natively:
        verdict, explained = f"flaky natively too: {', '.join(sorted(natively))}", True
    elif not differ and whole().get(test, NOT_RUN).what in natively:
        verdict, explained = "once only: the same alone, and when all were run again", True
    elif not differ:
        verdict, explained = f"the same when run alone, {TRIES} of {TRIES}", False
    else:
        verdict, explained = f"differs {len(differ)} of {TRIES} when run alone", False
        native, ours = differ[0]
    return Difference(test, native, ours, verdict, explained)
