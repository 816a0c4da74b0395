"""What else may be at work on a descriptor, by /proc/TID/syscall (proc(5)).

Facts: it says the number of the call that the thread is in, and its arguments; or `running`.  A
call holds the files that it is about until it is over, so that they outlive their descriptors; that
of epoll_wait is the epoll's alone.  A task may share the descriptors of another without being a
thread of the same process (CLONE_FILES in clone(2)); kcmp(2) tells.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache

from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import libc, number_of
from tesla_trace.kernel.members import Members
from tesla_trace.kernel.trap import Stop

KCMP_FILES = 2

MOST = 64
"""Threads or processes that are looked at: with more of them it is taken for granted that one may
be."""

ELSEWHERE = (
    "futex epoll_wait epoll_pwait epoll_pwait2 nanosleep clock_nanosleep wait4 waitid"
    " rt_sigtimedwait rt_sigsuspend pause"
).split()
"""Calls that wait for something else than a socket."""

OF_ONE = (
    "read write readv writev recvfrom recvmsg recvmmsg sendto sendmsg sendmmsg accept accept4"
).split()
"""Calls that wait on the descriptor that is their first argument, and on no other."""


def may_be_used(stop: Stop, file: bytes, members: Members) -> bool:
    """Whether another task that has the caller's descriptors may be in a call on one of `file`.

    One that runs may be about to make such a call.
    """
    process = stop.process()
    threads = proc.threads(process)
    others = members.processes()
    if len(threads) > MOST or len(others) > MOST:
        return True
    sharing = [t for other in _sharing(process, others) for t in proc.threads(other)]
    return any(_may_use(each, file) for each in (*threads, *sharing) if each != stop.thread)


def _sharing(process: int, others: Iterable[int]) -> Iterator[int]:
    kcmp = number_of("kcmp")
    for other in others:
        if other != process and libc.syscall(kcmp, process, other, KCMP_FILES, 0, 0) == 0:
            yield other


def _may_use(thread: int, file: bytes) -> bool:
    try:
        words = proc.read(f"/proc/{thread}/syscall").split()
        if words[0] == b"running":
            return True
        number = int(words[0])
        if number in _numbers(tuple(OF_ONE)):
            fd = int(words[1], 16) & 0xFFFFFFFF
            return os.readlink(b"/proc/%d/fd/%d" % (thread, fd)) == file
    except OSError:
        return False  # it is gone, or has no such descriptor
    return number >= 0 and number not in _numbers(tuple(ELSEWHERE))


@cache
def _numbers(calls: Iterable[str]) -> frozenset[int]:
    found = []
    for call in calls:
        with suppress(ValueError):  # another machine's
            found.append(number_of(call))
    return frozenset(found)
