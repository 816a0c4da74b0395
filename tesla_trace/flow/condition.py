"""Conditions on flows, and what is true of one.

What is not known of a flow makes a test neither true nor false, and what depends on it likewise
(Kleene's logic); so a flow that goes to a name may be in any network.  How conditions are written:
`condition_text.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from tesla_trace.address import Number, numeric
from tesla_trace.flow.facts import Facts, Truth

# ---- tests ----


@dataclass(frozen=True)
class Port:
    """The port is one of `low` to `high`."""

    low: int
    high: int

    def judge(self, facts: Facts) -> Truth:
        """Whether it is true of a flow."""
        return None if facts.port is None else self.low <= facts.port <= self.high


@dataclass(frozen=True)
class Net:
    """The number is of a network."""

    net: ipaddress.IPv4Network | ipaddress.IPv6Network

    def judge(self, facts: Facts) -> Truth:
        """Whether it is true of a flow; not known of one that goes to a name."""
        number = None if facts.host is None else numeric(facts.host)
        if number is None:
            return None
        if number.is_unspecified and _within(_OURSELVES[number.version], self.net):
            return True
        return _within(number, self.net)


_OURSELVES: dict[int, Number] = {
    4: ipaddress.IPv4Address("127.0.0.1"),
    6: ipaddress.IPv6Address("::1"),
}
"""What Linux connects to in place of 0.0.0.0 and ::."""


@dataclass(frozen=True)
class Name:
    """The name is this one, or of this form."""

    glob: str

    def judge(self, facts: Facts) -> Truth:
        """Whether it is true of a flow; false of one that goes to a number."""
        if facts.host is None:
            return None
        return numeric(facts.host) is None and fits(facts.host, self.glob)


@dataclass(frozen=True)
class Program:
    """The process's name is this one, or of this form."""

    glob: str

    def judge(self, facts: Facts) -> Truth:
        """Whether it is true of a flow."""
        return None if facts.program is None else fits(facts.program, self.glob)


@dataclass(frozen=True)
class Is:
    """One of two words is the right one."""

    what: str
    """The field of `Facts`."""
    word: str

    def judge(self, facts: Facts) -> Truth:
        """Whether it is true of a flow."""
        known: str | None = getattr(facts, self.what)
        return None if known is None else known == self.word


WORDS = {
    "out": ("direction", "in"),
    "in": ("direction", "out"),
    "tcp": ("type", "udp"),
    "udp": ("type", "tcp"),
    "ipv4": ("family", "ipv6"),
    "ipv6": ("family", "ipv4"),
}
"""What each word is about, and the other one."""


# ---- joined ----


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: Condition

    def judge(self, facts: Facts) -> Truth:
        """Whether it is true of a flow."""
        truth = self.part.judge(facts)
        return None if truth is None else not truth


@dataclass(frozen=True)
class All:
    """Each of the parts; of none of them, always."""

    parts: tuple[Condition, ...] = ()

    def judge(self, facts: Facts) -> Truth:
        """Whether it is true of a flow."""
        found: Truth = True
        for part in self.parts:
            truth = part.judge(facts)
            if truth is False:
                return False
            found = truth and found
        return found


@dataclass(frozen=True)
class Some:
    """One of the parts at least."""

    parts: tuple[Condition, ...]

    def judge(self, facts: Facts) -> Truth:
        """Whether it is true of a flow."""
        found: Truth = False
        for part in self.parts:
            truth = part.judge(facts)
            if truth:
                return True
            found = found if truth is False else None
        return found


Test = Port | Net | Name | Program | Is
Condition = Test | Not | All | Some

ALWAYS = All()


def names_in(condition: Condition) -> Iterator[str]:
    """The names of hosts that it asks for."""
    match condition:
        case Name():
            yield condition.glob
        case Not():
            yield from names_in(condition.part)
        case All() | Some():
            for part in condition.parts:
                yield from names_in(part)


def fits(text: str, glob: str) -> bool:
    """Whether `text` is of the form `glob`, in which * is any letters, also none."""
    first, *rest = glob.split("*")
    if not rest:
        return text == glob
    *inner, last = rest
    at, end = len(first), len(text) - len(last)
    if end < at or not text.startswith(first) or not text.endswith(last):
        return False
    for part in inner:  # each as early as can be: no other choice could do better
        if (found := text.find(part, at, end)) < 0:
            return False
        at = found + len(part)
    return True


def _within(number: Number, net: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return number.version == net.version and number in net
