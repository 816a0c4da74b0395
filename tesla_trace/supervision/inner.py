"""A program that we start where another tesla_trace is around us, which relays its calls to us.

We are a program to that one: what we let through and what we ask of the network ourselves goes
through its handlers.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from tesla_trace.flow import Stack
from tesla_trace.keeper.answers import OnCrash
from tesla_trace.kernel import proc, rights
from tesla_trace.kernel.filter import Rule
from tesla_trace.kernel.libc import PR_SET_NO_NEW_PRIVS, prctl
from tesla_trace.kernel.relay import RelayTrap
from tesla_trace.kernel.trap import Trap
from tesla_trace.supervision.front import FrontEnd
from tesla_trace.supervision.launch import Launch
from tesla_trace.supervision.trapping import Start
from tesla_trace.syscalls import table

NO_LISTENER = -1


def relayed(
    name: str, stack: Stack, front: FrontEnd, policy: OnCrash, *, strict: bool
) -> RelayTrap:
    """What the calls come by that these handlers need.

    Args:
        name: of the socket of the one around us.
        policy: what is to become of the program should we die.

    Raises:
        ConnectionError: nobody is there, or it is not around us.
        OuterError: it is, and does not relay.
    """
    rules = table.rules(stack, closed=strict or stack.exclusive)
    heirs = (os.getppid(), front.process)
    return RelayTrap(name, rules, closed=policy is not OnCrash.OPEN, heirs=heirs)


class _Entry:
    """A program that is under a filter already, with us; see `spawn.Entry`."""

    def __init__(self, trap: RelayTrap, keep: Callable[[int, int], object]) -> None:
        self._trap = trap
        self._keep = keep

    def enter(self) -> int:
        """Have the kernel make sure, as for a filter, that it gets no rights that we have not."""
        if not rights.capabilities(0) & rights.CAP_SYS_ADMIN:
            prctl(PR_SET_NO_NEW_PRIVS, 1)
        return 0

    def take(self, pid: int, number: int) -> RelayTrap:
        """Its calls come already."""
        self._keep(pid, NO_LISTENER)
        return self._trap

    def see_through(self, taken: RelayTrap) -> None:
        """It needs nobody."""


class Inner(Launch):
    """One program, from start to end.

    Args:
        relays: what its calls come by.
        policy: what is to become of it if nobody traps them any more.
        others: as of `Launch`.
    """

    def __init__(self, relays: RelayTrap, policy: OnCrash, *args: Any, **others: Any) -> None:
        self._relays = relays
        self._policy = policy
        self._alone = False
        """Whether no process is left below us."""
        self._deserted = False
        """Whether the one around us has gone before that."""
        super().__init__(*args, **others)

    def start(self, start: Start, rules: list[Rule], *, epolls: bool) -> tuple[int, Trap]:
        """As `Launch.start`; it is under the filter of the one around us."""
        keep = partial(self.keep, calls={}, ledger=None)
        return start(entry=_Entry(self._relays, keep))

    def child_changed(self) -> None:
        """Nobody but us knows when the last one is gone."""
        super().child_changed()
        if not self._alone and not _has_children():
            self._alone = True
            if self._deserted:
                super().all_gone()
            else:
                self._relays.end()

    def all_gone(self) -> None:
        """Or the one around us is."""
        if self._alone:
            return super().all_gone()
        self._deserted = True
        self.report.write("the tesla_trace around this one has gone")
        if self._policy is not OnCrash.OPEN:
            for process in proc.descendants(os.getpid()):
                with suppress(OSError):
                    os.kill(process, signal.SIGKILL)
        self.child_changed()


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
