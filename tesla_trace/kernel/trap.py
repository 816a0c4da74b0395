"""What a back end that traps system calls offers; the seccomp-notify one is in notify.py."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from tesla_trace.kernel.rights import Ids


class Gone(Exception):
    """The call that is spoken of is over: its thread died, or a signal took it away."""


class TraceError(Exception):
    """A thread cannot be traced.

    Args:
        tracer: who traces it already; 0 for nobody.
    """

    def __init__(self, error: int, tracer: int = 0) -> None:
        super().__init__(os.strerror(error))
        self.errno = error
        self.tracer = tracer


class Stop(Protocol):
    """One thread of the program, stopped at one system call, until it is answered once."""

    thread: int
    """The number of the thread, in our pid namespace."""
    call: str
    """The name of the system call."""
    args: tuple[int, ...]
    """The six arguments, as unsigned numbers as wide as the registers."""
    word: int
    """The bytes of a pointer in this call: 8, or 4 in one as 32-bit programs make it."""
    copied: bool
    """Whether `args` were read from the program's memory, as those of socketcall(2) on i386.

    They were only looked at here, so what the filter tests of registers may not hold for them.
    """
    interruptible: bool
    """Whether any signal takes the call away: then the thread runs on while we are still at it."""

    makes: bool
    """Whether the thread itself can `make` a socket, which is less work than to `give` it one."""

    def process(self) -> int:
        """The number of the process that the thread belongs to; the thread's if it is gone."""

    def name(self) -> str:
        """The thread's name, as `ps -o comm` shows it; empty if it is gone."""

    def file(self, fd: int) -> bytes | None:
        """What the thread's descriptor is, `socket:[INODE]` for a socket; None if there is none.

        Raises:
            OSError: EACCES, it is not ours to know: a process that is not dumpable (prctl(2)),
                and we have no CAP_SYS_PTRACE; EMFILE, we have no descriptor left to look with.
        """

    def borrow(self, fd: int, file: bytes) -> int:
        """A copy of the thread's descriptor, to be closed soon: it keeps the file open.

        Raises:
            OSError: EBADF: it is not, or no longer, a descriptor of `file`.
        """

    def closes_on_exec(self, fd: int) -> bool:
        """Whether the thread's descriptor has FD_CLOEXEC."""

    def standing(self) -> tuple[Ids, str, str]:
        """Whose the thread is, and its user and network namespaces as /proc/PID/ns names them.

        The names are empty where they are not ours to know: see `file`.

        Raises:
            Gone: the thread is over.
        """

    def groups(self) -> tuple[int, ...]:
        """The supplementary groups of the thread.

        Raises:
            OSError: it is gone.
        """

    def network(self) -> int:
        """An open file of the network namespace that the thread is in; the caller's to close.

        Raises:
            OSError: it is gone, or not ours to look into.
        """

    def lacks_rights(self) -> bool:
        """Whether the program's file is set-uid, or has capabilities, and the thread is without."""

    def moving(self) -> None:
        """The call is about to change the namespaces of the thread."""

    def making_epoll(self) -> None:
        """The call is about to give the thread an epoll descriptor."""

    def epolls(self) -> list[int]:
        """The epoll descriptors of the thread.

        Those that another process sent to it are known from when the next one is made.

        Raises:
            OSError: the thread is gone.
        """

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes of the program's memory, read while the call was certainly still stopped.

        Raises:
            OSError: EFAULT: it is not there.
            Gone: the call is over.
        """

    def write(self, address: int, data: bytes) -> None:
        """Put `data` into the program's memory.

        Raises:
            OSError: EFAULT: it cannot be written there.
            Gone: the call is over.
        """

    def write_many(self, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Put each of the pieces at its address, in their order; raises as `write`."""

    def write_two(self, address: int, data: bytes, other: int, more: bytes) -> None:
        """Put `data` at `address` and then `more` at `other`; raises as `write`."""

    def inject(self, fd: int, *, cloexec: bool, at: int | None = None) -> int:
        """Give the thread a copy of our `fd`, as the lowest free number or in place of `at`.

        Raises:
            OSError: EMFILE: the thread may have no more.
            Gone: the call is over.
        """

    def give(self, fd: int, *, cloexec: bool) -> int:
        """The call gives the thread a copy of our `fd`, as the lowest free number.

        Returns:
            That number.

        Raises:
            OSError, Gone: as `inject`; then the thread has nothing.
        """

    def make(self, domain: int, kind: int) -> tuple[int, socket.socket]:
        """Have the thread make a socket, in place of its call, where it `makes`.

        Returns:
            Its number in the thread, and a copy.

        Raises:
            OSError: as socket(2); then the thread has none.
            Gone: the call is over.
        """

    def take_back(self, fd: int) -> None:
        """Close what it has made; it is gone after all."""

    def held(self) -> None:
        """The call is not answered now, and may wait for long."""

    def unheard(self, undo: Callable[[], object]) -> None:
        """What to do should the answer reach nobody, where a signal takes the call away."""

    def waiting(self) -> bool:
        """Whether the call still waits for its answer."""

    def interrupted(self) -> bool:
        """Whether a signal is there for the thread that would end the call, were it the kernel's.

        A call that is held must look now and then: the back end keeps signals from the thread.
        """

    def reply(self, value: int = 0) -> None:
        """The call gives `value`."""

    def fail(self, number: int) -> None:
        """The call fails with this errno."""

    def proceed(self) -> None:
        """The kernel does the call as if nobody had looked.

        Only for calls that may be done on whatever the program makes of its descriptors and memory
        from now on.  Where `copied`, that is all of the arguments: the kernel reads them again, and
        they may have changed.  On a descriptor that is no danger, for another thread can as well
        make the descriptor mean something else; but a socket(2) would make whatever it wants.
        """

    def restart(self) -> None:
        """The call ends as by a signal: EINTR, or made again after the handler (SA_RESTART)."""


class Trap(Protocol):
    """A stream of stops."""

    def fileno(self) -> int:
        """Readable when `next` has something to say."""

    def next(self) -> Stop | None:
        """The next call that a thread stopped at; None if it was gone when we looked.

        Raises:
            EOFError: no process of the program is left.
        """

    def linger(self) -> None:
        """A call has been answered: the next may come so soon that it does not pay to sleep."""

    def close(self) -> None:
        """Let go.  Processes still there get ENOSYS for every call that was trapped."""
