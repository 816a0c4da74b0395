"""Where in a TOML file its keys and values stand, which tomllib does not tell.

The file has been read by tomllib, and so is right; only what is to be passed over is looked at.  A
string is known letter by letter, for an error may be in the midst of one.
"""

from __future__ import annotations

import re
from collections import Counter

Path = tuple[str | int, ...]
"""Keys, and numbers of what is in an array: `("rule", 2, "match")`."""

ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\", "e": "\033"}

BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
BARE = re.compile(r"[A-Za-z0-9_-]+")
OTHER = re.compile(r"[^,\]}#\n]+")


class Places:
    """The places of a file's text."""

    def __init__(self, text: str) -> None:
        self._text = text = text.replace("\r\n", "\n")
        self._at = 0
        self._keys: dict[Path, int] = {}
        self._values: dict[Path, int] = {}
        self._letters: dict[Path, list[int]] = {}
        self._strings: dict[Path, str] = {}
        self._tables: Counter[Path] = Counter()
        """How many tables there are so far in an array of tables."""
        table: Path = ()
        while self._skip() < len(text):
            if text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def key(self, path: Path) -> str:
        """`LINE:COLUMN` of a key; of a table, of its header."""
        return self._place(self._keys.get(path, 0))

    def value(self, path: Path, letter: int = 0) -> str:
        """`LINE:COLUMN` of a value, or of a letter of a string."""
        if letters := self._letters.get(path):
            return self._place(letters[min(letter, len(letters) - 1)])
        return self._place(self._values.get(path, 0))

    def string(self, path: Path) -> str:
        """The string there, as it was understood here."""
        return self._strings[path]

    def _place(self, at: int) -> str:
        line = self._text.count("\n", 0, at) + 1
        return f"{line}:{at - self._text.rfind(chr(10), 0, at)}"

    def _skip(self) -> int:
        match = BETWEEN.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._at

    def _header(self) -> Path:
        begin = self._at
        many = self._text.startswith("[[", begin)
        self._at += 2 if many else 1
        *above, last = self._dotted()
        self._at += 2 if many else 1
        path: Path = ()
        for part in above:
            path = self._newest((*path, part))
            self._keys.setdefault(path, begin)
        path = (*path, last)
        if many:
            self._keys.setdefault(path, begin)
            self._tables[path] += 1
        path = self._newest(path)
        self._keys.setdefault(path, begin)
        return path

    def _newest(self, path: Path) -> Path:
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _pair(self, table: Path) -> None:
        begin = self._at
        path = table
        for part in self._dotted():
            path = (*path, part)
            self._keys.setdefault(path, begin)
        self._at += 1  # the =
        self._value(path)

    def _dotted(self) -> list[str]:
        parts = []
        while True:
            self._skip()
            if match := BARE.match(self._text, self._at):
                parts.append(match[0])
                self._at = match.end()
            else:
                parts.append(self._string()[0])
            self._skip()
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _value(self, path: Path) -> None:
        self._skip()
        self._values[path] = self._at
        first = self._text[self._at]
        if first in "\"'":
            self._strings[path], self._letters[path] = self._string()
        elif first in "[{":
            self._at += 1
            number = 0
            while self._text[self._skip()] not in "]}":
                if first == "[":
                    self._value((*path, number))
                    number += 1
                else:
                    self._pair(path)
                if self._text[self._skip()] == ",":
                    self._at += 1
            self._at += 1
        else:
            match = OTHER.match(self._text, self._at)
            assert match is not None
            self._at = match.end()

    def _string(self) -> tuple[str, list[int]]:
        """A string and where each letter of it stands; behind those, where it ends."""
        text, quote = self._text, self._text[self._at]
        if text.startswith(quote * 3, self._at):
            quote *= 3
        self._at += len(quote)
        if len(quote) == 3 and text[self._at] == "\n":
            self._at += 1
        letters, places = [], []
        more = quote + quote[0] if len(quote) == 3 else "\0"  # a quote may stand before the three
        while not text.startswith(quote, self._at) or text.startswith(more, self._at):
            places.append(self._at)
            if text[self._at] == "\\" and quote[0] == '"':
                letter = self._escaped()
                if not letter:
                    places.pop()
                    continue
                letters.append(letter)
            else:
                letters.append(text[self._at])
                self._at += 1
        places.append(self._at)
        self._at += len(quote)
        return "".join(letters), places

    def _escaped(self) -> str:
        """What a backslash stands for; nothing, at the end of a line."""
        kind = self._text[self._at + 1]
        size = {"x": 2, "u": 4, "U": 8}.get(kind, 0)
        if size:
            digits = self._text[self._at + 2 : self._at + 2 + size]
            self._at += 2 + size
            return chr(int(digits, 16))
        if kind in ESCAPES:
            self._at += 2
            return ESCAPES[kind]
        match = re.compile(r"\\[ \t\n]*").match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return ""
