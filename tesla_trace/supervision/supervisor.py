"""The process beside the program: it answers its trapped calls, and moves its bytes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tesla_trace.flow import Stack
from tesla_trace.io.datapath import Datapath
from tesla_trace.io.loop import Loop
from tesla_trace.keeper.bequest import Bequest
from tesla_trace.kernel.libc import keep_freed_memory
from tesla_trace.kernel.signals import Signals
from tesla_trace.report import Report
from tesla_trace.supervision.front import CONTINUED, EXITED, SIGNALLED, WORD, FrontEnd
from tesla_trace.supervision.serving import Serving
from tesla_trace.syscalls.accounts import Accounts
from tesla_trace.syscalls.session import Session

if TYPE_CHECKING:
    from tesla_trace.summary import Summary


class Supervisor(ABC):
    """One program under one stack of handlers; how the program came to be is for a subclass.

    A subclass ends its own beginning with `listen`.

    Args:
        front: our end of the channel to the front.
        strict: refuse what would go past the handlers.
        datapath: the ways that bytes may take.
        summary: takes what happened, for the file of `--report`.
    """

    def __init__(
        self,
        stack: Stack,
        report: Report,
        signals: Signals,
        front: FrontEnd,
        *,
        strict: bool = False,
        datapath: Datapath = Datapath.AUTO,
        summary: Summary | None = None,
    ) -> None:
        keep_freed_memory()
        self.report = report
        self.signals = signals
        self.front: socket.socket | None = front.channel
        """None once the front has gone."""
        self.left = False
        """Whether the front has been told to return."""
        self.status: int | None = None
        """The wait status for the front to return, once it is known."""
        self.loop = Loop(self._failed)
        self.session = Session(
            self.loop, stack, report.write, report.raw, strict=strict, datapath=datapath
        )
        self.serving = Serving(self.loop, self.session, self.all_gone)
        self._summary = summary
        if summary is not None:
            self.session.accounts = Accounts(summary.keep)
        self.session.garbage.start()
        if front.keeper is not None:
            self.session.lasting = Bequest(self.loop, front.keeper).add

    def run(self) -> None:
        """Serve until the last process is gone and every byte has been delivered."""
        self.loop.run()

    def listen(self) -> None:
        """From now on hear signals, and the front."""
        assert self.front is not None
        self.loop.on_readable(self.signals.fileno(), self._signalled)
        self._hearing = self.loop.on_readable(self.front.fileno(), self._told)

    # ---- what happens to the program ----

    @abstractmethod
    def all_gone(self) -> None:
        """No process is left whose calls are trapped."""

    @abstractmethod
    def child_changed(self) -> None:
        """A child of ours stopped, went on or ended, or several did."""

    @abstractmethod
    def signalled(self, number: int) -> None:
        """Somebody sent us, or the front, a signal."""

    @abstractmethod
    def front_went_on(self, stop: int) -> None:
        """The front came out of the stop of this number."""

    @abstractmethod
    def front_asks(self, stop: int) -> None:
        """The front asks whether the program is still in the stop of this number."""

    @abstractmethod
    def front_gone(self) -> None:
        """The front has ended before it was to return."""

    def finish(self) -> None:
        """Deliver every byte, and end."""
        self.session.network.drain(self._finish)

    def leave(self) -> None:
        """Let the front return what the program returned."""
        if self.session.counted.changed:
            self.report.write(f"not covered: {self.session.counted.line()}")
        if not self.left and self.status is not None:
            self.left = True
            self._summarise()
            self.say(EXITED, self.status)
            self.leaving()
            self.report.hush()

    @abstractmethod
    def leaving(self) -> None:
        """The front has just been told to return."""

    def say(self, what: int, value: int) -> None:
        """Tell the front."""
        if self.front is not None:
            with contextlib.suppress(OSError):
                self.front.send(WORD.pack(what, value))

    def _failed(self, wrong: Exception) -> None:
        self.session.crashed("a callback", wrong)

    def _finish(self) -> None:
        self._summarise()
        self._summary = None
        self.leave()
        self.loop.stop()

    def _summarise(self) -> None:
        """Write the report as it is by now: once the program has ended, and when all is over."""
        accounts = self.session.accounts
        if self._summary is None or accounts is None or self.status is None:
            return
        status = os.waitstatus_to_exitcode(self.status)
        try:
            self._summary.write(status, accounts, self.session.counted.counts())
        except OSError as wrong:
            self.report.write(f"--report: {wrong.strerror}")

    def _signalled(self) -> None:
        for arrived in self.signals.read():
            if arrived.number == signal.SIGCHLD:
                self.child_changed()
            elif arrived.sent and arrived.sender != os.getpid():
                self.signalled(arrived.number)

    def _told(self) -> None:
        assert self.front is not None
        try:
            word = self.front.recv(WORD.size)
        except OSError:
            word = b""
        if word:
            what, value = WORD.unpack(word)
            hear = {SIGNALLED: self.signalled, CONTINUED: self.front_went_on}
            return hear.get(what, self.front_asks)(value)
        self._hearing.close()
        self.front.close()
        self.front = None
        if not self.left:
            self.front_gone()
