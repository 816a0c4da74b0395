"""The options of a kernel's socket that one of ours has too when it takes that one's place.

They are compared with a fresh socket's, and set where they differ.  Numbers that Python has no name
for are from asm-generic/socket.h, linux/in.h, linux/in6.h and linux/tcp.h.
"""

from __future__ import annotations

import socket

_SOCKET = {
    2: "SO_REUSEADDR",
    5: "SO_DONTROUTE",
    6: "SO_BROADCAST",
    7: "SO_SNDBUF",
    8: "SO_RCVBUF",
    9: "SO_KEEPALIVE",
    12: "SO_PRIORITY",
    15: "SO_REUSEPORT",
    25: "SO_BINDTODEVICE",
    36: "SO_MARK",
    46: "SO_BUSY_POLL",
    47: "SO_MAX_PACING_RATE",
    74: "SO_TXREHASH",
}
_IP = {
    1: "IP_TOS",
    2: "IP_TTL",
    10: "IP_MTU_DISCOVER",
    11: "IP_RECVERR",
    15: "IP_FREEBIND",
    19: "IP_TRANSPARENT",
    21: "IP_MINTTL",
    24: "IP_BIND_ADDRESS_NO_PORT",
    51: "IP_LOCAL_PORT_RANGE",
}
_IPV6 = {
    16: "IPV6_UNICAST_HOPS",
    23: "IPV6_MTU_DISCOVER",
    26: "IPV6_V6ONLY",
    33: "IPV6_FLOWINFO_SEND",
    62: "IPV6_DONTFRAG",
    67: "IPV6_TCLASS",
    70: "IPV6_AUTOFLOWLABEL",
    72: "IPV6_ADDR_PREFERENCES",
    73: "IPV6_MINHOPCOUNT",
    75: "IPV6_TRANSPARENT",
    78: "IPV6_FREEBIND",
}
_TCP = {
    1: "TCP_NODELAY",
    2: "TCP_MAXSEG",
    3: "TCP_CORK",
    4: "TCP_KEEPIDLE",
    5: "TCP_KEEPINTVL",
    6: "TCP_KEEPCNT",
    7: "TCP_SYNCNT",
    8: "TCP_LINGER2",
    9: "TCP_DEFER_ACCEPT",
    10: "TCP_WINDOW_CLAMP",
    13: "TCP_CONGESTION",
    16: "TCP_THIN_LINEAR_TIMEOUTS",
    18: "TCP_USER_TIMEOUT",
    23: "TCP_FASTOPEN",
    25: "TCP_NOTSENT_LOWAT",
    27: "TCP_SAVE_SYN",
    34: "TCP_FASTOPEN_NO_COOKIE",
}

CARRIED: dict[tuple[int, int], str] = {
    (level, option): name
    for level, names in (
        (socket.SOL_SOCKET, _SOCKET),
        (socket.IPPROTO_IP, _IP),
        (socket.IPPROTO_IPV6, _IPV6),
        (socket.IPPROTO_TCP, _TCP),
    )
    for option, name in names.items()
}
"""The name of each, in the order in which they are set: before bind(2)."""

HALVED = frozenset({(socket.SOL_SOCKET, 7), (socket.SOL_SOCKET, 8)})
"""Buffers, which the kernel makes twice as large as it is told (socket(7))."""
