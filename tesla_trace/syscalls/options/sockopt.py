"""getsockopt(2) and setsockopt(2), by a table of whose each option is."""

from __future__ import annotations

import enum
import errno
import socket as sockets
import struct
from typing import NamedTuple

from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.words import error, pack_int, read_int, signed
from tesla_trace.syscalls.program_socket import ProgramSocket
from tesla_trace.syscalls.session import Session

LONGEST = 64 * 1024
"""Bytes of an option's value that are read or given at the most."""


class Whose(enum.Enum):
    """Who keeps an option."""

    REAL = "the kernel's socket, through the handlers"
    PAIR = "the program's end of the pair"
    OURS = "kept by us"
    REFUSED = "refused with ENOPROTOOPT; programs do without"


class Option(NamedTuple):
    """One row of the table."""

    name: str
    whose: Whose
    note: str


SOCKET, TCP, UDP = sockets.SOL_SOCKET, sockets.IPPROTO_TCP, sockets.IPPROTO_UDP

# Numbers that Python has no name for are from asm-generic/socket.h, linux/tcp.h and linux/udp.h.
OPTIONS: dict[tuple[int, int], Option] = {
    (SOCKET, 3): Option("SO_TYPE", Whose.OURS, "the pair's is its own"),
    (SOCKET, 4): Option("SO_ERROR", Whose.OURS, "the handlers' connect; else the pair's"),
    (SOCKET, 10): Option("SO_OOBINLINE", Whose.PAIR, "the urgent byte comes through the pair"),
    (SOCKET, 13): Option("SO_LINGER", Whose.OURS, "a close that lingers would stop all flows"),
    (SOCKET, 18): Option("SO_RCVLOWAT", Whose.PAIR, "reading is from the pair"),
    (SOCKET, 20): Option("SO_RCVTIMEO", Whose.PAIR, "accept looks at it"),
    (SOCKET, 21): Option("SO_SNDTIMEO", Whose.PAIR, "connect looks at it"),
    (SOCKET, 26): Option("SO_ATTACH_FILTER", Whose.REFUSED, "its value is a pointer"),
    (SOCKET, 30): Option("SO_ACCEPTCONN", Whose.OURS, "whether it listens"),
    (SOCKET, 38): Option("SO_PROTOCOL", Whose.OURS, "the pair has none"),
    (SOCKET, 39): Option("SO_DOMAIN", Whose.OURS, "the pair's is AF_UNIX"),
    (SOCKET, 42): Option("SO_PEEK_OFF", Whose.PAIR, "reading is from the pair"),
    (SOCKET, 50): Option("SO_ATTACH_BPF", Whose.REFUSED, "it counts packets, we have none"),
    (SOCKET, 51): Option("SO_ATTACH_REUSEPORT_CBPF", Whose.REFUSED, "its value is a pointer"),
    (SOCKET, 52): Option("SO_ATTACH_REUSEPORT_EBPF", Whose.REFUSED, "its value is a descriptor"),
    (SOCKET, 60): Option("SO_ZEROCOPY", Whose.REFUSED, "the pair has no completions"),
    (SOCKET, 66): Option("SO_RCVTIMEO_NEW", Whose.PAIR, "as SO_RCVTIMEO"),
    (SOCKET, 67): Option("SO_SNDTIMEO_NEW", Whose.PAIR, "as SO_SNDTIMEO"),
    (TCP, 19): Option("TCP_REPAIR", Whose.REFUSED, "the connection is not the program's"),
    (TCP, 30): Option("TCP_FASTOPEN_CONNECT", Whose.OURS, "connect would not wait for an answer"),
    (TCP, 31): Option("TCP_ULP", Whose.REFUSED, "kernel TLS would not see the handlers' bytes"),
    (TCP, 35): Option("TCP_ZEROCOPY_RECEIVE", Whose.REFUSED, "its value has pointers"),
    (UDP, 1): Option("UDP_CORK", Whose.REFUSED, "each send to the pair is a datagram"),
    (UDP, 100): Option("UDP_ENCAP", Whose.REFUSED, "what is unpacked by the kernel passes us by"),
    (UDP, 103): Option("UDP_SEGMENT", Whose.REFUSED, "each send to the pair is a datagram"),
    (UDP, 104): Option("UDP_GRO", Whose.REFUSED, "handlers see each datagram"),
}
"""Every other option is the kernel's socket's."""

OTHER = Option("", Whose.REAL, "")

STORED = {(SOCKET, 13): struct.pack("ii", 0, 0), (TCP, 30): pack_int(0)}
"""Options that are only kept, with what they are at first."""

GROUPS = frozenset(
    (level, option)
    for level in (sockets.IPPROTO_IP, sockets.IPPROTO_IPV6)
    for option in range(42, 49)
)
"""MCAST_JOIN_GROUP to MCAST_MSFILTER: an int, and then addresses, which are aligned to a word."""

NETFILTER = frozenset(
    {(sockets.IPPROTO_IP, option) for base in (64, 96, 128) for option in range(base, base + 8)}
    | {(sockets.IPPROTO_IP, option) for option in range(1152, 1216)}
    | {(sockets.IPPROTO_IPV6, option) for option in (64, 65, 68, 69)}
)
"""Those of iptables, arptables, ebtables, IPVS and ip6tables (linux/netfilter*): their values hold
pointers, which would be into our memory, and they are for raw sockets."""

JOINING = frozenset(
    {(sockets.IPPROTO_IP, option) for option in (35, 39, 42, 46)}
    | {(sockets.IPPROTO_IPV6, option) for option in (20, 27, 42, 46)}
)
"""IP_ADD_MEMBERSHIP and its kin: the kernel tells the routers nearby (linux/in.h, linux/in6.h)."""

