"""Socket addresses as bytes: `struct sockaddr_in` and `sockaddr_in6` (ip(7), ipv6(7))."""

from __future__ import annotations

import errno
import os
import socket
import struct
from functools import lru_cache

from tesla_trace.address import Address

IN = struct.Struct("=H2s4s8x")
IN6 = struct.Struct("=H2sI16sI")

IN_SIZE = 16
IN6_SIZE = 28
IN6_LEAST = 24
"""RFC 2133's sockaddr_in6, without the scope: connect(2) and bind(2) take it still."""

LONGEST = 128
"""sizeof(struct sockaddr_storage): the kernel takes no longer address (EINVAL)."""


def family(data: bytes) -> int:
    """The address family, AF_UNSPEC if it is too short to say."""
    return int(struct.unpack_from("=H", data)[0]) if len(data) >= 2 else socket.AF_UNSPEC


def unpack(data: bytes) -> Address:
    """The address in `data`.

    Raises:
        OSError: EINVAL, too short; EAFNOSUPPORT, no IP address.
    """
    kind = family(data)
    if kind == socket.AF_INET and len(data) >= IN_SIZE:
        _, port, host = IN.unpack(data[:IN_SIZE])
        return socket.inet_ntop(socket.AF_INET, host), int.from_bytes(port, "big")
    if kind == socket.AF_INET6 and len(data) >= IN6_LEAST:
        _, port, flow, host6, scope = IN6.unpack(data[:IN6_SIZE].ljust(IN6_SIZE, b"\0"))
        text = socket.inet_ntop(socket.AF_INET6, host6)
        return text, int.from_bytes(port, "big"), socket.ntohl(flow) & 0xFFFFF, scope
    number = errno.EINVAL if kind in (socket.AF_INET, socket.AF_INET6) else errno.EAFNOSUPPORT
    raise OSError(number, os.strerror(number))


@lru_cache(4096)
def pack(address: Address, domain: int) -> bytes:
    """The address as a socket of `domain` shows it.

    An IPv4 address on an AF_INET6 socket is v4-mapped; an IPv6 address or a name on a socket that
    cannot show it is the unspecified address, with its port.
    """
    host, port = address[0].partition("%")[0], address[1].to_bytes(2, "big")
    if domain == socket.AF_INET:
        return IN.pack(domain, port, _packed(socket.AF_INET, host) or bytes(4))
    flow, scope = (address[2], address[3]) if len(address) == 4 else (0, 0)
    four = _packed(socket.AF_INET, host)
    six = bytes(10) + b"\xff\xff" + four if four else _packed(socket.AF_INET6, host) or bytes(16)
    return IN6.pack(domain, port, socket.htonl(flow), six, scope)


def _packed(kind: int, host: str) -> bytes | None:
    try:
        return socket.inet_pton(kind, host)
    except OSError:
        return None
