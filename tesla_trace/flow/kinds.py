"""The kinds of values that options take, as a user writes them."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tesla_trace.address import Address

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of value."""

    metavar: str
    """Stands for the value in usage text: `RATE`."""
    accepts: str
    """Completes "this is not …"."""
    read: Callable[[str], T]
    """Makes the value of what was written; ValueError if it is not one, perhaps saying why."""
    opens: bool = False
    """Whether what is written names a file that is read, or something else of our own."""


def measure(given: str, units: dict[str, float]) -> float:
    """A number and one of `units`.

    Raises:
        ValueError: it is not.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)", given)
    if match is None or match[2] not in units:
        raise ValueError
    return float(match[1]) * units[match[2]]


BYTES = {"": 1, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
BITS = {"bit": 1 / 8, "kbit": 1e3 / 8, "Mbit": 1e6 / 8, "Gbit": 1e9 / 8}
TIMES = {"": 1, "s": 1, "ms": 1e-3, "us": 1e-6}


def _rate(given: str) -> float:
    if given == "unlimited":
        return math.inf
    rate = measure(given, {**BYTES, **BITS})
    if rate == 0:
        raise ValueError("nothing would ever arrive")
    return rate


NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?")
"""A host name, as resolvers take it (RFC 1123, with the underscore that people use)."""


def _address(given: str) -> Address:
    match = re.fullmatch(r"(\[.*:.*\]|[^:\[\]]*):([0-9]{1,5})", given)
    if match is None or not 0 < int(match[2]) < 2**16:
        raise ValueError
    host, port = match[1].strip("[]"), int(match[2])
    if not host.replace(".", "").isdecimal() and ":" not in host and NAME.fullmatch(host):
        return host, port
    number = ipaddress.ip_address(host)
    return (str(number), port) if number.version == 4 else (str(number), port, 0, 0)


SECONDS = Kind("TIME", "a time such as 50ms or 1.5s", lambda given: measure(given, TIMES))
"""Seconds."""

SIZE = Kind("SIZE", "a size such as 1500 or 16KiB", lambda given: int(measure(given, BYTES)))
"""Bytes."""

RATE = Kind("RATE", "a rate such as 1MB, 500kB or 10Mbit (in a second), or unlimited", _rate)
"""Bytes per second; may be infinite."""

ADDRESS = Kind("HOST:PORT", "an address such as proxy:1080, 192.0.2.1:1080 or [::1]:1080", _address)
"""A numeric address, or a name that is looked up where the flow leaves this machine."""

TEXT: Kind[str] = Kind("TEXT", "any text", str)
"""As it is."""


def whole(low: int, high: int) -> Kind[int]:
    """Numbers from `low` to `high`."""

    def read(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", given) or not low <= int(given) <= high:
            raise ValueError
        return int(given)

    return Kind("N", f"a whole number from {low} to {high}", read)


def choice(*words: str) -> Kind[str]:
    """One of `words`."""

    def read(given: str) -> str:
        if given not in words:
            raise ValueError
        return given

    return Kind("|".join(words), "one of " + ", ".join(words), read)
