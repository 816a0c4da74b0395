"""ioctl(2) requests that an AF_UNIX socket does not know, and an internet one does.

Facts (net/ipv4/af_inet.c): what is about bytes and signals (FIONREAD, FIONBIO, FIOASYNC,
SIOCATMARK) an AF_UNIX socket answers as TCP does, and what is about interfaces as such (their
names, indices, flags) any socket does.  Only a socket of the family knows their *addresses*.

What it means for us: just those requests are trapped, and asked of the kernel's socket that goes to
the network.  Those that change something are left to the pair, which refuses them: they would be
done with our rights.
"""

from __future__ import annotations

import struct
from contextlib import AbstractContextManager
from typing import Protocol

from tesla_trace.flow import FlowHandler
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.words import signed
from tesla_trace.syscalls.session import Session

Size = tuple[int, int]
"""Bytes of a structure, and its pointers and longs."""

IFREQ: Size = 24, 2
ARPREQ: Size = 68, 0
INT: Size = 4, 0
TIME: Size = 0, 2

REQUESTS: dict[int, tuple[str, Size]] = {
    0x8906: ("SIOCGSTAMP", TIME),
    0x8907: ("SIOCGSTAMPNS", TIME),
    0x8915: ("SIOCGIFADDR", IFREQ),
    0x8917: ("SIOCGIFDSTADDR", IFREQ),
    0x8919: ("SIOCGIFBRDADDR", IFREQ),
    0x891B: ("SIOCGIFNETMASK", IFREQ),
    0x8935: ("SIOCGIFPFLAGS", IFREQ),
    0x894B: ("SIOCOUTQNSD", INT),
    0x8954: ("SIOCGARP", ARPREQ),
}
"""What each request is called, and what its argument points at (linux/sockios.h)."""

WORD = struct.calcsize("P")


class Asked(Protocol):
    """A socket of the program."""

    def asked(self) -> AbstractContextManager[FlowHandler]:
        """Whom to ask."""


def ioctl(_: Session, stop: Stop, socket: Asked) -> None:
    """Ask the kernel's socket, through the handlers."""
    request = signed(stop.args[1])
    size, words = REQUESTS[request][1]
    argument = stop.read(stop.args[2], size + words * stop.word)
    with socket.asked() as asked:
        answer = asked.ioctl(request, argument.ljust(size + words * WORD, b"\0"))
    stop.write(stop.args[2], answer[: len(argument)])
    stop.reply(0)
