"""A program that we start: its start, its stops, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

from tesla_trace.flow import Stack
from tesla_trace.io.datapath import Datapath
from tesla_trace.kernel import proc
from tesla_trace.kernel.filter import Rule
from tesla_trace.kernel.ledger import Ledger
from tesla_trace.kernel.libc import PR_SET_CHILD_SUBREAPER, prctl
from tesla_trace.kernel.limits import raise_limit
from tesla_trace.kernel.signals import Signals
from tesla_trace.kernel.spawn import spawn
from tesla_trace.kernel.thread import EPOLL
from tesla_trace.kernel.trap import Trap
from tesla_trace.report import Report
from tesla_trace.supervision.front import STARTED, STILL, STOPPED, FrontEnd, let_go
from tesla_trace.supervision.nesting import Nesting
from tesla_trace.supervision.supervisor import Supervisor
from tesla_trace.supervision.trapping import SECCOMP, Calls, Start, Trapping
from tesla_trace.syscalls import table
from tesla_trace.syscalls.foreign import adopt

if TYPE_CHECKING:
    from tesla_trace.summary import Summary

CONTINUED_STATUS = 0xFFFF
"""The wait status of a child that was continued."""

AWAKE = 0.05
"""Seconds in which a front that was continued with its program says so."""

GRACE = 0.25
"""Seconds that the end of the program may wait for its last bytes to be on their way."""


class Launch(Supervisor):
    """One program, from start to end.

    Args:
        trap: the back end, one of `trapping.TRAPS`.
        kill: with ptrace, let the program die when we do.
        stay: let the front wait until every process is gone and every byte has been delivered.
        others: as of `Supervisor`.

    Raises:
        FilterError, TraceError, ExecError: the program was not started.
    """

    def __init__(
        self,
        argv: list[str],
        stack: Stack,
        report: Report,
        signals: Signals,
        front: FrontEnd,
        *,
        stay: bool,
        trap: str = SECCOMP,
        kill: bool = False,
        strict: bool = False,
        datapath: Datapath = Datapath.AUTO,
        summary: Summary | None = None,
    ) -> None:
        super().__init__(
            stack, report, signals, front, strict=strict, datapath=datapath, summary=summary
        )
        self._stay = stay
        self._trap = trap
        self._kill = kill
        self._is_told = False
        """Whether the trap tells what becomes of the program."""
        self._end = front
        self._stops, self._stopped = 0, False
        self._awake = 0
        """The number of the last stop that the front came out of."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._pid = self._start(argv, front)
        adopt.count_connections(self.session, self._pid)
        self.listen()

    def _start(self, argv: list[str], front: FrontEnd) -> int:
        session = self.session
        rules = table.rules(session.stack, closed=session.closed)
        files = raise_limit()
        ours = (0, 1, 2, *front.inherited)
        session.strangers.inherit(ours, os.path.basename(argv[0]))
        adopted = adopt.adopt_before_start(session, ours)
        ends = {fd: each.pair.app.fileno() for fd, each in adopted.items() if each.pair.app}
        no_connects = session.handing.guard()
        nesting = Nesting(self.loop, session, rules, lambda: self._pid)
        self.serving.answer = nesting.serve
        start = partial(
            spawn,
            argv,
            signals=self.signals,
            group=front.group,
            files=files,
            places=ends,
            rules=no_connects,
            outer=nesting.name,
        )
        epolls = any(name == EPOLL for fd, name in proc.files(os.getpid()) if fd in ours)
        pid, trap = self.start(start, rules, epolls=epolls)
        for socket_of_theirs in adopted.values():
            socket_of_theirs.pair.given()
        self.say(STARTED, pid)
        self.serving.add(trap)
        let_go((0, 1, 2), front.inherited)
        if no_connects is not None:
            os.close(no_connects)
        return pid

    def start(self, start: Start, rules: list[Rule], *, epolls: bool) -> tuple[int, Trap]:
        """Start the program, so that its calls are trapped; gives its number, and the trap.

        Args:
            epolls: whether it may start with epoll descriptors.
        """
        trapping = Trapping(self.report.write, self._changed, self.keep, kill=self._kill)
        pid, trap = trapping.start(self._trap, start, rules, self.signals, epolls=epolls)
        self._is_told = trapping.tells
        return pid, trap

    def keep(self, pid: int, listener: int, calls: Calls, ledger: Ledger | None) -> None:
        """Let the keeper know of the program, before that runs: see `trapping.Trapping`."""
        if self._end.keeper is not None:
            file = -1 if ledger is None else ledger.file
            self._end.keeper.keep(listener, calls, ledger=file, program=pid, stay=self._stay)

    def child_changed(self) -> None:
        """Take the state of the program, and of orphans that it left to us."""
        if self._is_told:
            # But of its going on only once it runs, and a SIGCONT of ours would undo the next stop.
            # WNOWAIT, for what there is to hear is the trap's.
            if self._stopped and self._went_on(os.WNOWAIT):
                self._changed(CONTINUED_STATUS)
            return
        options = os.WNOHANG | os.WUNTRACED | os.WCONTINUED
        with contextlib.suppress(ChildProcessError):
            while (changed := os.waitpid(-1, options))[0]:
                pid, status = changed
                if pid == self._pid:
                    self._changed(status)

    def _went_on(self, option: int = 0) -> bool:
        """Whether the kernel has something to say of the program, so that it is in no stop."""
        with contextlib.suppress(ChildProcessError):
            options = os.WCONTINUED | os.WNOHANG | option
            return os.waitid(os.P_PID, self._pid, options) is not None
        return False

    def _changed(self, status: int) -> None:
        """The program has stopped, was continued, or has ended."""
        if os.WIFSTOPPED(status):
            if self._is_told:
                # By its first thread alone, which is held for this, so that it has no more to say.
                # Until the others have stopped, too, it is said to go on as after the stop before.
                self._went_on()
            self._stops, self._stopped = self._stops + 1, True
            if self._end.keeper is not None:
                self._end.keeper.stopped(self._stops)
            self.say(STOPPED, os.WSTOPSIG(status))
        elif os.WIFCONTINUED(status):
            if not self._stopped:
                return  # it has been told before
            self._stopped = False
            stop, soon = self._stops, self.loop.now() + AWAKE
            self.loop.at(soon, partial(self._wake_front, stop))
        else:
            self._ended(status)

    def _ended(self, status: int) -> None:
        self.status = status
        if self._end.keeper is not None:
            self._end.keeper.ended(status)
        if not self._stay:
            self.loop.at(self.loop.now() + GRACE, self.leave)

    def all_gone(self) -> None:
        """The listener hangs up while the last process still exits: wait until it has."""
        self.child_changed()
        if self.status is None:
            self.loop.at(self.loop.now() + 0.002, self.all_gone)
        else:
            self.finish()

    def signalled(self, number: int) -> None:
        """It is meant for the program."""
        if self.status is None:  # not reaped, so that the number is still its own
            with contextlib.suppress(OSError):
                os.kill(self._pid, number)

    # ---- the front ----

    def leaving(self) -> None:
        """It may be stopped, as the program was that has been killed."""
        if self._stopped or self._is_told:  # to take a stop for over is no harm here
            self._end.wake()

    def front_gone(self) -> None:
        """Who kills the front means the program."""
        self.signalled(signal.SIGKILL)

    def front_went_on(self, stop: int) -> None:
        """A shell continues the whole group; the program is in that stop if it was not meant."""
        self.child_changed()
        self._awake = stop
        if self._stopped and stop == self._stops:
            self.signalled(signal.SIGCONT)

    def front_asks(self, stop: int) -> None:
        """It is late, or the program is traced."""
        self.child_changed()
        if self._stopped and stop == self._stops:
            self.say(STILL, stop)

    def _wake_front(self, stop: int) -> None:
        """Unless the front went on by itself, somebody continued the program alone."""
        if stop == self._stops != self._awake:
            self._end.wake()
