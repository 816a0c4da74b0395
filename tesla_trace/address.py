"""Socket addresses, in the form Python's socket module uses."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Address = tuple[str, int] | tuple[str, int, int, int]
"""`(host, port)`, or `(host, port, flowinfo, scope_id)` for AF_INET6.

The host is a number or, where somebody further out is to look it up, a name."""

Number = ipaddress.IPv4Address | ipaddress.IPv6Address
"""A host's number."""


def shown(address: Address) -> str:
    """The address as people write it: `192.0.2.1:80`, `[2001:db8::1]:80`, `example.org:80`."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@lru_cache(4096)
def numeric(host: str) -> Number | None:
    """The IP address that `host` is, a v4-mapped one as IPv4; None if it is a name."""
    try:
        number = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(number, ipaddress.IPv6Address) and number.ipv4_mapped is not None:
        return number.ipv4_mapped
    return number


def is_loopback(address: Address) -> bool:
    """Whether it is this machine's own: 127.0.0.0/8, ::1, or the unspecified address.

    Linux connects 0.0.0.0 and :: to the machine itself.
    """
    return _is_loopback(address[0])


@lru_cache(4096)
def _is_loopback(host: str) -> bool:
    number = numeric(host)
    return number is not None and (number.is_loopback or number.is_unspecified)
