"""What conditions leave for others: which can never be true, and which are never asked.

A condition is taken apart into boxes, alternatives of which each is tests that must all come out
as they say.  That one test follows from another is found by looking at two at a time.  So what is
said here holds; but not all that holds is found (`port 1-9` within `port 1-4 or port 5-9`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from itertools import product
from typing import Generic, TypeVar

from tesla_trace.flow.condition import (
    WORDS,
    All,
    Condition,
    Is,
    Name,
    Net,
    Not,
    Port,
    Program,
    Some,
    Test,
    fits,
)

MOST = 256
"""Boxes of a condition; one that has more is not looked into."""

Said = tuple[Test, bool]
"""A test, and how it comes out."""

Box = frozenset[Said]

FEW = 64
"""Ports of a range that is looked up port by port."""

T = TypeVar("T")


def boxes(condition: Condition) -> list[Box] | None:
    """The alternatives that can be true; None if they are too many."""
    found = _boxes(condition, True)
    return None if found is None else [box for box in found if not _contradicts_itself(box)]


def never(condition: Condition) -> bool:
    """Whether it can be true of no flow."""
    return boxes(condition) == []


def covers(first: list[Box] | None, second: list[Box] | None) -> bool:
    """Whether `first` is true wherever `second` is."""
    if first is None or second is None:
        return False
    return all(any(_covers(wide, narrow) for wide in first) for narrow in second)


class Earlier(Generic[T]):
    """What came before, found by what it asks for, so that not each is compared with each.

    A box can only cover another that has, within each of its own tests, one of its own.  So it is
    filed under one of them, and looked for where the other's tests may lead.
    """

    def __init__(self) -> None:
        self._filed: dict[Hashable, list[tuple[T, list[Box]]]] = defaultdict(list)

    def add(self, what: T, alternatives: list[Box]) -> None:
        """It is true wherever one of the alternatives is."""
        for box in alternatives:
            for key in _keys(box):
                self._filed[key].append((what, alternatives))

    def covering(self, alternatives: list[Box]) -> Iterator[T]:
        """What is true wherever one of these is."""
        for key in (None, *_found(alternatives[0])) if alternatives else ():
            for what, wide in self._filed.get(key, ()):
                if covers(wide, alternatives):
                    yield what


def _keys(box: Box) -> list[Hashable]:
    """Where a box is filed: under one of its tests; under None, if there is none that is apt."""
    for test, truth in box:
        match test:
            case Net(net) if truth:
                return [(net.version, net.prefixlen, int(net.network_address))]
            case Name(glob) | Program(glob) if truth and "*" not in glob:
                return [test]
    for test, truth in box:
        if isinstance(test, Port) and truth and test.high - test.low < FEW:
            return list(range(test.low, test.high + 1))
    return [None]


def _found(box: Box) -> Iterator[Hashable]:
    """Where what covers a box is filed."""
    for test, truth in box:
        match test:
            case Net(net) if truth:
                number, bits = int(net.network_address), net.max_prefixlen
                for length in range(net.prefixlen + 1):
                    rest = bits - length
                    yield net.version, length, number >> rest << rest
            case Name() | Program() if truth:
                yield test
            case Port() if truth:
                yield test.low


def _boxes(condition: Condition, truth: bool) -> list[Box] | None:
    if isinstance(condition, Not):
        return _boxes(condition.part, not truth)
    if isinstance(condition, (All, Some)):
        parts = [_boxes(part, truth) for part in condition.parts]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        if isinstance(condition, Some) == truth:
            found = [box for part in known for box in part]
            return found if len(found) <= MOST else None
        size = 1
        for part in known:
            size *= len(part)
        if size > MOST:
            return None
        return [frozenset().union(*each) for each in product(*known)]
    if isinstance(condition, Is) and not truth:
        return [frozenset({(Is(condition.what, WORDS[condition.word][1]), True)})]
    return [frozenset({(condition, truth)})]


def _contradicts_itself(box: Box) -> bool:
    said = list(box)
    return any(
        _follows(one, (other, not truth))
        for at, one in enumerate(said)
        for other, truth in said[at + 1 :]
    )


def _covers(wide: Box, narrow: Box) -> bool:
    return all(any(_shows(given, wanted) for given in narrow) for wanted in wide)


def _shows(given: Said, wanted: Said) -> bool:
    """Whether one comes out so where the other does; of a name it is not known what net it is."""
    if isinstance(given[0], Name) and isinstance(wanted[0], Net):
        return False
    return _follows(given, wanted)


def _follows(given: Said, wanted: Said) -> bool:
    (one, is_true), (other, to_be_true) = given, wanted
    if is_true:
        return _within(one, other) if to_be_true else _apart(one, other)
    return not to_be_true and _within(other, one)


def _within(one: Test, other: Test) -> bool:
    """Whether `other` is true wherever `one` is."""
    match one, other:
        case Port(), Port():
            return other.low <= one.low and one.high <= other.high
        case Net(), Net():
            if one.net.version != other.net.version:
                return False
            return one.net.prefixlen >= other.net.prefixlen and (
                one.net.network_address in other.net
            )
        case (Name(narrow), Name(wide)) | (Program(narrow), Program(wide)):
            # A letter that is in no name stands for whatever a * in `one` stands for.
            return fits(narrow.replace("*", "\0"), wide)
        case Net(), Is() if other.what == "family":
            return other.word == f"ipv{one.net.version}"
        case Is(), Is():
            return one == other
    return False


def _apart(one: Test, other: Test) -> bool:
    """Whether they are never true of the same flow."""
    match one, other:
        case Port(), Port():
            return one.high < other.low or other.high < one.low
        case Net(), Net():
            return one.net.version != other.net.version or not one.net.overlaps(other.net)
        case (Name(glob), Name(another)) | (Program(glob), Program(another)):
            return _unlike(glob, another)
        case (Net(), Name()) | (Name(), Net()):
            return True
        case (Net() as net, Is() as word) | (Is() as word, Net() as net):
            return word.what == "family" and word.word != f"ipv{net.net.version}"
        case Is(), Is():
            return one.what == other.what and one.word != other.word
    return False


def _unlike(one: str, other: str) -> bool:
    """Whether nothing is of both forms, as far as what stands before and behind their * tells."""
    if "*" not in one:
        return not fits(one, other)
    if "*" not in other:
        return not fits(other, one)
    heads = one.partition("*")[0], other.partition("*")[0]
    tails = one.rpartition("*")[2], other.rpartition("*")[2]
    begin = heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])
    end = tails[0].endswith(tails[1]) or tails[1].endswith(tails[0])
    return not (begin and end)
