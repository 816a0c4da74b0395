"""The process between the front and the supervisor, which waits for the latter's end.

Facts: what a process leaves behind when it dies goes to the nearest ancestor that asked for it
(PR_SET_CHILD_SUBREAPER).  So the keeper becomes the parent of the program, which makes its exit
status, its stops and its descriptors the keeper's to see; and it stays as long as any process of
the program does, also when the front has returned.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

from tesla_trace.keeper.answers import OnCrash
from tesla_trace.keeper.bequest import Bequeathed
from tesla_trace.keeper.channel import KeeperEnd, hear
from tesla_trace.keeper.keeping import Keeping, Kept
from tesla_trace.keeper.standin import wake_servers
from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import PR_SET_CHILD_SUBREAPER, prctl
from tesla_trace.kernel.signals import Signals
from tesla_trace.report import Report
from tesla_trace.supervision.front import (
    CONTINUED,
    EXITED,
    LOST,
    SIGNALLED,
    STARTED,
    STILL,
    STOPPED,
    WORD,
    FrontEnd,
    kill_all,
    let_go,
)

SAID = {
    OnCrash.OPEN: "connections through it are lost, servers serve no more, new sockets are native",
    OnCrash.CLOSED: "connections through it are lost, and the program has no network any more",
    OnCrash.KILL: "so the program is killed",
}

SAID_OF_TRACED = {
    OnCrash.OPEN: "connections through it are lost, and what it traced is on its own, with no new"
    " sockets where that is under our filter",
    OnCrash.CLOSED: "so the program that it traced is killed",
    OnCrash.KILL: "so the program is killed",
}
"""By ptrace there is nothing to keep."""


Supervise = Callable[[FrontEnd, Signals], int]


def kept(supervise: Supervise, report: Report, policy: OnCrash) -> Supervise:
    """What `front.run` is to run, so that a keeper stands between."""

    def keep(front: FrontEnd, signals: Signals) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            status = LOST
            try:
                ours.close()
                os.setpgid(0, 0)
                status = supervise(front._replace(keeper=KeeperEnd(theirs)), signals)
            finally:
                os._exit(status)
        theirs.close()
        return _Keeper(pid, ours, front, report, policy).run()

    return keep


class _Keeper:
    """Waits for the end of the supervisor, and acts on it.

    Args:
        supervisor: a child of ours.
        channel: our end of what it has as `KeeperEnd`.
        front: a copy of what it has.
    """

    def __init__(
        self,
        supervisor: int,
        channel: socket.socket,
        front: FrontEnd,
        report: Report,
        policy: OnCrash,
    ) -> None:
        self._supervisor = supervisor
        self._channel = channel
        self._front: FrontEnd | None = front
        self._signals = Signals()  # of our own, for the supervisor may change what its reads
        self._report = report
        self._policy = policy
        self._kept: dict[int, Kept] = {}
        self._program = 0
        self._stay = False
        self._stops, self._stopped = 0, False
        self._status: int | None = None
        self._poll = select.poll()
        self._ends = Bequeathed(self._poll)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        let_go((0, 1, 2), front.inherited)
        os.chdir("/")

    def run(self) -> int:
        """Wait, and keep the program if need be; the status to exit with."""
        status = os.waitstatus_to_exitcode(self._await_end())
        if status == 0:  # it wanted to: what it left, if anything, is to go on
            self._policy = OnCrash.OPEN
        elif status > 0 and status != LOST:
            return status  # the program never ran
        else:
            what = f"was killed by signal {-status}" if status < 0 else "failed"
            known = self._kept or self._program
            said = SAID if self._kept else SAID_OF_TRACED
            then = f"; {said[self._policy]}" if known else ""
            self._report.write(f"the supervisor {what}{then}")
            if not known:
                return LOST
            if self._policy is OnCrash.KILL:
                kill_all()
        self._keep()
        return LOST if self._policy is OnCrash.KILL else 0

    # ---- while the supervisor lives ----

    def _await_end(self) -> int:
        """Hear of traps, until the supervisor is dead.

        Returns:
            Its wait status.
        """
        pidfd = os.pidfd_open(self._supervisor)
        self._poll.register(pidfd, select.POLLIN)
        self._poll.register(self._channel, select.POLLIN)
        self._watch_front(0)
        over = False
        while not over:
            for fd, state in self._poll.poll():
                if fd == pidfd:
                    over = True
                elif fd == self._channel.fileno():
                    self._hear()
                elif fd in self._kept:
                    self._poll.unregister(fd)
                    self._kept.pop(fd).close()
                elif not self._ends.serve(fd, state):
                    self._front_gone()
        while self._channel.fileno() >= 0:
            self._hear()
        self._poll.unregister(pidfd)
        for fd in self._kept:
            self._poll.unregister(fd)
        return os.waitpid(self._supervisor, 0)[1]

    def _hear(self) -> None:
        try:
            told = hear(self._channel)
        except OSError:
            told = None
        if told is None:
            self._poll.unregister(self._channel)
            self._channel.close()
            return
        if told.kept is not None:
            self._kept[told.kept.listener] = told.kept
            self._poll.register(told.kept.listener, 0)  # it hangs up when nobody is left
        if told.program:
            self._program, self._stay = told.program, told.stay
        for end in told.ends:
            self._ends.add(end)
        if told.status is not None:
            self._status = told.status
        if told.stops is not None:
            self._stops = told.stops

    def _watch_front(self, events: int) -> None:
        if self._front is not None:
            self._poll.register(self._front.channel, events)

    def _front_gone(self) -> None:
        if self._front is not None:
            self._poll.unregister(self._front.channel)
            self._front.channel.close()
            self._front = None
            self._report.hush()

    # ---- when it is dead ----

    def _keep(self) -> None:
        keeping = Keeping(self._policy, self._poll)
        for each in self._kept.values():
            keeping.take_over(each)
        self._ends.take_over()
        if self._policy is not OnCrash.KILL:
            wake_servers()
        self._signals.read()  # what was sent before was not meant for the program
        self._poll.register(self._signals, select.POLLIN)
        self._watch_front(select.POLLIN)
        if self._program:
            self._tell(STARTED, self._program)  # in case that who died has not
            self._stopped = proc.is_stopped(self._program)
        self._children_changed()
        if self._front is None:  # who killed it meant the program
            self._send(signal.SIGKILL)
        elif not self._program or self._policy is OnCrash.KILL:
            self._exited(LOST << 8)
        while not keeping.over or self._runs:
            if self._status is not None and (keeping.over or not self._stay):
                self._exited(self._status)
            ready = self._poll.poll(keeping.wait())
            keeping.serve(ready)
            for fd, state in ready:
                self._ends.serve(fd, state)
                if fd == self._signals.fileno():
                    self._signalled()
                elif self._front is not None and fd == self._front.channel.fileno():
                    self._told()
        if self._status is not None:
            self._exited(self._status)

    @property
    def _runs(self) -> bool:
        """Whether the program has not ended, and is ours to wait for."""
        return self._program != 0 and self._status is None

    def _exited(self, status: int) -> None:
        """Let the front return."""
        self._program, self._status = 0, None
        self._tell(EXITED, status)
        if self._front is not None:
            self._front.wake()

    def _tell(self, what: int, value: int) -> None:
        if self._front is not None:
            with suppress(OSError):
                self._front.channel.send(WORD.pack(what, value))

    def _children_changed(self) -> None:
        options = os.WNOHANG | os.WUNTRACED | os.WCONTINUED
        try:
            while (changed := os.waitpid(-1, options))[0]:
                pid, status = changed
                if pid != self._program:
                    continue
                if os.WIFSTOPPED(status):
                    self._stops, self._stopped = self._stops + 1, True
                    self._tell(STOPPED, os.WSTOPSIG(status))
                elif os.WIFCONTINUED(status):
                    self._stopped = False
                    self._front_is_to_go_on()
                else:
                    self._status = status
        except ChildProcessError:  # it is not ours, or has been waited for by who died
            if self._runs:
                self._exited(LOST << 8)

    def _front_is_to_go_on(self) -> None:
        """Somebody continued the program, and perhaps not the front."""
        if self._front is not None and proc.is_stopped(self._front.process):
            self._front.wake()

    def _signalled(self) -> None:
        for arrived in self._signals.read():
            if arrived.number == signal.SIGCHLD:
                self._children_changed()
            elif arrived.sent and arrived.sender != os.getpid():
                self._send(arrived.number)

    def _told(self) -> None:
        assert self._front is not None
        try:
            word = self._front.channel.recv(WORD.size)
        except OSError:
            word = b""
        if not word:
            self._front_gone()
            return self._send(signal.SIGKILL)  # who kills the front means the program
        what, value = WORD.unpack(word)
        if what == SIGNALLED:
            self._send(value)
        elif what == CONTINUED:
            self._children_changed()  # or a stop since then would be undone
            if self._stopped and value == self._stops:
                self._send(signal.SIGCONT)  # the front alone was continued, from this very stop
        elif what == STILL:
            self._children_changed()
            if self._stopped and value == self._stops:
                self._tell(STILL, value)

    def _send(self, number: int) -> None:
        if self._runs:  # not reaped, so that the number is still the program's
            with suppress(OSError):
                os.kill(self._program, number)
