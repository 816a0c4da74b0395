"""Rule files: TOML, read with what they include, and every error with its place.

    include = "common.toml"             # read before the rules below; also several, and with *

    [[rule]]
    match = "net 10.0.0.0/8 or host *.corp.example.org"
    skip = ["socks"]

The first rule that is true of a flow and names a handler decides of it; see docs/rules.md.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from tesla_trace.flow import FlowHandler
from tesla_trace.flow.condition import ALWAYS, Condition
from tesla_trace.flow.condition_text import Mistaken
from tesla_trace.flow.condition_text import read as condition
from tesla_trace.flow.rules import EVERY, Mention, Rule, Unusable
from tesla_trace.places import Path as Place
from tesla_trace.places import Places

Handlers = Mapping[str, type[FlowHandler]]

KEYS = ("match", "use", "skip")
"""What a rule has."""


class Unreadable(Unusable):
    """A rule file makes no sense; the text, one line, is for the user."""


def read(path: str, handlers: Handlers, known: set[str] | None = None) -> list[Rule]:
    """The rules of a file, in order.

    A file that is included again is passed over: the first rule decides, so the second time its
    rules could decide nothing.

    Args:
        handlers: those that may be named.
        known: the files that have been read; this one and what it includes are added.

    Raises:
        Unreadable: it makes no sense, or is not to be had.
    """
    return list(_rules(path, handlers, (), set() if known is None else known))


def _rules(
    path: str, handlers: Handlers, includers: tuple[str, ...], known: set[str]
) -> Iterator[Rule]:
    real = os.path.realpath(path)
    if real not in known:
        known.add(real)
        yield from _File(path, handlers, includers, known).rules()


class _File:
    def __init__(
        self, path: str, handlers: Handlers, includers: tuple[str, ...], known: set[str]
    ) -> None:
        self._path = path
        self._known = known
        self._handlers = handlers
        self._includers = (*includers, path)
        try:
            text = Path(path).read_text(encoding="utf-8")
            self._content = tomllib.loads(text)
        except OSError as wrong:
            raise Unreadable(f"{path}: {wrong.strerror}") from None
        except UnicodeDecodeError as wrong:
            raise Unreadable(f"{path}: not UTF-8: {wrong.reason}") from None
        except tomllib.TOMLDecodeError as wrong:
            raise Unreadable(self._toml_error(str(wrong), text)) from None
        except ValueError as wrong:  # a number of very many digits
            raise Unreadable(f"{path}: {wrong}") from None
        except RecursionError:
            raise Unreadable(f"{path}: too much within each other") from None
        self._places = Places(text)

    def _toml_error(self, why: str, text: str) -> str:
        match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|(end of document))\)", why)
        if match is None:
            return f"{self._path}: {why}"
        last = text.rstrip("\n").rpartition("\n")[2]
        line, column = match[2] or text.rstrip("\n").count("\n") + 1, match[3] or len(last) + 1
        return f"{self._path}:{line}:{column}: {match[1]}"

    def _fail(self, place: str, why: str) -> Unreadable:
        return Unreadable(f"{self._path}:{place}: {why}")

    def rules(self) -> Iterator[Rule]:
        """Those that are included, then its own."""
        for key in self._content:
            if key not in ("include", "rule"):
                raise self._fail(
                    self._places.key((key,)), f"{key!r} is not known here; there are include, rule"
                )
        for place, pattern in self._strings(("include",), self._content.get("include", [])):
            for path in self._found(place, pattern):
                yield from _rules(path, self._handlers, self._includers, self._known)
        tables = self._content.get("rule", [])
        if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
            raise self._fail(self._places.key(("rule",)), "a rule begins with [[rule]]")
        for number, table in enumerate(tables):
            yield self._rule(("rule", number), table)

    def _found(self, place: str, pattern: str) -> list[str]:
        """The files that are included."""
        if "\0" in pattern:
            raise self._fail(place, "no file's name has a null character")
        path = os.path.join(os.path.dirname(self._path), os.path.expanduser(pattern))
        paths = sorted(glob(path)) if has_magic(path) else [path]
        for each in paths:
            for at, includer in enumerate(self._includers):
                if os.path.realpath(each) == os.path.realpath(includer):
                    circle = " includes ".join((*self._includers[at:], each))
                    raise self._fail(place, f"a circle: {circle}")
            if not os.path.exists(each):
                raise self._fail(place, f"{each}: No such file or directory")
        return paths

    def _rule(self, path: Place, table: dict[str, Any]) -> Rule:
        for key in table:
            if key not in KEYS:
                there = ", ".join(KEYS)
                raise self._fail(self._places.key((*path, key)), f"{key!r}: a rule has {there}")
        use, skip = (tuple(self._mentions((*path, key), table.get(key, []))) for key in KEYS[1:])
        if not use and not skip:
            raise self._fail(self._places.key(path), "a rule names handlers in `use` or in `skip`")
        place = f"{self._path}:{self._places.key(path)}"
        if "match" not in table:
            return Rule(ALWAYS, "", place, use, skip)
        where = (*path, "match")
        found = self._condition(where, table["match"])
        return Rule(found, table["match"], f"{self._path}:{self._places.value(where)}", use, skip)

    def _condition(self, path: Place, text: object) -> Condition:
        if not isinstance(text, str):
            raise self._fail(self._places.value(path), "a condition is a string")
        try:
            return condition(text)
        except Mistaken as wrong:
            raise self._fail(self._places.value(path, wrong.at), str(wrong)) from None

    def _mentions(self, path: Place, value: object) -> Iterator[Mention]:
        for place, word in self._strings(path, value):
            name = re.sub(r"#[1-9][0-9]{0,3}$", "", word)
            if name != EVERY:
                try:
                    self._handlers[name]
                except KeyError:
                    there = " ".join(self._handlers)
                    raise self._fail(
                        place, f"{word!r}: no such handler; there are {there}"
                    ) from None
            yield Mention(word, f"{self._path}:{place}")

    def _strings(self, path: Place, value: object) -> Iterator[tuple[str, str]]:
        """The strings of an array, or the only one, each with its place."""
        if isinstance(value, str):
            yield self._places.value(path), value
            return
        if not isinstance(value, list):
            raise self._fail(self._places.value(path), "a string is wanted, or an array of them")
        for number, each in enumerate(value):
            place = self._places.value((*path, number))
            if not isinstance(each, str):
                raise self._fail(place, "a string is wanted")
            yield place, each
