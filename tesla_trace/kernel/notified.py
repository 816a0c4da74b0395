"""One call that seccomp user notification has stopped (seccomp_unotify(2)), and its answer.

Facts about notification, and what they mean for us:

- With WAIT_KILLABLE_RECV only a fatal signal ends a call that was received, so that writing to the
  memory of a program that waits is safe.  But it also keeps signals from a call held for long:
  see `interrupted`.  Without it any signal does: see interruptible.py.
- ADDFD with SEND in one can give the caller 0, its stdin, when a signal or SIGSTOP hits *us* in it:
  so ADDFD comes first, and then SEND; and the thread keeps all signals blocked.
- Answering -ERESTARTSYS makes the kernel do for a pending signal exactly what it does natively.
  With none pending *for that thread* the program would see errno 512.
- The number in a notification is a thread's, and what is read through it is only known to be the
  caller's if the notification is still valid afterwards.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Sequence

from tesla_trace.kernel import memory, pending, proc
from tesla_trace.kernel.caller import Caller, fault
from tesla_trace.kernel.ledger import Ledger
from tesla_trace.kernel.thread import Threads
from tesla_trace.kernel.trap import Gone

# linux/seccomp.h: struct seccomp_notif; seccomp_notif_resp and seccomp_notif_addfd behind their id
NOTIFICATION = struct.Struct("=QIIiIQ6Q")
ANSWER = struct.Struct("=qiI")
ADDFD = struct.Struct("=IIII")

IOCTL_RECV = 0xC0502100
IOCTL_SEND = 0xC0182101
IOCTL_ID_VALID = 0x40082102
IOCTL_ADDFD = 0x40182103
IOCTL_SET_FLAGS = 0x40082104

FLAG_CONTINUE = 1
FLAG_SYNC_WAKE_UP = 1
ADDFD_SETFD = 1
ADDFD_SEND = 2

OVER = frozenset({errno.ENOENT, errno.EINPROGRESS, errno.ESRCH})
"""What ioctls say of a call that is over: gone, answered before, or gone meanwhile."""

ERESTARTSYS = 512

_DONE = ANSWER.pack(0, 0, 0)
_CONTINUE = ANSWER.pack(0, 0, FLAG_CONTINUE)
_ioctl = fcntl.ioctl


class NotifyStop(Caller):
    """A call that waits for its answer; see `trap.Stop`."""

    __slots__ = ("answered", "id", "place", "_given", "_ledger", "_listener", "_slept")

    interruptible = False
    makes = False

    def __init__(
        self,
        listener: int,
        threads: Threads,
        id: bytes,
        thread: int,
        call: str,
        args: tuple[int, ...],
        word: int,
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__(threads, thread, call, args, word)
        self.answered = False
        self.place = 0
        self._ledger = ledger
        self._listener = listener
        self.id = id
        self._given = self._slept = False

    def read(self, address: int, size: int) -> bytes:
        try:
            data = memory.read(self.thread, address, size)
        except OSError as error:
            self._confirm()
            raise fault(error) from error
        self._confirm()
        return data

    def write(self, address: int, data: bytes) -> None:
        try:
            memory.write(self.thread, address, data)
        except OSError as error:
            self._confirm()
            raise fault(error) from error

    def write_many(self, pieces: Sequence[tuple[int, bytes]]) -> None:
        try:
            memory.write_many(self.thread, pieces)
        except OSError as error:
            self._confirm()
            raise fault(error) from error

    def write_two(self, address: int, data: bytes, other: int, more: bytes) -> None:
        try:
            memory.write_two(self.thread, address, data, other, more)
        except OSError as error:
            self._confirm()
            raise fault(error) from error

    def inject(self, fd: int, *, cloexec: bool, at: int | None = None) -> int:
        flags = os.O_CLOEXEC if cloexec else 0
        how, number = (0, 0) if at is None else (ADDFD_SETFD, at)
        # A bytearray, for with bytes Python gives those back and not the descriptor.
        request = bytearray(self.id + ADDFD.pack(how, fd, number, flags))
        self._given = True
        try:
            return int(_ioctl(self._listener, IOCTL_ADDFD, request))
        except OSError as error:
            if error.errno in OVER:
                raise Gone from error
            raise

    def give(self, fd: int, *, cloexec: bool) -> int:
        number = self.inject(fd, cloexec=cloexec)
        self.reply(number)
        return number

    def make(self, domain: int, kind: int) -> tuple[int, socket.socket]:
        raise NotImplementedError

    def take_back(self, fd: int) -> None:
        raise NotImplementedError

    def held(self) -> None:
        pass

    def unheard(self, undo: Callable[[], object]) -> None:
        pass

    def waiting(self) -> bool:
        try:
            _ioctl(self._listener, IOCTL_ID_VALID, self.id)
        except OSError:
            return False
        return True

    def interrupted(self) -> bool:
        if not self._given:
            state = proc.state(self.thread)
            self._slept = self._slept or state == pending.ASLEEP
            if state != pending.WOKEN or self._slept:
                return state == pending.WOKEN
        return pending.interrupts(self.thread)

    def reply(self, value: int = 0) -> None:
        self._send(ANSWER.pack(value, 0, 0) if value else _DONE)

    def fail(self, number: int) -> None:
        self._send(ANSWER.pack(0, -number, 0))

    def proceed(self) -> None:
        self._send(_CONTINUE)

    def restart(self) -> None:
        self._send(ANSWER.pack(0, -ERESTARTSYS, 0))

    def _send(self, answer: bytes) -> None:
        try:
            _ioctl(self._listener, IOCTL_SEND, self.id + answer)
        except OSError as error:
            if error.errno not in OVER:
                raise
            # Nobody minds.
        self._settle()

    def _settle(self) -> None:
        """Owe it no answer any more."""
        self.answered = True
        if self.place and self._ledger is not None:
            self._ledger.drop(self)

    def _confirm(self) -> None:
        if not self.waiting():
            raise Gone
