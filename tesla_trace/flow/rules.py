"""Which handlers a flow goes through: rules, and what they decide of one handler.

For each handler the first rule that is true of the flow and names the handler decides; where none
does, the handler is used.  The handler's own -except and -for come first.

A rule that is neither true nor false of what is known of a flow leaves both possible: that it
decides, and that one further down does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tesla_trace.flow.facts import Facts, Truth

if TYPE_CHECKING:
    from tesla_trace.flow.condition import Condition

EVERY = "*"
"""Stands for every handler."""


class Mention(NamedTuple):
    """A handler that a rule names."""

    handler: str
    """A name, `NAME#2` for the second that has it, or `*`."""
    place: str
    """Where it stands, for people: `FILE:LINE:COLUMN`."""


class Rule(NamedTuple):
    """Flows, and the handlers that they go through or not."""

    condition: Condition
    text: str
    """The condition as it is written."""
    place: str
    """Where it stands."""
    use: tuple[Mention, ...] = ()
    skip: tuple[Mention, ...] = ()


class Entry(NamedTuple):
    """What a rule says of one handler."""

    condition: Condition
    used: bool
    said: str
    """The rule, for people."""


class Decision(NamedTuple):
    """What is decided of a handler."""

    used: Truth
    """None: it depends on what is not known."""
    by: tuple[Entry, ...]
    """The rules that decide, or may."""
    default: bool
    """Whether perhaps none of them does."""


class Unusable(ValueError):
    """A rule that contradicts another, or does nothing; the text is for the user."""


def decide(entries: Iterable[Entry], facts: Facts) -> Decision:
    """What the rules say of a handler, for a flow of which this is known."""
    possible, by, default = set(), [], False
    for entry in entries:
        truth = entry.condition.judge(facts)
        if truth is False:
            continue
        possible.add(entry.used)
        by.append(entry)
        if truth:
            break
    else:
        possible.add(True)
        default = True
    return Decision(possible.pop() if len(possible) == 1 else None, tuple(by), default)


def assign(rules: Sequence[Rule], names: Sequence[str]) -> list[tuple[Entry, ...]]:
    """What the rules say of each of the handlers, which are named in the order that they stand."""
    words = [
        {EVERY, name, f"{name}#{names[: at + 1].count(name)}"} for at, name in enumerate(names)
    ]
    return [
        tuple(
            Entry(rule.condition, used, f"{rule.place}: {rule.text or 'every flow'}")
            for rule in rules
            for used, mentions in ((True, rule.use), (False, rule.skip))
            if any(mention.handler in word for mention in mentions)
        )
        for word in words
    ]
