"""Signals as a descriptor that reads, and the state of signals that a program is started with.

Why all signals are blocked in the supervisor: see the facts in notify.py.
"""

from __future__ import annotations

import os
import signal
import struct
from typing import NamedTuple

from tesla_trace.kernel.libc import poll_once, signalfd

SI_USER = 0
SI_QUEUE = -1
SI_TKILL = -6

SIGINFO = struct.Struct("=IiiII")
SIGINFO_SIZE = 128
"""struct signalfd_siginfo: signo, errno, code, pid, uid …"""


class Arrived(NamedTuple):
    """A signal that was sent to this process."""

    number: int
    sent: bool
    """By a process (kill(2) and the like); otherwise by the kernel: the terminal, a child."""
    sender: int
    """The process that sent it."""


class Signals:
    """All signals of this process, from now on: blocked, and read from `fileno()`."""

    def __init__(self) -> None:
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        """The signals that were blocked already."""
        self._file = signalfd(signal.valid_signals())

    def fileno(self) -> int:
        """Readable when a signal is there."""
        return self._file

    def read(self) -> list[Arrived]:
        """The signals that have arrived since."""
        try:
            data = os.read(self._file, 16 * SIGINFO_SIZE)
        except BlockingIOError:
            return []
        arrived = []
        for start in range(0, len(data), SIGINFO_SIZE):
            number, _, code, sender, _ = SIGINFO.unpack_from(data, start)
            arrived.append(Arrived(number, code in (SI_USER, SI_QUEUE, SI_TKILL), sender))
        return arrived

    def without_children(self) -> int:
        """Leave SIGCHLD to another: a descriptor that reads it, where ours does no more."""
        others = signal.valid_signals() - {signal.SIGCHLD}
        signalfd(others, self._file)
        return signalfd({signal.SIGCHLD})

    def restore(self) -> None:
        """Block no more than before, in a child that is about to become another program.

        Python ignores SIGPIPE and SIGXFSZ, which exec would hand on.  How they stood before Python
        began is not to be known; they are set to what nearly every program is started with.
        """
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)


def take(number: int) -> None:
    """Let the signal do to this process what it does by default: stop it, or end it.

    It is not blocked only inside of ppoll(2).  Between two calls that change the mask, the next
    Ctrl-Z after a continue could stop us before we know that the program has stopped; and then its
    stop would stop us once more.
    """
    if number not in (signal.SIGSTOP, signal.SIGKILL):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    poll_once(signal.valid_signals() - {number})
