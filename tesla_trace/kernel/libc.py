"""System calls that Python has no name for."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable
from functools import cache

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""

KEPT_FREE = 4 << 20
"""Bytes at the end of the heap that are kept when they are free."""

LARGE = 1 << 20
"""Bytes of a block that is mapped by itself: more than any piece of a stream."""

PIDFD_GETFD = 438
"""Calls added since Linux 5.1 have the same number on every architecture."""


def check(result: int) -> int:
    """`result` of a C function, unless it says -1.

    Raises:
        OSError: from errno.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@cache
def number_of(call: str) -> int:
    """The number of a system call on this machine.

    Raises:
        ValueError: this machine has no such call.
    """
    from tesla_trace.kernel.seccomp import pyseccomp

    number: int = pyseccomp.resolve_syscall(pyseccomp.system_arch(), call)
    if number < 0:
        raise ValueError(call)
    return number


def prctl(option: int, value: int) -> None:
    """prctl(2), for options with one argument."""
    check(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def keep_freed_memory() -> None:
    """Let malloc keep what is freed for the next piece of a stream.

    glibc gives it back to the kernel again and again, which fills each page with zeros when it is
    wanted next: 200 page faults for a megabyte that is encrypted, a third of all CPU time.
    """
    if hasattr(libc, "mallopt"):  # musl has none
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_FREE)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """pidfd_getfd(2): a copy, in this process, of another's descriptor; close-on-exec."""
    return check(libc.syscall(PIDFD_GETFD, pidfd, fd, 0))


def tgkill(process: int, thread: int, number: int) -> None:
    """tgkill(2): a signal for one thread."""
    check(libc.syscall(number_of("tgkill"), process, thread, number))


def sigset(signals: Iterable[int]) -> ctypes.Array[ctypes.c_ulong]:
    """A sigset_t of glibc or musl: 1024 bits, signal 1 the lowest."""
    words = [0] * (1024 // (8 * ctypes.sizeof(ctypes.c_ulong)))
    for number in signals:
        words[0] |= 1 << (number - 1)
    return (ctypes.c_ulong * len(words))(*words)


def poll_once(blocked: Iterable[signal.Signals | int]) -> None:
    """ppoll(2) of nothing for no time, with just these signals blocked meanwhile."""
    no_time = (ctypes.c_long * 2)(0, 0)
    libc.ppoll(None, ctypes.c_ulong(0), no_time, sigset(blocked))


def signalfd(signals: Iterable[signal.Signals | int], fd: int = -1) -> int:
    """signalfd(2): a descriptor that reads as `signals` arrive; non-blocking, close-on-exec.

    Args:
        fd: one that is there already, and is to read these from now on.
    """
    return check(libc.signalfd(fd, sigset(signals), os.O_NONBLOCK | os.O_CLOEXEC))
