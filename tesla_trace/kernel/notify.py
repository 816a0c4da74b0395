"""Trapping by seccomp user notification (seccomp_unotify(2)).

Facts about notification, and what they mean for us:

- A round trip is 46-52 µs where the scheduler moves the caller to another CPU, and a tenth of that
  with SYNC_WAKE_UP (Linux 6.6): so that flag is set where it is known, and one thread receives,
  decides and answers.
- RECV wants a zeroed buffer, and ignores O_NONBLOCK; before about 6.11 it waits for ever once the
  last process is gone: so there poll(2) comes first.  It says ENOENT when the call was gone by
  then.  `next` is only for when the listener has polled readable.
- The flags that a filter was loaded with do not show, but in how the first call waits: see
  interruptible.py.
- The registers of a 32-bit call are shown as they are in the 64-bit machine; the kernel looks at
  their lower halves.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import select
from collections.abc import Iterable, Mapping

from tesla_trace.kernel.arches import MULTIPLEXER, arches
from tesla_trace.kernel.interruptible import InterruptibleStop, Lost, is_killable
from tesla_trace.kernel.ledger import PLACE, Ledger
from tesla_trace.kernel.notified import (
    FLAG_SYNC_WAKE_UP,
    IOCTL_RECV,
    IOCTL_SET_FLAGS,
    NOTIFICATION,
    NotifyStop,
)
from tesla_trace.kernel.thread import Threads
from tesla_trace.kernel.trap import Gone

_ioctl = fcntl.ioctl


def _linux() -> tuple[int, int]:
    major, minor = re.match(r"(\d+)\.(\d+)", os.uname().release).groups()  # type: ignore[union-attr]
    return int(major), int(minor)


RECV_ENDS = _linux() >= (6, 11)
"""Whether RECV says ENOENT once the last process is gone, rather than wait for ever."""

_ZEROS = bytes(NOTIFICATION.size)


class NotifyTrap:
    """The calls that a filter sends to `listener`, which is ours from now on.

    Args:
        calls: by the audit architecture, the name of each call's number.
        epolls: whether the program may have started with epoll descriptors.
        once: calls that must not be done twice, should a signal keep their answer from the caller.
        ledger: where calls are written that wait for their answer.
    """

    def __init__(
        self,
        listener: int,
        calls: Mapping[int, Mapping[int, str]],
        *,
        epolls: bool = True,
        once: Iterable[str] = (),
        ledger: Ledger | None = None,
    ) -> None:
        self._listener = listener
        self._ledger = ledger
        self._written = ledger.last if ledger is not None else memoryview(bytearray(PLACE))
        self._last: NotifyStop | None = None
        self._kind: type[NotifyStop] | None = None
        """How its calls wait, once that is known."""
        self._lost = Lost(once)
        self._calls = calls
        self._arches = {arch.audit: arch for arch in arches()}
        self._wide = next((each.audit for each in self._arches.values() if each.word == 8), -1)
        self._wide_calls = calls.get(self._wide, {})
        self._threads = Threads()
        if epolls:
            self._threads.making_epoll(0)
        self._ready = select.poll()
        self._ready.register(listener, select.POLLIN)
        with contextlib.suppress(OSError):  # before Linux 6.6
            _ioctl(listener, IOCTL_SET_FLAGS, FLAG_SYNC_WAKE_UP)

    def fileno(self) -> int:
        return self._listener

    def next(self) -> NotifyStop | None:
        if not RECV_ENDS:
            self._look()
        last, self._last = self._last, None
        if last is not None and not last.answered and self._ledger is not None:
            self._ledger.keep(last)
        try:
            told = _ioctl(self._listener, IOCTL_RECV, _ZEROS)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINTR):
                raise
            self._look()
            return None
        assert isinstance(told, bytes)
        self._written[:] = told
        self._last = stop = self.received(told)
        return stop

    def linger(self) -> None:
        pass  # who sleeps is woken on the caller's own CPU, sooner than one that looks can see it

    def received(self, told: bytes) -> NotifyStop | None:
        """The call of a notification, by whomever it was received; None if it needs no answer."""
        words = NOTIFICATION.unpack(told)  # id, thread, flags, number, arch, ip, args
        kind = self._kind or self._find_out(told[:8], words[1])
        if words[4] != self._wide or words[3] not in self._wide_calls:
            return self._narrow(kind, told[:8], words)
        call = self._wide_calls[words[3]]
        listener, ledger = self._listener, self._ledger
        stop = kind(listener, self._threads, told[:8], words[1], call, words[6:], 8, ledger)
        return stop if kind is NotifyStop else self._afresh(stop)

    def unseen(self, id: bytes) -> NotifyStop | None:
        """A call of which nothing is known but its number, if somebody has received that."""
        stop = NotifyStop(self._listener, self._threads, id, 0, "", (0,) * 6, 8)
        return stop if stop.waiting() else None

    def _find_out(self, id: bytes, thread: int) -> type[NotifyStop]:
        killable = is_killable(self._listener, id, thread)
        kind = NotifyStop if killable else InterruptibleStop
        if killable is not None:
            self._kind = kind
        return kind

    def _narrow(
        self, kind: type[NotifyStop], id: bytes, words: tuple[int, ...]
    ) -> NotifyStop | None:
        """A call of a 32-bit program, or one that another makes as such a program does.

        One that is not ours to know, where the filter is not ours, is the kernel's.
        """
        arch = self._arches.get(words[4])
        call = None if arch is None else self._calls.get(arch.audit, {}).get(words[3])
        if arch is None or call is None:
            kind(self._listener, self._threads, id, words[1], "", words[6:], 8).proceed()
            return None
        args = tuple(word & 0xFFFFFFFF for word in words[6:])
        listener, ledger = self._listener, self._ledger
        stop = kind(listener, self._threads, id, words[1], call, args, arch.word, ledger)
        if call == MULTIPLEXER:
            try:
                stop.unfold(arch.subcalls)
            except Gone:
                return None
            except OSError as wrong:  # EPERM: as every call of a process that is not dumpable
                stop.fail(errno.EACCES if wrong.errno == errno.EPERM else wrong.errno or errno.EIO)
                return None
        return stop if kind is NotifyStop else self._afresh(stop)

    def _afresh(self, stop: NotifyStop) -> NotifyStop | None:
        """None for a call that was done before, and has been answered."""
        assert isinstance(stop, InterruptibleStop)
        stop.lost = self._lost
        return None if self._lost.answers(stop) else stop

    def close(self) -> None:
        self._last = None
        if self._ledger is not None:
            self._ledger.close()
        self._threads.close()
        os.close(self._listener)

    def _look(self) -> None:
        """Find out whether anybody is left."""
        for _, state in self._ready.poll(0):
            if not state & select.POLLIN:
                raise EOFError
