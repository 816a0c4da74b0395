"""Putting one open file in the place of another, in a process of the program.

Facts: to replace a descriptor (ADDFD with SETFD) leaves the others of the same file as they were,
and drops the descriptor's registrations with epoll(7): those are kept by (file, number).  What they
are stands in /proc/TID/fdinfo of the epoll descriptor.  epoll_ctl looks the file up in the table of
its *caller*; so a thread of ours with a table of its own can move a registration, if it has the old
and the new file at the number that the program has them at.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import re
import threading
from collections.abc import Callable
from typing import NamedTuple

from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import check, libc, pidfd_getfd
from tesla_trace.kernel.thread import open_pidfd
from tesla_trace.kernel.trap import Stop

CLONE_FILES = 0x400
EPOLL_CTL_ADD, EPOLL_CTL_DEL = 1, 2
EPOLL = "anon_inode:[eventpoll]"

ROUNDS = 3
"""Looks for descriptors that another thread of the program has made meanwhile."""

_ENTRY = re.compile(
    r"^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+).*\sino:([0-9a-f]+)", re.MULTILINE
)


class _Event(ctypes.Structure):
    """struct epoll_event, which x86-64 packs as i386 does."""

    if platform.machine() == "x86_64":
        _pack_ = 1
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


class Registration(NamedTuple):
    """A descriptor's registration with an epoll."""

    epoll: int
    """The epoll's descriptor in the program."""
    number: int
    events: int
    data: int


class Seen(NamedTuple):
    """Where a thread has a file, among all that it has: what takes a look at each descriptor."""

    files: list[tuple[int, str]]
    """Its descriptors, and what each is."""
    registrations: list[Registration]


def see(thread: int, file: bytes) -> Seen:
    """Look for a file at a thread's descriptors, and at what its epoll descriptors say."""
    files = list(proc.files(thread))
    return Seen(files, _registrations(thread, files, file))


def replace(stop: Stop, fd: int, file: bytes, old: int, new: int, seen: Seen | None = None) -> None:
    """Give the thread `new` wherever it has `old`, first as `fd`, registrations and all.

    Args:
        file: what `old` is called in /proc/TID/fd.
        old, new: descriptors of ours.
        seen: what was seen of `file` just now.

    Raises:
        OSError, Gone: as `Stop.inject`.
    """
    files, found = seen or see(stop.thread, file)
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


def _registrations(thread: int, files: list[tuple[int, str]], file: bytes) -> list[Registration]:
    inode = int(file.removeprefix(b"socket:[").removesuffix(b"]"))
    found = []
    for epoll, name in files:
        if name == EPOLL:
            with contextlib.suppress(OSError), open(f"/proc/{thread}/fdinfo/{epoll}") as info:
                for number, events, data, node in _ENTRY.findall(info.read()):
                    if int(node, 16) == inode:
                        entry = Registration(epoll, int(number), int(events, 16), int(data, 16))
                        found.append(entry)
    return found


def move(thread: int, found: list[Registration], old: int, new: int) -> None:
    """Make registrations of `old` the same ones of `new`; one that is gone by now is left so."""
    with contextlib.suppress(OSError):
        pidfd = open_pidfd(thread)
        try:
            for each in found:
                with contextlib.suppress(OSError):
                    _move(each, pidfd_getfd(pidfd, each.epoll), old, new)
        finally:
            os.close(pidfd)


def _move(entry: Registration, epoll: int, old: int, new: int) -> None:
    try:
        if os.readlink(f"/proc/self/fd/{epoll}") == EPOLL:
            _with_own_table(lambda: _exchange(entry, epoll, old, new))
    finally:
        os.close(epoll)


def _exchange(entry: Registration, epoll: int, old: int, new: int) -> None:
    number, above = entry.number, entry.number + 1
    event = _Event(entry.events, entry.data)
    epoll, old, new = (
        fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, above) for each in (epoll, old, new)
    )
    for file, what in (old, EPOLL_CTL_DEL), (new, EPOLL_CTL_ADD):
        os.dup2(file, number, inheritable=False)
        with contextlib.suppress(FileNotFoundError):  # it went with the last descriptor
            check(libc.epoll_ctl(epoll, what, number, ctypes.byref(event)))


def _with_own_table(call: Callable[[], None]) -> None:
    """Do `call` in a thread whose descriptors are copies of ours, and its own."""

    def run() -> None:
        with contextlib.suppress(OSError):
            check(libc.unshare(CLONE_FILES))
            call()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
