"""The sets of system calls by which programs reach the kernel of this machine.

Facts: a 64-bit kernel serves 32-bit programs too, and on x86 any program may make such calls
(`int $0x80`): by numbers of their own, with structures laid out in 32-bit words.  seccomp(2) tells
the sets apart by the audit architecture.  On i386 the calls on sockets are there twice: each by a
number of its own (Linux 4.3), and as sub-calls of socketcall(2), of which the second argument
points at the arguments.  glibc uses the latter still.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from tesla_trace.kernel.seccomp import pyseccomp

MULTIPLEXER = "socketcall"
"""The call that stands for others: its first argument says for which."""


class Arch:
    """One set of system calls.

    Args:
        audit: AUDIT_ARCH_* of linux/audit.h.
        word: the bytes of a pointer.
        epoll_event: struct epoll_event: its events and data, which x86 packs.
        direct: the numbers of calls that libseccomp takes for sub-calls only.
        subcalls: by the number of the sub-call: the call, and how many arguments it has.
    """

    def __init__(
        self,
        audit: int,
        word: int,
        epoll_event: str = "=I4xQ",
        direct: Mapping[str, int] = MappingProxyType({}),
        subcalls: Mapping[int, tuple[str, int]] = MappingProxyType({}),
    ) -> None:
        self.audit = audit
        self.word = word
        self.epoll_event = epoll_event
        self.direct = direct
        self.subcalls = subcalls

    def number(self, call: str) -> int | None:
        """The number of a call, None where it has none."""
        number = self.direct.get(call)
        if number is None:
            number = pyseccomp.resolve_syscall(self.audit, call)
        return number if number >= 0 else None


X86_64 = Arch(pyseccomp.Arch.X86_64, 8, epoll_event="=IQ")
I386 = Arch(
    pyseccomp.Arch.X86,
    4,
    epoll_event="=IQ",
    direct={
        "socket": 359,
        "bind": 361,
        "connect": 362,
        "listen": 363,
        "accept4": 364,
        "getsockopt": 365,
        "setsockopt": 366,
        "getsockname": 367,
        "getpeername": 368,
        "sendto": 369,
        "sendmsg": 370,
        "recvfrom": 371,
        "recvmsg": 372,
        "shutdown": 373,
        "recvmmsg": 337,
        "sendmmsg": 345,
    },
    subcalls={
        1: ("socket", 3),
        2: ("bind", 3),
        3: ("connect", 3),
        4: ("listen", 2),
        5: ("accept", 3),
        6: ("getsockname", 3),
        7: ("getpeername", 3),
        11: ("sendto", 6),
        12: ("recvfrom", 6),
        13: ("shutdown", 2),
        14: ("setsockopt", 5),
        15: ("getsockopt", 5),
        16: ("sendmsg", 3),
        17: ("recvmsg", 3),
        18: ("accept4", 4),
        19: ("recvmmsg", 5),
        20: ("sendmmsg", 4),
    },
)
"""linux/net.h has the sub-calls.  Left out are those that are never trapped: socketpair, send and
recv, which have no address."""
AARCH64 = Arch(pyseccomp.Arch.AARCH64, 8)
ARM = Arch(pyseccomp.Arch.ARM, 4)

MACHINES = {each[0].audit: each for each in ((X86_64, I386), (AARCH64, ARM), (I386,), (ARM,))}
"""What each machine has, its own first; calls by any other way are refused."""


@cache
def arches() -> tuple[Arch, ...]:
    """What this machine has; of one that is not in the table, 64-bit programs only."""
    native = pyseccomp.system_arch()
    return MACHINES.get(native, (Arch(native, 8),))
