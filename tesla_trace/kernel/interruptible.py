"""Calls that any signal takes away, where the filter has no WAIT_KILLABLE_RECV.

Facts, and what they mean for us:

- Whether a filter has the flag is not to be asked.  But a thread that was given a descriptor
  (ADDFD) wakes up, and sleeps again: in state D where only a fatal signal may wake it, else in S.
  A descriptor that cannot be given, in the place of a number that there is not, does as well.
- A call that a signal takes away is made again after the handler (SA_RESTART), as a notification
  of its own, or says EINTR, and mostly the program makes it again itself.  By then it may have been
  done: bind(2) twice is EINVAL, what was received twice is lost.  So an answer that reaches nobody
  is kept for the thread, and with it what was written into its memory, until it makes the same call
  on the same file again.  The same is one whose registers are, and what they point at: or what was
  received would go to a buffer that is something else by now, and what is sent would be dropped.
  What another call finds kept is undone: a datagram is before the program again.
- The kernel takes an answer that comes between the signal and the thread's waking up, and forgets
  it.  A thread that sleeps has not been woken: so we look before.
- Of errors that is so for those of connect(2), which are told once, and EPIPE: the SIGPIPE that
  comes with it takes the call away.
- ADDFD and then SEND would leave the descriptor behind when a signal comes between them: so both
  in one.  Then SIGSTOP and the freezer, should they hit *us* in it, make the call return 0; other
  signals are blocked.
- Memory that the thread may be using again must not be written: so we make sure that the call
  still waits, right before.  A signal in the microseconds between is not to be helped.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tesla_trace.kernel import proc
from tesla_trace.kernel.notified import (
    ADDFD,
    ADDFD_SEND,
    ANSWER,
    IOCTL_ADDFD,
    IOCTL_ID_VALID,
    IOCTL_SEND,
    OVER,
    NotifyStop,
)
from tesla_trace.kernel.notified import ADDFD_SETFD as SETFD
from tesla_trace.kernel.trap import Gone

NOWHERE = 0xFFFFFFFF
"""More than RLIMIT_NOFILE can be."""

LOOKS = 2000
"""At a thread that has not fallen asleep yet: some 10 ms."""

STABLE = 3
"""Looks that a state must last: D is also that of a thread in a call that waits for our own."""

KEPT = 256
"""Threads for which an answer is kept."""


def is_killable(listener: int, id: bytes, thread: int) -> bool | None:
    """Whether only a fatal signal takes this call away; None if that cannot be said now."""
    with suppress(OSError):  # EBADF: there is no such number, or it is gone
        fcntl.ioctl(listener, IOCTL_ADDFD, bytearray(id + ADDFD.pack(SETFD, listener, NOWHERE, 0)))
    last, times = "", 0
    for _ in range(LOOKS):
        state = proc.state(thread)
        times = times + 1 if state == last else 1
        last = state
        if state in ("D", "S") and times >= STABLE:
            break
        os.sched_yield()
    try:
        fcntl.ioctl(listener, IOCTL_ID_VALID, id)
    except OSError:
        return None
    return {"D": True, "S": False}.get(last)


class InterruptibleStop(NotifyStop):
    """A call that any signal takes away."""

    __slots__ = ("found", "lost", "undo", "written")

    interruptible = True

    def __init__(self, *what: Any) -> None:
        super().__init__(*what)
        self.lost: Lost | None = None
        """Where its answer is kept if it comes too late."""
        self.written: Sequence[tuple[int, bytes]] = ()
        """What was put into the program's memory."""
        self.found: list[tuple[int, bytes]] = []
        """What was there."""
        self.undo: Callable[[], object] | None = None
        """What to do when the answer reaches nobody, and the call is not made again."""

    def read(self, address: int, size: int) -> bytes:
        data = super().read(address, size)
        self.found.append((address, data))
        return data

    def finds(
        self, pieces: Iterable[tuple[int, bytes]], written: Sequence[tuple[int, bytes]]
    ) -> bool:
        """Whether these pieces are in its memory, as they were or as we have changed them.

        Raises:
            Gone: the call is over.
        """
        try:
            return all(
                all(
                    map(_either, data, _changed(address, data, written), self._there(address, data))
                )
                for address, data in pieces
            )
        except OSError:
            return False

    def _there(self, address: int, data: bytes) -> bytes:
        return super().read(address, len(data))

    def write(self, address: int, data: bytes) -> None:
        self.write_many([(address, data)])

    def write_two(self, address: int, data: bytes, other: int, more: bytes) -> None:
        self.write_many([(address, data), (other, more)])

    def write_many(self, pieces: Sequence[tuple[int, bytes]]) -> None:
        self._confirm()
        super().write_many(pieces)
        self.written = [*self.written, *pieces]

    def give(self, fd: int, *, cloexec: bool) -> int:
        flags = os.O_CLOEXEC if cloexec else 0
        request = bytearray(self.id + ADDFD.pack(ADDFD_SEND, fd, 0, flags))
        try:
            given = int(fcntl.ioctl(self._listener, IOCTL_ADDFD, request))
            self._settle()
            return given
        except OSError as error:
            if error.errno in OVER:
                raise Gone from error
            raise

    def interrupted(self) -> bool:
        return False  # the kernel sees to it

    def unheard(self, undo: Callable[[], object]) -> None:
        self.undo = undo

    def reply(self, value: int = 0) -> None:
        self._answer(ANSWER.pack(value, 0, 0), keep=True)

    def fail(self, number: int) -> None:
        told = self.call == "connect" or number == errno.EPIPE
        self._answer(ANSWER.pack(0, -number, 0), keep=told)

    def _answer(self, answer: bytes, *, keep: bool) -> None:
        if not keep or self.lost is None or self.call not in self.lost.once:
            self.sent(answer)
            return
        self._rest()
        if not self.sent(answer):
            self.lost.keep(self, answer)

    def _rest(self) -> None:
        """Let a signal that has come take the call away: an answer would be lost."""
        for _ in range(LOOKS):
            if proc.state(self.thread) == "S" or not self.waiting():
                break
            os.sched_yield()

    def sent(self, answer: bytes) -> bool:
        """Answer; whether the caller gets it."""
        try:
            fcntl.ioctl(self._listener, IOCTL_SEND, self.id + answer)
        except OSError as error:
            if error.errno not in OVER:
                raise
            self._settle()
            return False
        self._settle()
        return True


