"""The process beside the program: it starts it, answers its trapped calls, and moves its bytes."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING

from tesla_trace.flow import Stack
from tesla_trace.front import EXITED, SIGNALLED, STARTED, STOPPED, WORD, FrontEnd, let_go
from tesla_trace.io.datapath import Datapath
from tesla_trace.io.loop import Loop
from tesla_trace.kernel import filter as filters
from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import PR_SET_CHILD_SUBREAPER, prctl
from tesla_trace.kernel.notify import NotifyTrap
from tesla_trace.kernel.signals import Signals
from tesla_trace.kernel.spawn import spawn
from tesla_trace.kernel.thread import EPOLL
from tesla_trace.kernel.trap import Trap
from tesla_trace.report import Report
from tesla_trace.syscalls import adopt, table
from tesla_trace.syscalls.accounts import Accounts
from tesla_trace.syscalls.session import Session

if TYPE_CHECKING:
    from tesla_trace.summary import Summary

AWAKE = 0.05
"""Seconds in which a front that was continued with its program says so."""

GRACE = 0.25
"""Seconds that the end of the program may wait for its last bytes to be on their way."""


class Supervisor:
    """One program under one stack of handlers, from start to end.

    Args:
        front: our end of the channel to the front.
        stay: let the front wait until every process is gone and every byte has been delivered.
        strict: refuse what would go past the handlers.
        datapath: the ways that bytes may take.
        summary: takes what happened, for the file of `--report`.

    Raises:
        FilterError, ExecError: the program was not started.
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
        strict: bool = False,
        datapath: Datapath = Datapath.AUTO,
        summary: Summary | None = None,
    ) -> None:
        self._report = report
        self._signals = signals
        self._front: socket.socket | None = front.channel
        self._stay = stay
        self._left = False
        self._status: int | None = None
        self._parent = os.getppid()
        self._stops, self._stopped = 0, False
        self._awake = 0
        """The number of the last stop that the front came out of."""
        self._loop = Loop(self._failed)
        self._session = Session(
            self._loop, stack, report.write, report.raw, strict=strict, datapath=datapath
        )
        self._summary = summary
        if summary is not None:
            self._session.accounts = Accounts(summary.keep)
        self._session.garbage.start()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        rules = table.rules(stack, closed=self._session.closed)
        files = _raise_limit()
        ours = (0, 1, 2, *front.inherited)
        self._session.strangers.inherit(ours, os.path.basename(argv[0]))
        adopted = adopt.adopt_before_start(self._session, ours)
        ends = {fd: each.pair.app.fileno() for fd, each in adopted.items() if each.pair.app}
        bpf = filters.build(rules)
        no_connects = self._session.handing.guard()
        self._pid, listener = spawn(argv, bpf, signals, front.group, files, ends, no_connects)
        for socket_of_theirs in adopted.values():
            socket_of_theirs.pair.given()
        self._say(STARTED, self._pid)
        epolls = any(name == EPOLL for fd, name in proc.files(os.getpid()) if fd in ours)
        self._trap: Trap = NotifyTrap(listener, filters.numbers(rules), epolls=epolls)
        let_go((0, 1, 2), front.inherited)
        if no_connects is not None:
            os.close(no_connects)
        adopt.count_connections(self._session, self._pid)
        self._loop.watch_trap(listener, self._trapped)
        self._loop.on_readable(signals.fileno(), self._signalled)
        self._hearing = self._loop.on_readable(front.channel.fileno(), self._told)

    def run(self) -> None:
        """Serve until the last process is gone and every byte has been delivered."""
        self._loop.run()

    def _failed(self, wrong: Exception) -> None:
        self._session.crashed("a callback", wrong)

    # ---- the program ----

    def _trapped(self) -> None:
        try:
            stop = self._trap.next()
        except EOFError:
            return self._all_gone()
        if stop is not None:
            table.serve(self._session, stop)

    def _signalled(self) -> None:
        for arrived in self._signals.read():
            if arrived.number == signal.SIGCHLD:
                self._reap()
            elif arrived.sent and arrived.sender != os.getpid():
                self._send(arrived.number)

    def _reap(self) -> None:
        """Take the state of the program, and of orphans that it left to us."""
        options = os.WNOHANG | os.WUNTRACED | os.WCONTINUED
        with contextlib.suppress(ChildProcessError):
            while (changed := os.waitpid(-1, options))[0]:
                pid, status = changed
                if pid != self._pid:
                    continue
                if os.WIFSTOPPED(status):
                    self._stops, self._stopped = self._stops + 1, True
                    self._say(STOPPED, os.WSTOPSIG(status))
                elif os.WIFCONTINUED(status):
                    self._stopped = False
                    stop, soon = self._stops, self._loop.now() + AWAKE
                    self._loop.at(soon, partial(self._wake_front, stop))
                else:
                    self._ended(status)

    def _ended(self, status: int) -> None:
        self._status = status
        if not self._stay:
            self._loop.at(self._loop.now() + GRACE, self._leave)

    def _all_gone(self) -> None:
        self._loop.forget_trap()
        self._session.end()
        self._trap.close()
        self._await_end()

    def _await_end(self) -> None:
        """The listener hangs up while the last process still exits: wait until it has."""
        self._reap()
        if self._status is None:
            self._loop.at(self._loop.now() + 0.002, self._await_end)
        else:
            self._session.network.drain(self._finish)

    def _finish(self) -> None:
        self._summarise()
        self._summary = None
        self._leave()
        self._loop.stop()

    def _summarise(self) -> None:
        """Write the report as it is by now: once the program has ended, and when all is over."""
        accounts = self._session.accounts
        if self._summary is None or accounts is None or self._status is None:
            return
        status = os.waitstatus_to_exitcode(self._status)
        try:
            self._summary.write(status, accounts, self._session.counted.counts())
        except OSError as wrong:
            self._report.write(f"--report: {wrong.strerror}")

    def _say_what_was_not_covered(self) -> None:
        if self._session.counted.changed:
            self._report.write(f"not covered: {self._session.counted.line()}")

    # ---- the front ----

    def _leave(self) -> None:
        """Let the front return what the program returned."""
        self._say_what_was_not_covered()
        if not self._left and self._status is not None:
            self._left = True
            self._summarise()
            self._say(EXITED, self._status)
            if self._stopped and os.getppid() == self._parent:
                os.kill(self._parent, signal.SIGCONT)  # killed while stopped, as the front still is
            self._report.hush()

    def _told(self) -> None:
        assert self._front is not None
        try:
            word = self._front.recv(WORD.size)
        except OSError:
            word = b""
        if word:
            return self._obey(*WORD.unpack(word))
        self._hearing.close()
        self._front.close()
        self._front = None
        if not self._left:
            self._send(signal.SIGKILL)  # who kills the front means the program

    def _obey(self, what: int, value: int) -> None:
        if what == SIGNALLED:
            return self._send(value)
        # A shell continues the whole group; only if the front alone was meant is the program still
        # in the stop that the front came out of.
        self._reap()
        self._awake = value
        if self._stopped and value == self._stops:
            self._send(signal.SIGCONT)

    def _wake_front(self, stop: int) -> None:
        """Unless the front went on by itself, somebody continued the program alone."""
        if stop == self._stops != self._awake and os.getppid() == self._parent:
            os.kill(self._parent, signal.SIGCONT)

    def _send(self, number: int) -> None:
        if self._status is None:  # not reaped, so that the number is still its own
            with contextlib.suppress(OSError):
                os.kill(self._pid, number)

    def _say(self, what: int, value: int) -> None:
        if self._front is not None:
            with contextlib.suppress(OSError):
                self._front.send(WORD.pack(what, value))


def _raise_limit() -> tuple[int, int]:
    """Allow ourselves as many descriptors as we may have: a flow takes two.

    Returns:
        What the program is to have.
    """
    before = _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return before
