"""The thread that makes a trapped call: what is the same however the call was trapped."""

from __future__ import annotations

import errno
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping

from tesla_trace.kernel import namespaces, proc, rights
from tesla_trace.kernel.rights import Ids
from tesla_trace.kernel.thread import Threads
from tesla_trace.kernel.trap import Gone


class Caller(ABC):
    """The part of `trap.Stop` that asks and does nothing."""

    __slots__ = ("args", "call", "copied", "thread", "word", "_threads")

    def __init__(
        self, threads: Threads, thread: int, call: str, args: tuple[int, ...], word: int
    ) -> None:
        self._threads = threads
        self.thread = thread
        self.call = call
        self.args = args
        self.word = word
        self.copied = False

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """See `trap.Stop`."""

    def unfold(self, subcalls: Mapping[int, tuple[str, int]]) -> None:
        """Be the call that a socketcall(2) stands for, with its arguments as they are now.

        Raises:
            OSError, Gone: as `read` does.
        """
        which, address = self.args[:2]
        self.call, count = subcalls[which]
        words = struct.unpack(f"={count}I", self.read(address, 4 * count))
        self.args = words + (0,) * (6 - count)
        self.copied = True

    def process(self) -> int:
        try:
            return self._threads[self.thread].process
        except OSError:
            return self.thread

    def name(self) -> str:
        try:
            return self._threads[self.thread].name()
        except OSError:
            self._threads.forget(self.thread)  # the number may have passed to another thread
        return proc.name(self.thread)

    def file(self, fd: int) -> bytes | None:
        if fd < 0:
            return None
        try:
            return self._threads[self.thread].file(fd)
        except OSError:
            self._threads.forget(self.thread)  # the number may have passed to another thread
        try:
            return self._threads[self.thread].file(fd)
        except (FileNotFoundError, ProcessLookupError):
            return None

    def borrow(self, fd: int, file: bytes) -> int:
        return self._threads[self.thread].borrow(fd, file)

    def closes_on_exec(self, fd: int) -> bool:
        return proc.closes_on_exec(self.thread, fd)

    def standing(self) -> tuple[Ids, str, str]:
        try:
            return self._threads.standing(self.thread)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise Gone from error

    def groups(self) -> tuple[int, ...]:
        return rights.groups(self.thread)

    def network(self) -> int:
        return namespaces.of(self.thread)

    def lacks_rights(self) -> bool:
        try:
            return self._threads[self.thread].lacks_rights
        except OSError:
            return False

    def moving(self) -> None:
        self._threads.moving(self.process())

    def making_epoll(self) -> None:
        self._threads.making_epoll(self.thread)

    def epolls(self) -> list[int]:
        made = self._threads.epolls_made()
        return self._threads[self.thread].epolls(made) if made else []


def fault(error: OSError) -> OSError:
    """What the caller is to see of our trouble with its memory."""
    if error.errno in (errno.ESRCH, errno.ENOENT):
        return OSError(errno.EFAULT, "its memory is gone")
    return error
