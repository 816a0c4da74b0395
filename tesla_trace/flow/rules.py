"""Which handlers a flow goes through: rules, and what they decide of one handler.

For each handler the first rule that is true of the flow and names the handler decides; where none
does, the handler is used.  The handler's own -except and -for come first.

A rule that is neither true nor false of what is known of a flow leaves both possible: that it
decides, and that one further down does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tesla_trace.flow.condition import ALWAYS, Condition, Facts, Truth
from tesla_trace.flow.condition_text import Mistaken, read
from tesla_trace.flow.coverage import Earlier, boxes, covers, never

EVERY = "*"
"""Stands for every handler."""


@dataclass(frozen=True)
class Mention:
    """A handler that a rule names."""

    handler: str
    """A name, `NAME#2` for the second that has it, or `*`."""
    place: str
    """Where it stands, for people: `FILE:LINE:COLUMN`."""


@dataclass(frozen=True)
class Rule:
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


def own(handler: str, only: str | None, without: str | None) -> tuple[Entry, ...]:
    """What -for and -except say of the handler that they stand behind.

    Raises:
        Unusable: they make no sense.
    """
    entries: list[Entry] = []
    wrong = f"+{handler} -for={only!r} -except={without!r}"
    apart = None if without is None else _read(handler, "except", without)
    for_ = None if only is None else _read(handler, "for", only)
    if apart is not None:
        entries.append(Entry(apart, False, f"-except={without!r}"))
    if for_ is not None:
        if apart is not None and covers(boxes(apart), boxes(for_)):
            raise Unusable(f"{wrong}: every flow that -for is for is one that -except takes away")
        entries += [Entry(for_, True, f"-for={only!r}"), Entry(ALWAYS, False, f"-for={only!r}")]
    return tuple(entries)


def _read(handler: str, word: str, text: str) -> Condition:
    place = f"+{handler} -{word}={text!r}"
    try:
        condition = read(text)
    except Mistaken as wrong:
        raise Unusable(f"{place}: column {wrong.at + 1}: {wrong}") from None
    if never(condition):
        raise Unusable(f"{place}: it contradicts itself, and is true of no flow")
    return condition


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


def check(rules: Sequence[Rule]) -> None:
    """See that each rule may decide something.

    Raises:
        Unusable: one cannot, with its place and why.
    """
    before: dict[str, Earlier[Rule]] = defaultdict(Earlier)
    for rule in rules:
        found = boxes(rule.condition)
        if found == []:
            raise Unusable(
                f"{rule.place}: {rule.text!r} contradicts itself, and is true of no flow"
            )
        used = {each.handler for each in rule.use}
        for mention in rule.skip:
            if mention.handler in used:
                raise Unusable(f"{mention.place}: {mention.handler!r} is in `use` and in `skip`")
        if found is None:  # too much of it to be compared
            continue
        for mention in (*rule.use, *rule.skip):
            for word in {EVERY, mention.handler, mention.handler.partition("#")[0]}:
                for earlier in before[word].covering(found) if word in before else ():
                    raise Unusable(
                        f"{mention.place}: this decides nothing of {mention.handler!r}: "
                        f"{earlier.place} comes first, and is true of the same flows"
                    )
        for mention in (*rule.use, *rule.skip):
            before[mention.handler].add(rule, found)
