"""Processes that run already: they are put under the handlers, and let go again.

Facts: a process that is started while we look is below one that we have attached to, and then
under the same filter; or its parent was not attached to yet, and then it is found when we look
below that.  A process whose parent ends is below nobody that we look at.  A filter that one has
which was older than our coming to its parent is not ours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tesla_trace.flow import Stack
from tesla_trace.io.datapath import Datapath
from tesla_trace.kernel import filter as filters
from tesla_trace.kernel import proc
from tesla_trace.kernel.ledger import Ledger
from tesla_trace.kernel.limits import raise_limit
from tesla_trace.kernel.members import Joined
from tesla_trace.kernel.notify import NotifyTrap
from tesla_trace.kernel.ptrace.attach import nudge, trace
from tesla_trace.kernel.ptrace.installing import install_in
from tesla_trace.kernel.ptrace.stopping import let_go
from tesla_trace.kernel.ptrace.trap import PtraceTrap
from tesla_trace.kernel.signals import Signals
from tesla_trace.report import Report
from tesla_trace.supervision import front as fronts
from tesla_trace.supervision.detach import GRACE, LOOK, Detach
from tesla_trace.supervision.front import FrontEnd
from tesla_trace.supervision.rendezvous import DETACH, Rendezvous
from tesla_trace.supervision.supervisor import Supervisor
from tesla_trace.supervision.target import (
    Unattachable,
    check,
    has_filter_of_its_own,
    label,
    why_not_allowed,
)
from tesla_trace.supervision.trapping import AUTO, PTRACE
from tesla_trace.syscalls import table
from tesla_trace.syscalls.foreign.survey import Survey, count

if TYPE_CHECKING:
    from tesla_trace.summary import Summary

RING = "anon_inode:[io_uring]"
"""What a ring is called in /proc/PID/fd."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that mean: let go."""

TICKS = os.sysconf("SC_CLK_TCK")
"""A second, as /proc/PID/stat has it."""

ROUNDS = 10
"""Looks for processes that are new; one that starts processes without end has orphans anyway."""


class Taken(Unattachable):
    """Its calls go to another supervisor."""


