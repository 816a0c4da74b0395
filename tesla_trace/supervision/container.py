"""One container: a session, joined by each process that the runtime tells of."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from tesla_trace.flow import Stack
from tesla_trace.io.datapath import Datapath
from tesla_trace.io.garbage import Garbage
from tesla_trace.io.loop import Loop, Watch
from tesla_trace.io.resolver import Resolver
from tesla_trace.keeper.channel import KeeperEnd
from tesla_trace.kernel import filter as filters
from tesla_trace.kernel.ledger import Ledger
from tesla_trace.kernel.notify import NotifyTrap
from tesla_trace.oci.members import Contained
from tesla_trace.report import Report
from tesla_trace.supervision.detach import Detach
from tesla_trace.supervision.serving import Serving
from tesla_trace.syscalls import table
from tesla_trace.syscalls.ends.alone import Ends
from tesla_trace.syscalls.session import Session

SHOWN = 12
"""Characters of a name that is a long number."""


class Shared:
    """What all containers use: each would cost descriptors, or a thread.

    Args:
        strict, datapath: as of `Session`.
    """

    def __init__(
        self,
        loop: Loop,
        report: Report,
        keeper: KeeperEnd | None,
        *,
        strict: bool,
        datapath: Datapath,
    ) -> None:
        self.loop = loop
        self.keeper = keeper
        self.report = report
        self.strict = strict
        self.datapath = datapath
        self.resolver = Resolver(loop)
        self.ends = Ends(loop, report.write)
        self.garbage = Garbage(loop)
        self.garbage.start()
        self.calls = filters.numbers(table.every_rule())


class Container:
    """Serves the processes of one container.

    Args:
        left: called when its last process has gone; what it sent may still be on its way.
        over: called when nothing is left of it.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        shared: Shared,
        left: Callable[[Container], None],
        over: Callable[[Container], None],
    ) -> None:
        self.name = name
        self._shared = shared
        self._left, self._over = left, over
        self._label = name if len(name) <= 2 * SHOWN else name[:SHOWN]
        self._watches: dict[int, Watch] = {}
        """Of the processes that the runtime told of, by pidfd."""
        self._members = Contained()
        self.session = self._session(stack)
        self._serving = Serving(shared.loop, self.session, self._empty, loose=True)

    def _session(self, stack: Stack) -> Session:
        shared = self._shared
        session = Session(
            shared.loop,
            stack,
            self.write,
            self._raw,
            strict=shared.strict,
            datapath=shared.datapath,
        )
        session.ends, session.garbage = shared.ends, shared.garbage
        session.network.resolver = shared.resolver
        session.members = self._members
        if session.closed:
            session.handing.why_not = "a runtime started the program, and Landlock cannot be had"
        return session

    def join(self, listener: int, process: int) -> None:
        """Serve one more process, and what it starts.

        Args:
            listener: ours from now on.
            process: its number; 0 where that is not known.

        Raises:
            OSError: the process is gone.
        """
        if process:
            self._members.add(process)
            self._watch(process)
        ledger, calls = Ledger(), self._shared.calls
        if self._shared.keeper is not None:
            self._shared.keeper.keep(listener, calls, ledger=ledger.file)
        self._serving.add(NotifyTrap(listener, calls, once=table.ONCE, ledger=ledger))

    def detach(self, grace: float, done: Callable[[], None]) -> Detach:
        """Let the processes go; see `Detach`."""
        return Detach(self._shared.loop, self.session, self._serving, grace, done)

    def write(self, line: str) -> None:
        """Write a line to the log."""
        self._shared.report.write(f"{self._label}: {line}")

    def _raw(self, line: str) -> None:
        self._shared.report.raw(f"{self._label}: {line}")

    def _watch(self, process: int) -> None:
        """Be told when the process ends, for its number may become another's."""
        pidfd = os.pidfd_open(process)

        def ended() -> None:
            self._members.leave(process)
            self._forget(pidfd)

        self._watches[pidfd] = self._shared.loop.on_readable(pidfd, ended)

    def _forget(self, pidfd: int) -> None:
        self._watches.pop(pidfd).close()
        os.close(pidfd)

    def _empty(self) -> None:
        """Its last process has gone."""
        self._left(self)
        self.session.network.drain(self._finish)

    def _finish(self) -> None:
        if self.session.counted.changed:
            self.write(f"not covered: {self.session.counted.line()}")
        for pidfd in list(self._watches):
            self._forget(pidfd)
        with suppress(OSError):
            self.session.network.pipes.close()
        self._over(self)
