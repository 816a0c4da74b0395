"""Reaching into a thread of the program: its descriptors.

Facts about looking a descriptor up: a thread's number is not a process's (pidfd_open takes it only
with PIDFD_THREAD, from Linux 6.9); an open directory /proc/TID/fd stays bound to its thread, and
says ENOENT for ever when that thread is gone, even if another has got its number since.  Reading a
link in it takes 4 µs, by the full path 5.  An open /proc/TID/comm likewise says ESRCH; reading it
again from its start says what the name is then.

What it means for us: a `Thread` is kept for each of the threads met last; what it says is not
remembered, only the way to ask; but its namespaces are, which only its own setns(2) and unshare(2)
change.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import OrderedDict
from functools import cached_property
from itertools import chain

from tesla_trace.kernel import proc, rights
from tesla_trace.kernel.libc import pidfd_getfd
from tesla_trace.kernel.members import Members
from tesla_trace.kernel.rights import Ids

PIDFD_THREAD = os.O_EXCL

EPOLL = "anon_inode:[eventpoll]"
"""What an epoll descriptor is called in /proc/PID/fd."""

KEPT = 256
"""Threads kept; each costs up to three descriptors."""

NAME_ROOM = 64
"""TASK_COMM_LEN is 16, and a kernel thread's name may be longer."""

_NAMES = [b"%d" % number for number in range(1024)]