class Attach(Supervisor):
    """One process that runs, or with `tree` all that are below it, too, from now on.

    Args:
        trap: the back end, one of `trapping.TRAPS`.
        grace: seconds that connections may take to be over when it is let go.
        others: as of `Supervisor`.

    Raises:
        Unattachable: nothing was done.
    """

    def __init__(
        self,
        process: int,
        stack: Stack,
        report: Report,
        signals: Signals,
        front: FrontEnd,
        *,
        tree: bool,
        trap: str = AUTO,
        grace: float = GRACE,
        strict: bool = False,
        datapath: Datapath = Datapath.AUTO,
        summary: Summary | None = None,
    ) -> None:
        super().__init__(
            stack, report, signals, front, strict=strict, datapath=datapath, summary=summary
        )
        self.status = 0
        self._keeper = front.keeper
        self._ours = os.getpid(), os.getppid(), front.process
        self._grace = grace
        self._trap = trap
        self._is_traced = False
        """Whether by ptrace."""
        self._detach: Detach | None = None
        self._places: list[Rendezvous] = []
        self._since: dict[int, int] = {}
        """When we came to each, in the ticks of `proc.started`: its children since are served."""
        self._askers: list[socket.socket] = []
        """Who waits to be told that they are let go."""
        raise_limit()
        self._members = self.session.members = Joined()
        if self.session.closed:
            self.session.handing.why_not = "the program ran before us, and Landlock cannot be had"
        rules = table.rules(stack, closed=self.session.closed)
        self._rules, self._numbers = rules, filters.numbers(rules)
        process = _leader(process)
        self._attach(process)
        more = list(self._attach_below(process)) if tree else []
        survey = Survey(self.session)
        for each in (process, *more):
            nudge(each)
            survey.look(each)
        fronts.let_go((0, 1), front.inherited)
        self.listen()
        also = f" and {len(more)} more" if more else ""
        self._label = f"{label(process)}{also}"
        report.write(f"attached to {self._label}: {survey}")

    def _attach(self, process: int) -> None:
        """Serve the calls of a process from now on.

        Raises:
            Unattachable: nothing was done.
        """
        now = int(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS)
        check(process, self._ours)
        self._since[process] = now
        if self._is_traced or self._trap == PTRACE:
            return self._trace(process, "")
        first = not self._members.processes()
        if self._trap == AUTO and first and has_filter_of_its_own(process):
            return self._trace(process, " (it has a filter, which might kill it for a new one)")
        try:
            listener = install_in(process, self._filter(process))
        except PermissionError:
            raise Unattachable(why_not_allowed(process)) from None
        except ProcessLookupError:
            raise Unattachable(f"{process} ended meanwhile") from None
        except TimeoutError:
            raise Unattachable(f"{label(process)} does not stop: it waits in the kernel") from None
        except OSError as wrong:
            if self._trap == AUTO and first:
                return self._trace(process, f" (no seccomp: {_why(wrong)})")
            kind = Taken if wrong.errno == errno.EBUSY else Unattachable
            raise kind(f"{label(process)}: {_why(wrong)}") from None
        self._served(process)
        ledger = Ledger()
        if self._keeper is not None:
            self._keeper.keep(listener, self._numbers, ledger=ledger.file)
        self.serving.add(NotifyTrap(listener, self._numbers, ledger=ledger))

    def _served(self, process: int) -> None:
        self._members.add(process)
        try:
            self._places.append(Rendezvous(self.loop, process, self._asked))
        except OSError as wrong:
            if wrong.errno == errno.EADDRINUSE:
                self.report.write(f"--detach {process} will not find us: somebody has the name")

    def _trace(self, process: int, why: str) -> None:
        """The same by ptrace, where there can be no filter of ours."""
        try:
            trace(process)
        except PermissionError:
            raise Unattachable(why_not_allowed(process)) from None
        except OSError:
            raise Unattachable(f"{process} ended meanwhile") from None
        self._served(process)
        if not self._is_traced:
            self._is_traced = True
            self.report.write(f"trapping by ptrace, which stops at every system call{why}")
            self.serving.add(
                PtraceTrap(
                    process,
                    self._rules,
                    self.signals.without_children(),
                    lambda status: None,
                    everywhere=True,
                )
            )

    def _filter(self, process: int) -> bytes:
        """The program of the filter; whoever uses a ring of io_uring cannot do without it any more.

        Raises:
            Unattachable: nothing may go past the handlers, and it would by that.
        """
        if not any(name == RING for _, name in proc.files(process)):
            return filters.build(self._rules)
        if self.session.closed:
            raise Unattachable(f"{label(process)} uses io_uring, which would bypass the handlers")
        self.report.write(f"{label(process)} uses io_uring: what goes by that is not covered")
        return filters.build(self._rules, refused=())

    def _attach_below(self, root: int) -> Iterator[int]:
        """Attach to all that were started before their parent was attached to."""
        looked_at: set[int] = set()
        for _ in range(ROUNDS):
            new = [each for each in proc.descendants(root) if each not in looked_at]
            if not new:
                return
            for process in new:
                looked_at.add(process)
                try:
                    parent, started = proc.birth(process)
                except OSError:  # it has ended
                    continue
                since = self._since.get(parent, self._since[root])
                if started > since and self._has_filter(process):  # its parent's, which is ours
                    self._since[process] = started
                    continue
                try:
                    if started < since and self._has_filter(process):
                        raise Unattachable(
                            f"{label(process)} has a filter, which might kill it for a new one;"
                            " attach to it by itself, or with --trap=seccomp"
                        )
                    self._attach(process)
                except Taken as wrong:
                    if started < since:
                        self.report.write(f"left alone: {wrong}")
                except Unattachable as wrong:
                    if proc.state(process) not in ("", "Z", "X"):
                        self.report.write(f"left alone: {wrong}")
                else:
                    yield process

    def _has_filter(self, process: int) -> bool:
        return self._trap == AUTO and not self._is_traced and has_filter_of_its_own(process)

    def all_gone(self) -> None:
        """They have ended by themselves."""
        self.finish()

    def child_changed(self) -> None:
        """Of ours there is none, but what is traced seems to be one."""
        let_go()

    def signalled(self, number: int) -> None:
        """Let go of the processes; told so once more, at once."""
        if number not in ENDING or self.left:
            return
        if self._detach is None:
            self._detach = Detach(
                self.loop, self.session, self.serving, self._grace, self._detached
            )
            if under_way := self._detach.under_way:
                what = count(under_way, "connection")
                self.report.write(f"{what} under way, for {self._grace:g} s at the most")
            self._detach.begin()
        else:
            self._detach.at_once()

    def _detached(self) -> None:
        assert self._detach is not None
        reset = self._detach.were_reset
        how = f"; {count(reset, 'connection')} reset" if reset else ""
        said = f"detached from {self._label}{how}"
        self.report.write(said)
        self.leave()
        for each in self._places:
            each.close()
        for asker in self._askers:
            _answer(asker, said)
        self._end_when_free()

    def _end_when_free(self) -> None:
        """End, once the processes have nothing of ours any more; the keeper lets their calls by."""
        if self.session.all_sockets():
            self.loop.at(self.loop.now() + LOOK, self._end_when_free)
        elif self._is_traced or self._keeper is not None:
            self.loop.stop()

    def _asked(self, word: bytes, end: socket.socket) -> None:
        """Somebody speaks to us by the number of a process."""
        if word != DETACH or self.left:
            return end.close()
        self._askers.append(end)
        if self._detach is None:
            self.signalled(signal.SIGTERM)

    def leaving(self) -> None:
        """Nothing is to do."""

    def front_gone(self) -> None:
        """Who kills the front wants to be rid of us."""
        self.signalled(signal.SIGTERM)

    def front_went_on(self, stop: int) -> None:
        """The processes are not stopped with it."""

    def front_asks(self, stop: int) -> None:
        """It is told of no stop."""


def _answer(asker: socket.socket, said: str) -> None:
    with asker, contextlib.suppress(OSError):
        asker.send(said.encode())


def _leader(process: int) -> int:
    """The process, where it is the number of a thread."""
    try:
        return proc.process(process)
    except OSError:
        return process


def _why(wrong: OSError) -> str:
    if wrong.errno == errno.EBUSY:
        return "its calls go to another supervisor: of tesla_trace, or of its container"
    if wrong.errno in (errno.EINVAL, errno.ENOSYS):
        return f"{wrong.strerror}; tesla_trace --doctor says more"
    return wrong.strerror or str(wrong)
