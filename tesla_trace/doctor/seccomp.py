"""What is tried of seccomp(2)."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tesla_trace.doctor.probe import Absent, child
from tesla_trace.kernel.libc import PR_SET_NO_NEW_PRIVS, check, libc, number_of, pidfd_getfd, prctl

ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
"""BPF: return SECCOMP_RET_ALLOW."""


def libseccomp() -> None:
    """Find the library that builds filters."""
    from tesla_trace.kernel.seccomp import pyseccomp

    pyseccomp.SyscallFilter(pyseccomp.ALLOW)


def _filter(flags: int = 0) -> int:
    from tesla_trace.kernel.spawn import INSTRUCTION, SECCOMP_SET_MODE_FILTER

    code = ctypes.create_string_buffer(ALLOW_ALL, len(ALLOW_ALL))
    program = ctypes.create_string_buffer(
        struct.pack("@HP", len(ALLOW_ALL) // INSTRUCTION, ctypes.addressof(code))
    )
    return check(libc.syscall(number_of("seccomp"), SECCOMP_SET_MODE_FILTER, flags, program))


def plain_filter() -> None:
    """Install a filter."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _filter()


def listener() -> None:
    """Install one with a listener."""
    from tesla_trace.kernel.spawn import FLAG_NEW_LISTENER

    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _filter(FLAG_NEW_LISTENER)


def killable() -> None:
    """Install one that only fatal signals interrupt."""
    from tesla_trace.kernel.spawn import FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV

    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _filter(FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV)


def outer() -> str:
    """Ask the tesla_trace around us."""
    from tesla_trace.kernel.relay import RelayTrap
    from tesla_trace.kernel.spawn import OuterError, outer

    name = outer()
    if not name:
        raise Absent("the environment names none")
    try:
        RelayTrap(name, (), closed=False).close()
    except (ConnectionError, OuterError) as wrong:
        raise Absent(str(wrong)) from wrong
    return "it relays calls to us"


def rights_kept() -> None:
    """Install a filter without giving up rights for ever."""
    _filter()  # EACCES: only with NO_NEW_PRIVS


@contextmanager
def _trapping(call: str, then: Callable[[], object]) -> Iterator[int]:
    """A child under a filter that traps `call`, and does `then`; gives the filter's listener."""
    from tesla_trace.kernel.filter import Rule, build
    from tesla_trace.kernel.spawn import install

    bpf = build([Rule(call)])
    said, say = os.pipe()

    def trapped() -> None:
        os.write(say, b"%d" % install(bpf))
        then()
        signal.pause()

    with child(trapped) as pid:
        os.close(say)
        number = os.read(said, 16)
        if not number:
            raise Absent("the filter cannot be installed")
        yield pidfd_getfd(os.pidfd_open(pid), int(number))


def wakes_fast() -> None:
    """Ask for the quick wake-up."""
    import fcntl

    from tesla_trace.kernel.notified import FLAG_SYNC_WAKE_UP, IOCTL_SET_FLAGS

    with _trapping("getpriority", lambda: None) as listener:
        fcntl.ioctl(listener, IOCTL_SET_FLAGS, FLAG_SYNC_WAKE_UP)


def injects() -> None:
    """Give a trapped call a descriptor."""
    from tesla_trace.kernel.filter import Rule, numbers
    from tesla_trace.kernel.notify import NotifyTrap

    heard, say = os.pipe()

    def call() -> None:
        given = os.getpriority(os.PRIO_PROCESS, 0)
        os.write(given, b"through the descriptor that the call gave")

    with _trapping("getpriority", call) as listener:
        trap = NotifyTrap(listener, numbers([Rule("getpriority")]))
        select.select([trap], [], [])
        stop = trap.next()
        if stop is None:
            raise Absent("the call was not received")
        # The C library makes 20 - n of what the kernel says.
        stop.reply(20 - stop.inject(say, cloexec=True))
        os.read(heard, 1)
