"""Addresses invented for names, so that a program can connect to what nobody has looked up.

Where they are from:

- 198.18.0.0/15 is for measurements between networks (RFC 2544) and reached by nobody in earnest.
- fd1d:837f:9569::/64 is a unique local prefix (RFC 4193).  Its 40 bits, which are to collide with
  nobody's, are the first of the SHA-256 of "tesla_trace": they need not change from run to run.

Which of them a name gets depends on the name alone, as long as no other holds it already.  So an
address that a program remembers from an earlier run stands for the same name, or for none.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import lru_cache
from typing import NamedTuple

from tesla_trace.address import Number, numeric

DNS = 53
"""The port of name servers."""

IPV4 = ipaddress.IPv4Network("198.18.0.0/15")
IPV6 = ipaddress.IPv6Network("fd1d:837f:9569::/64")

BLOCK = 254
"""Addresses in 256 that are used: old software takes .0 and .255 for those of a network."""

SLOTS = IPV4.num_addresses // 256 * BLOCK

MOST = 2**16
"""Names known at a time: half of what there is room for, so that an address rests between two."""


class Invented(NamedTuple):
    """A name and what stands for it."""

    name: str
    ipv4: ipaddress.IPv4Address
    ipv6: ipaddress.IPv6Address


class Names:
    """The names that were looked up and their addresses.

    Args:
        most: names known at a time; the one whose last use is the longest ago is forgotten first.
    """

    def __init__(self, most: int = MOST) -> None:
        assert 0 < most < SLOTS
        self._most = most
        self._known: OrderedDict[str, Invented] = OrderedDict()
        self._holders: dict[Number, str] = {}

    def invent(self, name: str) -> Invented:
        """The addresses of `name`, however it is written."""
        name = name.removesuffix(".").lower()
        known = self._known.get(name)
        if known is None:
            if len(self._known) == self._most:
                _, oldest = self._known.popitem(last=False)
                del self._holders[oldest.ipv4], self._holders[oldest.ipv6]
            known = self._known[name] = self._invent(name)
            self._holders[known.ipv4] = self._holders[known.ipv6] = name
        self._known.move_to_end(name)
        return known

    def name(self, host: str) -> str | None:
        """The name that the number `host` stands for, None if it was given to none."""
        number = numeric(host)
        name = None if number is None else self._holders.get(number)
        if name is not None:
            self._known.move_to_end(name)
        return name

    def _invent(self, name: str) -> Invented:
        import hashlib  # not before a name is looked up

        digest = hashlib.sha256(name.encode()).digest()
        slot = int.from_bytes(digest[:8], "big") % SLOTS
        while (ipv4 := _ipv4(slot)) in self._holders:
            slot = (slot + 1) % SLOTS
        # With the slot in it, for no two names to share it; and so that it is never ::0.
        ipv6 = IPV6[int.from_bytes(digest[8:13], "big") << 24 | slot + 1]
        return Invented(name, ipv4, ipv6)


@lru_cache(4096)
def invented(host: str) -> bool:
    """Whether the number `host` is one that only a name can have."""
    number = numeric(host)
    return number is not None and (number in IPV4 or number in IPV6)


def _ipv4(slot: int) -> ipaddress.IPv4Address:
    block, rest = divmod(slot, BLOCK)
    return IPV4[block * 256 + rest + 1]
