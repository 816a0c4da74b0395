"""The process that the shell started: it stops, goes on and ends as the program does.

Facts of job control (setpgid(2), credentials(7)), and what they mean for us: Ctrl-Z stops a whole
process group, and what it stops must not be the flows of the program.  So the program is in the
front's group, which is the job that the shell knows, and the supervisor is in one of its own.  What
the terminal sends reaches the program by itself; what a process sends to the front is passed on.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import PR_SET_CHILD_SUBREAPER, prctl
from tesla_trace.kernel.signals import Signals, take
from tesla_trace.report import tell

if TYPE_CHECKING:
    from tesla_trace.keeper.channel import KeeperEnd

WORD = struct.Struct("=ii")
"""One message of the channel: what, and a number."""

STARTED, EXITED, STOPPED, SIGNALLED, CONTINUED, STILL = range(6)
"""From the supervisor: the program's number; its wait status; the signal that stopped it.  To it: a
signal for the program; that the stop of this number (counted from 1) is over for the front.  Both
ways: whether the program is still in the stop of this number, and that it is."""

STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
"""What a terminal sends to stop a job."""

TOGETHER = 0.02
"""Seconds in which a signal for the whole job has reached the program too."""

LOST = 125
"""Our exit status where the supervisor died: as env(1) and timeout(1) when they fail themselves."""


class FrontEnd(NamedTuple):
    """What the supervisor knows of the front."""

    channel: socket.socket
    group: int
    inherited: list[int]
    """The descriptors besides 0, 1 and 2 that are the program's and not ours."""
    process: int
    pidfd: int
    keeper: KeeperEnd | None = None
    """Whom to tell what is to be kept if we die."""

    def wake(self) -> None:
        """Continue the front, if it is still there."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGCONT)


def inherited() -> list[int]:
    """The descriptors, besides 0, 1 and 2, that we were started with, before any is our own."""
    return [fd for each in os.listdir("/proc/self/fd") if (fd := int(each)) > 2 and _stays(fd)]


def _stays(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:  # the one that listed them
        return False


def let_go(standard: Iterable[int], others: Iterable[int]) -> None:
    """Keep nobody waiting for the end of what the program reads and writes."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in standard:
        os.dup2(null, fd, inheritable=False)
    for fd in (null, *others):
        os.close(fd)


def kill_all(limit: float = 10.0) -> None:
    """End all processes below us, however often they fork; they become ours as they lose parents.

    Args:
        limit: seconds that the kernel may take.
    """
    end = time.monotonic() + limit
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < end:
            for process in proc.descendants(os.getpid()):
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            signal.sigtimedwait([signal.SIGCHLD], 0.01)


def run(supervise: Callable[[FrontEnd, Signals], int], *, alone: bool = False) -> NoReturn:
    """Fork the supervisor, and be the front.

    Args:
        alone: the program is not in our group, and what the terminal sends is for us.
        supervise: what the supervisor does; its result is the exit status where the program never
            ran.
    """
    theirs_alone = inherited()
    signals = Signals()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it is closed
        stream.flush()
    group, us, pidfd = os.getpgid(0), os.getpid(), os.pidfd_open(os.getpid())
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    pid = os.fork()
    if pid == 0:
        status = LOST
        try:
            ours.close()
            os.setpgid(0, 0)
            status = supervise(FrontEnd(theirs, group, theirs_alone, us, pidfd), signals)
        finally:
            os._exit(status)
    theirs.close()
    let_go((0, 1), theirs_alone)
    os.close(pidfd)
    _Front(pid, ours, signals, alone).run()


class _Front:
    def __init__(
        self, supervisor: int, channel: socket.socket, signals: Signals, alone: bool
    ) -> None:
        self._alone = alone
        self._supervisor = supervisor
        self._channel = channel
        self._signals = signals
        self._stops, self._stopped_by = 0, 0
        self._program = 0
        self._went_on: tuple[int, float] | None = None
        """The stop that we came out of, and when to say so."""

    def run(self) -> NoReturn:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._signals, select.POLLIN)
        while True:
            for fd, _ in poll.poll(self._say_late()):
                if fd == self._channel.fileno():
                    self._told()
                else:
                    self._signalled()

    def _say_late(self) -> float | None:
        """Say that we went on, once its time has come; the milliseconds that it has left.

        A shell continues the whole job, so the program too.  Were that said at once, the program
        might be continued once more on our behalf, a moment after the next Ctrl-Z.
        """
        if self._went_on is None:
            return None
        stop, time_to_say = self._went_on
        left = time_to_say - time.monotonic()
        if left > 0:
            return 1000 * left + 1
        self._went_on = None
        self._say(CONTINUED, stop)
        return None

    def _told(self) -> None:
        try:
            word = self._channel.recv(WORD.size)
        except ConnectionResetError:  # once, before the last words, where we were not heard
            return
        if not word:
            self._lost()
        what, value = WORD.unpack(word)
        if what == STARTED:
            self._program = value
        elif what == STOPPED:
            self._stops, self._stopped_by = self._stops + 1, value
            # The Ctrl-Z may have stopped us too, before we came out of the stop before; then we are
            # late, and the shell has continued both of us since.
            state = proc.state(self._program)
            if state == "T":
                take(value)
            elif state == "t":  # as one that is traced is at a call, too: who traces it knows
                self._say(STILL, self._stops)
        elif what == STILL:
            if value == self._stops:
                take(self._stopped_by)
        elif os.WIFSIGNALED(value):
            # One core file is enough, and it is the program's.
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            take(os.WTERMSIG(value))
            os._exit(128 + os.WTERMSIG(value))
        else:
            os._exit(os.WEXITSTATUS(value))

    def _signalled(self) -> None:
        for arrived in self._signals.read():
            if arrived.number == signal.SIGCHLD:
                continue  # the end of the channel tells
            if arrived.number == signal.SIGCONT:
                self._went_on = self._stops, time.monotonic() + TOGETHER
            elif self._alone and arrived.number in STOPS:
                take(arrived.number)
            elif self._alone or arrived.sent:
                self._say(SIGNALLED, arrived.number)

    def _say(self, what: int, value: int) -> None:
        with contextlib.suppress(OSError):  # whoever is gone may have said why, which is read next
            self._channel.send(WORD.pack(what, value))

    def _lost(self) -> NoReturn:
        """The supervisor has ended before the program was said to."""
        _, status = os.waitpid(self._supervisor, 0)
        if os.WIFSIGNALED(status):
            then = "trapped calls fail from now on" if self._alone else "so the program is, too"
            tell(f"the supervisor was killed, and its keeper; {then}")
            kill_all()
            os._exit(LOST)
        os._exit(os.WEXITSTATUS(status) or LOST)
