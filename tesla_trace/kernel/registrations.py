"""What a program's epoll descriptors say of a file, and saying it of another.

Facts: registrations are kept by (file, number).  What they are stands in /proc/TID/fdinfo of the
epoll descriptor, a line for each, made anew whenever it is read: 10 ms where there are 10 000.
kcmp(2) tells in a hundredth of that whether a file is among them.  epoll_ctl looks the file up in
the table of its *caller*; so a thread of ours with a table of its own can move a registration, if
it has the old and the new file at the number that the program has them at.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import re
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import NamedTuple

from tesla_trace.kernel.arches import arches
from tesla_trace.kernel.libc import check, libc, number_of, pidfd_getfd
from tesla_trace.kernel.thread import EPOLL, open_pidfd

CLOSE_RANGE, CLOSE_RANGE_UNSHARE = 436, 2
"""Calls added since Linux 5.1 have the same number on every architecture."""
EPOLL_CTL_ADD, EPOLL_CTL_DEL = 1, 2

KCMP_EPOLL_TFD = 7
_SLOT = struct.Struct("=III")
"""struct kcmp_epoll_slot: the epoll, the number, and which of those with that number"""

SAME_NUMBER = 8
"""Files of one epoll that were registered with the same number, one after the other."""

ROOM = 64 * 1024
"""Bytes of fdinfo that are many."""

_ENTRY = r"(?m)^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+).*\sino:([0-9a-f]+)"


class Registration(NamedTuple):
    """A descriptor's registration with an epoll."""

    epoll: int
    """The epoll's descriptor in the program."""
    number: int
    events: int
    data: int


class TooMany(OSError):
    """The file is registered with an epoll that has very many."""


def find(
    thread: int, epolls: Iterable[int], fd: int, copy: int, *, patiently: bool
) -> list[Registration]:
    """All that is registered of a file.

    Args:
        epolls: the thread's epoll descriptors.
        fd: the thread's descriptor, `copy` ours of the same file.
        patiently: read even what may be long; else nothing must be registered under that number.

    Raises:
        TooMany: it was long, or might be.
        OSError: it is registered, and that could not be moved.
    """
    found: list[Registration] = []
    inode = os.fstat(copy).st_ino
    for epoll in epolls:
        if not patiently:
            if _is_registered(thread, epoll, fd, copy):
                raise TooMany(errno.E2BIG, os.strerror(errno.E2BIG))
            continue
        text = _text(thread, epoll)
        found += _entries(epoll, text, inode)
        if len(text) > ROOM:
            raise TooMany(errno.E2BIG, os.strerror(errno.E2BIG))
    if found:
        _apart()
    return found


def find_all(thread: int, files: Iterable[tuple[int, str]], file: bytes) -> list[Registration]:
    """All that is registered of a file, under any number, with the epolls among `files`."""
    inode = int(file.removeprefix(b"socket:[").removesuffix(b"]"))
    found: list[Registration] = []
    for epoll, name in files:
        if name == EPOLL:
            found += _entries(epoll, _text(thread, epoll), inode)
    return found


def _is_registered(thread: int, epoll: int, fd: int, copy: int) -> bool:
    for which in range(SAME_NUMBER):
        slot = _SLOT.pack(epoll, fd, which)
        words = (number_of("kcmp"), os.getpid(), thread, KCMP_EPOLL_TFD, copy, slot)
        result = libc.syscall(*words)
        if result == 0:
            return True
        if result < 0:
            return ctypes.get_errno() != errno.ENOENT  # a kernel that cannot say
    return True


def _text(thread: int, epoll: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{thread}/fdinfo/{epoll}") as info:
        return info.read()
    return ""


def _entries(epoll: int, text: str, inode: int) -> Iterator[Registration]:
    for number, events, data, node in re.findall(_ENTRY, text):
        if int(node, 16) == inode:
            yield Registration(epoll, int(number), int(events, 16), int(data, 16))


def move(thread: int, found: list[Registration], old: int, new: int) -> None:
    """Make registrations of `old` the same ones of `new`; one that is gone by now is left so."""
    if found:  # two threads of ours take turns for it, which takes longer than all else here
        with contextlib.suppress(OSError):
            _apart().do(lambda: _move(thread, found, old, new))


@functools.cache
def _apart() -> _Apart:
    return _Apart()


def _move(thread: int, found: list[Registration], old: int, new: int) -> None:
    """What is to be done in a table of descriptors of its own."""
    theirs, ours = open_pidfd(thread), os.pidfd_open(os.getpid())
    files = [pidfd_getfd(ours, old), pidfd_getfd(ours, new)]
    for entry in found:
        with contextlib.suppress(OSError):
            above = entry.number + 1
            epoll, last, next = (
                fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, above)
                for each in (pidfd_getfd(theirs, entry.epoll), *files)
            )
            if os.readlink(f"/proc/thread-self/fd/{epoll}") == EPOLL:
                _exchange(entry, epoll, last, next)


def _exchange(entry: Registration, epoll: int, old: int, new: int) -> None:
    event = struct.pack(arches()[0].epoll_event, entry.events, entry.data)
    for file, what in (old, EPOLL_CTL_DEL), (new, EPOLL_CTL_ADD):
        os.dup2(file, entry.number, inheritable=False)
        with contextlib.suppress(FileNotFoundError):  # it went with the last descriptor
            check(libc.epoll_ctl(epoll, what, entry.number, event))


class _Apart:
    """A thread of ours with a table of descriptors of its own, empty while it has nothing to do.

    A copy that it had would hide that the program closes a socket.

    Raises:
        OSError: there can be none.
    """

    def __init__(self) -> None:
        self.empty = False
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._done: SimpleQueue[bool] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()
        self._done.get()

        if not self.empty:
            raise OSError(errno.EPERM, "no thread may have descriptors of its own")

    def do(self, task: Callable[[], None]) -> None:
        """Have something done there, and wait until it is."""
        self._tasks.put(task)
        self._done.get()

    def _run(self) -> None:
        # Not unshare(2), which container engines refuse.
        self.empty = libc.syscall(CLOSE_RANGE, 0, ctypes.c_uint(-1), CLOSE_RANGE_UNSHARE) == 0
        while True:
            self._done.put(True)
            task = self._tasks.get()
            with contextlib.suppress(OSError):
                task()
            task = _nothing
            libc.syscall(CLOSE_RANGE, 0, ctypes.c_uint(-1), 0)


def _nothing() -> None: ...
