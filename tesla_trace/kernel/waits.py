"""What the other threads of a process wait for, by /proc/TID/syscall (proc(5)).

Facts: it says the number of the call that the thread is in, and its arguments; or `running`.  A
call holds the files that it is about until it is over, so that they outlive their descriptors; that
of epoll_wait is the epoll's alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache

from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import number_of
from tesla_trace.kernel.trap import Stop

MOST = 64
"""Threads that are looked at: with more of them it is taken for granted that one may wait."""

ELSEWHERE = (
    "futex epoll_wait epoll_pwait epoll_pwait2 nanosleep clock_nanosleep wait4 waitid"
    " rt_sigtimedwait rt_sigsuspend pause"
).split()
"""Calls that wait for something else than a socket."""

OF_ONE = (
    "read write readv writev recvfrom recvmsg recvmmsg sendto sendmsg sendmmsg accept accept4"
    " connect"
).split()
"""Calls that wait on the descriptor that is their first argument, and on no other."""


def may_wait_on(stop: Stop, fd: int) -> bool:
    """Whether another thread of the caller's process may be in a call that holds its descriptor.

    A thread that runs may be about to make such a call.
    """
    threads = proc.threads(stop.process())
    if len(threads) > MOST:
        return True
    return any(_holds(thread, fd) for thread in threads if thread != stop.thread)


def _holds(thread: int, fd: int) -> bool:
    try:
        with open(f"/proc/{thread}/syscall", "rb") as file:
            words = file.read().split()
    except OSError:
        return False  # it is gone
    if words[0] == b"running":
        return False
    number = int(words[0])
    if number in _numbers(tuple(OF_ONE)):
        return int(words[1], 16) & 0xFFFFFFFF == fd
    return number >= 0 and number not in _numbers(tuple(ELSEWHERE))


@cache
def _numbers(calls: Iterable[str]) -> frozenset[int]:
    found = []
    for call in calls:
        with suppress(ValueError):  # another machine's
            found.append(number_of(call))
    return frozenset(found)
