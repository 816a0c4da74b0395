"""Reading the conditions of -for and -except, and seeing that every rule may decide something.

Most command lines have no rules: nothing of this is imported then, nor what conditions are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tesla_trace.flow.condition import ALWAYS, Condition
from tesla_trace.flow.condition_text import Mistaken, read
from tesla_trace.flow.coverage import Earlier, boxes, covers, never
from tesla_trace.flow.rules import EVERY, Entry, Rule, Unusable


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