FREE = frozenset(
    {(SOCKET, option) for option in (2, 7, 8, 9, 15)}  # REUSEADDR, SND, RCV, KEEPALIVE, REUSEPORT
    | {(TCP, option) for option in (1, 3, 4, 5, 6, 12, 18)}  # NODELAY, CORK, KEEP*, QUICKACK, USER
    | {(sockets.IPPROTO_IPV6, 26), (sockets.IPPROTO_IP, 1)}  # IPV6_V6ONLY, IP_TOS
)
"""Options that anybody may set, and many do: there is no need to look who it is."""


BUFFERS = {
    (SOCKET, 7): sockets.SO_SNDBUF,
    (SOCKET, 8): sockets.SO_RCVBUF,
    (SOCKET, 32): sockets.SO_SNDBUF,  # SO_SNDBUFFORCE
    (SOCKET, 33): sockets.SO_RCVBUF,  # SO_RCVBUFFORCE
}
"""Options of the kernel's socket that hold for all else that bytes wait in, too."""

_UNSIGNED = struct.Struct("=I")


def getsockopt(_: Session, stop: Stop, socket: ProgramSocket) -> None:
    """Answer from where the option is kept."""
    level, option = signed(stop.args[1]), signed(stop.args[2])
    whose = OPTIONS.get((level, option), OTHER).whose
    if whose is Whose.PAIR or (level, option) == (SOCKET, 4) and socket.pair_has_error:
        return stop.proceed()
    size = room(stop)
    if whose is Whose.REFUSED or (level, option) in NETFILTER:
        raise error(errno.ENOPROTOOPT)
    if whose is Whose.OURS:
        value = _ours(socket, level, option)[:size]
        if (level, option) == (SOCKET, 4):
            socket.take_error()
    else:
        with socket.asked() as asked:
            value = asked.getsockopt(level, option, size)
    give(stop, value)


def room(stop: Stop) -> int:
    """The bytes that the caller of getsockopt(2) has room for.

    Raises:
        OSError: EINVAL, EFAULT: it does not say so.
    """
    size = read_int(stop, stop.args[4])
    if size < 0:
        raise error(errno.EINVAL)
    return min(size, LONGEST)


def give(stop: Stop, value: bytes) -> None:
    """Answer getsockopt(2)."""
    if value:
        stop.write(stop.args[3], value)
    stop.write(stop.args[4], pack_int(len(value)))
    stop.reply(0)


def given(stop: Stop) -> bytes:
    """The value that the caller of setsockopt(2) has for its option.

    Raises:
        OSError: EINVAL, EFAULT: there is none.
    """
    level, option, size = (signed(stop.args[each]) for each in (1, 2, 4))
    if size < 0:
        raise error(errno.EINVAL)
    value = stop.read(stop.args[3], min(size, LONGEST)) if size else b""
    if stop.word == 4 and (level, option) in GROUPS:
        value = value[:4] + bytes(4) + value[4:]
    return value


def must_not(session: Session, level: int, option: int) -> bool:
    """Whether to set it sends a packet, past all handlers, where nothing may."""
    return (level, option) in JOINING and session.stack.exclusive


def setsockopt(session: Session, stop: Stop, socket: ProgramSocket) -> None:
    """Set it where it is kept."""
    level, option, size = signed(stop.args[1]), signed(stop.args[2]), signed(stop.args[4])
    whose = OPTIONS.get((level, option), OTHER).whose
    if whose is Whose.PAIR:
        socket.pair.has_settings = True
        return stop.proceed()
    if size < 0:
        raise error(errno.EINVAL)
    if whose is Whose.REFUSED or (level, option) in NETFILTER:
        raise error(errno.ENOPROTOOPT)
    if must_not(session, level, option):
        raise error(errno.ENODEV)
    value = given(stop)
    if (level, option) in STORED:
        least = len(STORED[level, option])
        if len(value) < least:
            raise error(errno.EINVAL)
        socket.store(level, option, value[:least])
    elif whose is Whose.OURS:
        raise error(errno.ENOPROTOOPT)
    elif (level, option) in FREE:
        with socket.asked() as asked:
            asked.setsockopt(level, option, value)
    else:
        rights = session.acting.rights(stop, socket.guise.namespace)
        with socket.asked() as asked, rights:
            asked.setsockopt(level, option, value)
    if (level, option) in BUFFERS:
        (size,) = _UNSIGNED.unpack_from(value)
        socket.seen = stop, signed(stop.args[0])
        socket.resize({BUFFERS[level, option]: size})
    stop.reply(0)


def stored(found: sockets.socket) -> dict[tuple[int, int], bytes]:
    """The options that are ours to keep, as they were set."""
    values = {}
    for (level, option), default in STORED.items():
        value = found.getsockopt(level, option, len(default))
        if value != default:
            values[level, option] = value
    return values


def _ours(socket: ProgramSocket, level: int, option: int) -> bytes:
    match level, option:
        case (sockets.SOL_SOCKET, 3):
            return pack_int(socket.TYPE)
        case (sockets.SOL_SOCKET, 4):
            return pack_int(socket.error)
        case (sockets.SOL_SOCKET, 30):
            return pack_int(socket.listening)
        case (sockets.SOL_SOCKET, 38):
            return pack_int(socket.protocol)
        case (sockets.SOL_SOCKET, 39):
            return pack_int(socket.domain)
    return socket.stored.get((level, option), STORED[level, option])
