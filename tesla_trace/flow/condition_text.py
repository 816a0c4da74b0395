"""Conditions as rules have them: `tcp and (port 5432 or host *.db.example.org)`.

    condition:  term or term ...
    term:       factor and factor ...
    factor:     not factor | ( condition ) | test
    test:       port 80,8000-8100 | net 10.0.0.0/8,fd00::/8 | host db.example.org,*.test,192.0.2.1
                program curl,wget* | out | in | tcp | udp | ipv4 | ipv6

The words are those of pcap-filter(7), as far as they mean the same.
"""

from __future__ import annotations

import ipaddress
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tesla_trace.address import numeric
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
)

COMM = 15
"""The most letters of a process's name that the kernel keeps (TASK_COMM_LEN)."""

DEEPEST = 50
"""Parentheses and `not` within each other."""


class Mistaken(ValueError):
    """A condition makes no sense; the text is for the user.

    Args:
        at: where, in letters from the start.
    """

    def __init__(self, why: str, at: int) -> None:
        super().__init__(why)
        self.at = at


def read(text: str) -> Condition:
    """The condition that `text` is.

    Raises:
        Mistaken: it is none.
    """
    return _Reader(text).condition()


class _Word(NamedTuple):
    text: str
    at: int


class _Reader:
    def __init__(self, text: str) -> None:
        found = re.finditer(r"[()]|[^\s()]+", text)
        self._words = deque(_Word(m[0], m.start()) for m in found)
        self._words.append(_Word("", len(text)))
        self._depth = 0

    def condition(self) -> Condition:
        found = self._some()
        if self._words[0].text == ")":
            raise Mistaken("this ) closes nothing", self._words[0].at)
        if self._words[0].text:
            raise Mistaken(f"`and` or `or` is missing before {self._words[0].text!r}", self._at)
        return found

    @property
    def _at(self) -> int:
        return self._words[0].at

    def _some(self) -> Condition:
        return self._joined("or", lambda: self._joined("and", self._factor, All), Some)

    def _joined(
        self,
        word: str,
        part: Callable[[], Condition],
        join: Callable[[tuple[Condition, ...]], Condition],
    ) -> Condition:
        parts = [part()]
        while self._words[0].text == word:
            self._words.popleft()
            parts.append(part())
        return parts[0] if len(parts) == 1 else join(tuple(parts))

    def _factor(self) -> Condition:
        word = self._words[0]
        if not word.text:
            raise Mistaken("a test such as `port 443` is missing", word.at)
        self._words.popleft()
        if word.text in ("not", "("):
            self._depth += 1
            if self._depth > DEEPEST:
                raise Mistaken(f"more than {DEEPEST} within each other", word.at)
            found = Not(self._factor()) if word.text == "not" else self._enclosed(word)
            self._depth -= 1
            return found
        if word.text in WORDS:
            return Is(WORDS[word.text][0], word.text)
        if word.text not in VALUED:
            known = " ".join((*VALUED, *WORDS))
            raise Mistaken(f"{word.text!r} is no test; there are {known}", word.at)
        value = self._words[0]
        if value.text in ("", "(", ")", "and", "or"):
            raise Mistaken(f"the value of {word.text} is missing", value.at)
        self._words.popleft()
        tests = tuple(_values(VALUED[word.text], value))
        return tests[0] if len(tests) == 1 else Some(tests)

    def _enclosed(self, opened: _Word) -> Condition:
        found = self._some()
        if self._words[0].text != ")":
            raise Mistaken("the ( is not closed", opened.at)
        self._words.popleft()
        return found


def _values(make: Callable[[str], Test], value: _Word) -> Iterator[Test]:
    at = value.at
    for each in value.text.split(","):
        try:
            yield make(each)
        except ValueError as wrong:
            raise Mistaken(f"{each!r} {wrong}", at) from None
        at += len(each) + 1


def _port(given: str) -> Port:
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", given)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 0 < low < 2**16 or not 0 < high < 2**16:
        raise ValueError("is not a port such as 443, or ports such as 8000-8100")
    if low > high:
        raise ValueError("ends before it begins")
    return Port(low, high)


def _net(given: str) -> Net:
    try:
        return Net(_unmapped(ipaddress.ip_network(given)))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(given, strict=False)
    except ValueError:
        raise ValueError("is not a network such as 10.0.0.0/8 or fd00::/8") from None
    raise ValueError(f"has bits outside of its mask: {meant} is meant?")


def _unmapped(
    net: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network of v4-mapped numbers as one of IPv4, as which these are judged."""
    if net.version == 6 and net.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(net.network_address) & 0xFFFFFFFF, net.prefixlen - 96))
    return net


_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def _host(given: str) -> Net | Name:
    if (number := numeric(given)) is not None and "%" not in given:
        return Net(ipaddress.ip_network(number))
    if not re.fullmatch(r"[A-Za-z0-9_*.-]{1,253}", given) or re.fullmatch(r"[0-9./]+", given):
        raise ValueError("is not a host such as db.example.org, *.example.org or 192.0.2.1")
    return Name(given.lower().removesuffix("."))


def _program(given: str) -> Program:
    if not given:
        raise ValueError("is not a process's name such as curl or wget*")
    if len(given.replace("*", "")) > COMM:
        why = f"is longer than the {COMM} letters of a process's name that the kernel keeps"
        raise ValueError(f"{why}: {given[:COMM]} is meant?")
    return Program(given)


VALUED: dict[str, Callable[[str], Test]] = {
    "port": _port,
    "net": _net,
    "host": _host,
    "program": _program,
}
"""The tests that have a value."""
