"""Putting one open file in the place of another, in a process of the program.

Facts: to replace a descriptor (ADDFD with SETFD) leaves the others of the same file as they were,
and drops the descriptor's registrations with epoll(7).
"""

from __future__ import annotations

import contextlib

from tesla_trace.kernel import proc
from tesla_trace.kernel.registrations import find_all, move
from tesla_trace.kernel.trap import Stop

ROUNDS = 3
"""Looks for descriptors that another thread of the program has made meanwhile."""


def replace(stop: Stop, fd: int, file: bytes, old: int, new: int) -> None:
    """Give the thread `new` wherever it has `old`, first as `fd`, registrations and all.

    Args:
        file: what `old` is called in /proc/TID/fd.
        old, new: descriptors of ours.

    Raises:
        OSError, Gone: as `Stop.inject`.
    """
    files = list(proc.files(stop.thread))
    found = find_all(stop.thread, files, file)
    stop.inject(new, cloexec=stop.closes_on_exec(fd), at=fd)
    for _ in range(ROUNDS):
        others = [number for number, name in files if name == file.decode() and number != fd]
        for each in others:
            with contextlib.suppress(OSError):  # beyond a limit that was lowered since: it stays
                stop.inject(new, cloexec=stop.closes_on_exec(each), at=each)
        if not others or len(proc.threads(stop.process())) == 1:
            break
        files = list(proc.files(stop.thread))
    if found:
        move(stop.thread, found, old, new)
