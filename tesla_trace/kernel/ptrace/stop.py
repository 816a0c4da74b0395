"""A call that a thread is stopped at by ptrace(2).

A call goes through these: it has not begun; it is over, once others were injected in its place; and
in between it may be asleep, see asleep.py.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from tesla_trace.kernel import memory, pending
from tesla_trace.kernel.caller import Caller, fault
from tesla_trace.kernel.libc import pidfd_getfd
from tesla_trace.kernel.ptrace.asleep import fall_asleep, rouse
from tesla_trace.kernel.ptrace.give import give
from tesla_trace.kernel.ptrace.inject import Injection
from tesla_trace.kernel.ptrace.requests import CallInfo
from tesla_trace.kernel.ptrace.tracee import Tracee
from tesla_trace.kernel.thread import Threads
from tesla_trace.kernel.trap import Gone

R = TypeVar("R")


class Events(Protocol):
    """What a stop needs of the trap."""

    def of(self, thread: int) -> int:
        """The next wait status of a thread, once it is there; others are for later."""

    def ended(self, thread: int, status: int) -> None:
        """This thread has ended."""

    def replaced(self, thread: int) -> None:
        """This thread has ended, and one that has executed a program is stopped in its place."""

    def is_stopping(self, process: int) -> bool:
        """Whether a thread of that process is in a stop of all of it."""


class PtraceStop(Caller):
    """A call that waits for its answer; see `trap.Stop`."""

    __slots__ = ("_events", "_info", "_over", "_tracee", "asleep", "signal")

    interruptible = False
    makes = True

    def __init__(
        self,
        tracee: Tracee,
        threads: Threads,
        info: CallInfo,
        call: str,
        word: int,
        events: Events,
    ) -> None:
        args = info.args if word == 8 else tuple(arg & 0xFFFFFFFF for arg in info.args)
        super().__init__(threads, tracee.thread, call, args, word)
        self._tracee = tracee
        self._info = info
        self._over = False
        """Whether the call has ended, for others took its place."""
        self._events = events
        self.asleep: bytes = b""
        """The registers that the thread had before it was put to sleep; none if it was not."""
        self.signal = 0
        """What has woken it, and is to be delivered."""
        tracee.stop = self

    def read(self, address: int, size: int) -> bytes:
        return self._reached(lambda: memory.read(self.thread, address, size))

    def write(self, address: int, data: bytes) -> None:
        self._reached(lambda: memory.write(self.thread, address, data))

    def write_many(self, pieces: Sequence[tuple[int, bytes]]) -> None:
        self._reached(lambda: memory.write_many(self.thread, pieces))

    def write_two(self, address: int, data: bytes, other: int, more: bytes) -> None:
        self._reached(lambda: memory.write_two(self.thread, address, data, other, more))

    def _reached(self, reach: Callable[[], R]) -> R:
        """Of a thread that is traced the number passes to nobody else before we know of its end."""
        if not self.waiting():
            raise Gone
        try:
            return reach()
        except OSError as wrong:
            if wrong.errno in (errno.ESRCH, errno.ENOENT):
                raise Gone from wrong
            raise fault(wrong) from wrong

    def inject(self, fd: int, *, cloexec: bool, at: int | None = None) -> int:
        self._rouse()
        if not self.waiting():
            raise Gone
        pidfd = self._threads[self.thread].pidfd
        with self._injecting() as on:
            return give(on, pidfd, fd, cloexec=cloexec, at=at)

    def make(self, domain: int, kind: int) -> tuple[int, socket.socket]:
        pidfd = self._threads[self.thread].pidfd
        with self._injecting() as on:
            fd = on.call("socket", domain, kind, 0)
            try:
                return fd, socket.socket(fileno=pidfd_getfd(pidfd, fd))
            except OSError:
                on.call("close", fd)
                raise

    def take_back(self, fd: int) -> None:
        with suppress(OSError, Gone), self._injecting() as on:
            on.call("close", fd)

    @contextmanager
    def _injecting(self) -> Iterator[Injection]:
        on = _Injection(self._events, self.thread, begun=not self._over, signal=self.signal)
        self.signal = 0
        try:
            with on:
                self._over = True
                yield on
        except Gone:
            self._lost(on)
            raise

    def give(self, fd: int, *, cloexec: bool) -> int:
        number = self.inject(fd, cloexec=cloexec)
        self.reply(number)
        return number

    def waiting(self) -> bool:
        return self._tracee.stop is self

    def unheard(self, undo: Callable[[], object]) -> None:
        pass

    def held(self) -> None:
        if not self._over and not self.asleep and self.waiting():
            self.asleep = fall_asleep(self._tracee, self._info.audit)

    def interrupted(self) -> bool:
        if self.asleep:
            return self.signal != 0
        return pending.waits(self.thread) or self._events.is_stopping(self.process())

    def reply(self, value: int = 0) -> None:
        if self.asleep:
            self._rouse()
        if self._tracee.stop is self:
            self._tracee.answer(self._info.audit, value, over=self._over, signal=self.signal)

    def fail(self, number: int) -> None:
        self.reply(-number)

    def proceed(self) -> None:
        self._rouse()
        if not self.waiting():
            return
        if self._over:
            on = _Injection(self._events, self.thread, signal=self.signal)
            try:
                on.again(self._info.number)
            except Gone:
                return self._lost(on)
            self._tracee.passing = not self._tracee.everywhere
        self._tracee.stop = None
        self._tracee.go()

    def restart(self) -> None:
        self._rouse()
        if self.waiting():
            self._tracee.begin_again(
                self._info.audit, self._info.number, over=self._over, signal=self.signal
            )

    def _rouse(self) -> None:
        """Have it stopped again, as at the end of a call."""
        if not self.asleep or not self.waiting():
            return
        before, self.asleep = self.asleep, b""
        self._over = True
        if not self.signal:
            status = rouse(self._tracee, self._events.of)
            if status is None:
                return
            if status.ended is not None:
                return self._events.ended(self.thread, status.ended)
            if status.replaced:
                return self._events.replaced(self.thread)
            self.signal = status.signal
        self._tracee.restore(before)

    def _lost(self, on: Injection) -> None:
        if on.ended is not None:
            self._events.ended(self.thread, on.ended)
        elif on.replaced:
            self._events.replaced(self.thread)


class _Injection(Injection):
    """One in a program of which every thread is traced."""

    def __init__(self, events: Events, thread: int, *, begun: bool = False, signal: int) -> None:
        super().__init__(thread, begun=begun, signal=signal)
        self._events = events

    def _waited(self) -> int:
        return self._events.of(self.thread)