class _Answer(NamedTuple):
    call: str
    args: tuple[int, ...]
    file: bytes
    answer: bytes
    written: Sequence[tuple[int, bytes]]
    found: Sequence[tuple[int, bytes]]
    undo: Callable[[], object] | None


class Lost:
    """Answers that reached nobody, of calls that must not be done twice.

    Args:
        once: their names; each is about the file of its first argument.
    """

    def __init__(self, once: Iterable[str]) -> None:
        self.once = frozenset(once)
        self._kept: OrderedDict[int, _Answer] = OrderedDict()

    def keep(self, stop: InterruptibleStop, answer: bytes) -> None:
        """The caller did not get this answer."""
        file = _file(stop)
        if file is not None:
            said = stop.call, stop.args, file
            kept = _Answer(*said, answer, stop.written, stop.found, stop.undo)
            if stop.thread in self._kept:
                _undo(self._kept.pop(stop.thread))
            self._kept[stop.thread] = kept
            if len(self._kept) > KEPT:
                _undo(self._kept.popitem(last=False)[1])

    def answers(self, stop: InterruptibleStop) -> bool:
        """Answer a call that comes again as before; whether it was one.

        The answer is forgotten once the thread does something else with that file.
        """
        kept = self._kept.get(stop.thread)
        if kept is None or _file(stop) != kept.file:
            return False
        del self._kept[stop.thread]
        try:
            if (stop.call, stop.args) != kept[:2] or not stop.finds(kept.found, kept.written):
                _undo(kept)
                return False
            if kept.written:
                stop.write_many(kept.written)
        except Gone:
            self._kept[stop.thread] = kept
        except OSError as wrong:
            stop.fail(wrong.errno or 0)
        else:
            if not stop.sent(kept.answer):
                self._kept[stop.thread] = kept
        return True


def _undo(kept: _Answer) -> None:
    if kept.undo is not None:
        kept.undo()


def _changed(address: int, data: bytes, written: Sequence[tuple[int, bytes]]) -> bytes:
    """What is there after that was written."""
    now = bytearray(data)
    for at, piece in written:
        start, end = max(at, address), min(at + len(piece), address + len(data))
        if start < end:
            now[start - address : end - address] = piece[start - at : end - at]
    return bytes(now)


def _either(one: int, other: int, byte: int) -> bool:
    return byte in (one, other)


def _file(stop: NotifyStop) -> bytes | None:
    """What the call is about."""
    try:
        fd = stop.args[0] & 0xFFFFFFFF
        return stop.file(fd if fd < 2**31 else -1)
    except OSError:
        return None