class Thread:
    """One thread.  What it raises when the thread is gone is for the caller to find out."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._fds = os.open(f"/proc/{number}/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._pidfd: int | None = None
        self._epolls: tuple[int, list[int]] | None = None
        self._comm: int | None = None
        self.seen: tuple[str, str] | None = None
        """The namespaces that it was in when it was last looked at."""

    def close(self) -> None:
        """Let go of what was opened."""
        os.close(self._fds)
        for fd in (self._pidfd, self._comm):
            if fd is not None:
                os.close(fd)

    @property
    def pidfd(self) -> int:
        """A pidfd of the thread.

        Raises:
            OSError: ESRCH, the thread is gone.
        """
        if self._pidfd is None:
            self._pidfd = open_pidfd(self.number)
        return self._pidfd

    def namespaces(self) -> tuple[str, str]:
        """Its user and its network namespace, by name; empty where they are not ours to know.

        Raises:
            OSError: ENOENT or ESRCH, the thread is gone.
        """
        try:
            self.seen = (
                os.readlink("../ns/user", dir_fd=self._fds),
                os.readlink("../ns/net", dir_fd=self._fds),
            )
        except PermissionError:
            return "", ""
        return self.seen

    @cached_property
    def process(self) -> int:
        """The process that the thread belongs to.

        Raises:
            OSError: the thread is gone.
        """
        return proc.process(self.number)

    @cached_property
    def lacks_rights(self) -> bool:
        """Whether its program's file gives rights, by set-uid or capabilities, that it has not."""
        file = f"/proc/{self.number}/exe"
        try:
            told = os.stat(file)
            if told.st_mode & stat.S_ISUID:
                return told.st_uid != rights.of(self.number, self.pidfd)[1].uid
            os.getxattr(file, "security.capability")
        except OSError:  # none, or not ours to see
            return False
        return not rights.capabilities(self.number)

    def name(self) -> str:
        """What the thread is called now.

        Raises:
            OSError: the thread is gone.
        """
        if self._comm is None:
            self._comm = os.open("../comm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fds)
        return os.pread(self._comm, NAME_ROOM, 0).decode("utf-8", "replace").rstrip("\n")

    def file(self, fd: int) -> bytes:
        """What a descriptor of the thread is: `socket:[INODE]` for a socket.

        Raises:
            OSError: ENOENT, the thread has no such descriptor, or is gone.
        """
        return os.readlink(_NAMES[fd] if fd < 1024 else b"%d" % fd, dir_fd=self._fds)

    def epolls(self, made: int) -> list[int]:
        """Its epoll descriptors, which are looked for where there may be others than the last time.

        Args:
            made: how often one was made by the program.
        """
        known = self._epolls
        if known is None or known[0] != made or not all(map(self._is_epoll, known[1])):
            files = proc.files(self.number)
            known = self._epolls = made, [fd for fd, name in files if name == EPOLL]
        return known[1]

    def _is_epoll(self, fd: int) -> bool:
        try:
            return self.file(fd) == EPOLL.encode()
        except OSError:
            return False

    def borrow(self, fd: int, file: bytes) -> int:
        """A copy of a descriptor of the thread; to be closed soon, for it keeps the file open.

        The program may change what its descriptor is at any time, so that is looked at in the copy.

        Raises:
            OSError: EBADF, it is not a descriptor of `file`; others as pidfd_getfd(2).
        """
        copy = pidfd_getfd(self.pidfd, fd)
        if b"socket:[%d]" % os.fstat(copy).st_ino != file:
            os.close(copy)
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return copy


class Threads:
    """The threads met last; one that calls again after its turn is over is opened again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Thread] = OrderedDict()
        self._moved: set[int] = set()
        self._epolls_made = 0
        self._making: set[int] = set()
        """The threads whose call that makes an epoll descriptor may not be over."""

    def __getitem__(self, number: int) -> Thread:
        """The thread of this number.

        Raises:
            OSError: there is none.
        """
        thread = self._kept.get(number)
        if thread is None:
            thread = self._kept[number] = Thread(number)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)[1].close()
        return thread

    def standing(self, number: int) -> tuple[Ids, str, str]:
        """Whose the thread is, and its namespaces, as they are now.

        Raises:
            OSError: ENOENT or ESRCH, it is gone.
        """
        try:
            return self._standing(number)
        except (FileNotFoundError, ProcessLookupError):
            self.forget(number)  # the number may have passed to another thread
        return self._standing(number)

    def _standing(self, number: int) -> tuple[Ids, str, str]:
        thread = self[number]
        process, ids = rights.of(number, thread.pidfd)
        seen = None if process in self._moved else thread.seen
        return ids, *(seen or thread.namespaces())

    def making_epoll(self, number: int) -> None:
        """A thread is about to make an epoll descriptor; 0 stands for one before our time."""
        self._epolls_made += 1
        self._making.add(number)

    def epolls_made(self) -> int:
        """How often one was made, or may have been; another number while a call may not be over."""
        if self._making:
            self._epolls_made += 1
            self._making = {each for each in self._making if proc.makes_epoll(each)}
        return self._epolls_made

    def moving(self, process: int) -> None:
        """A thread of the process is about to change its namespaces.

        The process, for a thread that executes another program takes its leader's number.
        """
        self._moved.add(process)

    def close(self) -> None:
        """Let go of all of them."""
        while self._kept:
            self._kept.popitem()[1].close()

    def forget(self, number: int) -> None:
        """Ask anew, the next time."""
        thread = self._kept.pop(number, None)
        if thread is not None:
            thread.close()


def borrow_from_anyone(file: bytes, members: Members) -> int:
    """A copy of a descriptor of `file` from whichever process of the program has one.

    A look at every descriptor of every one of them: for what happens seldom.

    Raises:
        OSError: EBADF, nobody has.
    """
    for process in chain(members.processes(), members.strays()):
        for number in proc.threads(process):  # each may have descriptors of its own
            with contextlib.suppress(OSError):
                thread = Thread(number)
                try:
                    for name in os.listdir(f"/proc/{process}/task/{number}/fd"):
                        if thread.file(int(name)) == file:
                            return thread.borrow(int(name), file)
                finally:
                    thread.close()
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def open_pidfd(thread: int) -> int:
    """A pidfd of a thread.

    Raises:
        OSError: the thread is gone.
    """
    try:
        return os.pidfd_open(thread, PIDFD_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.pidfd_open(proc.process(thread))
