"""Which back end traps a program that we start: seccomp's, or ptrace where that cannot be."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from tesla_trace.kernel import filter as filters
from tesla_trace.kernel.filter import Rule
from tesla_trace.kernel.ledger import Ledger
from tesla_trace.kernel.notify import NotifyTrap
from tesla_trace.kernel.signals import Signals
from tesla_trace.kernel.spawn import FilterError, Notified
from tesla_trace.kernel.trap import TraceError, Trap
from tesla_trace.syscalls import table

AUTO, SECCOMP, PTRACE = TRAPS = ("auto", "seccomp", "ptrace")

Calls = Mapping[int, Mapping[int, str]]
"""By the audit architecture, the name of each trapped call's number."""

Start = Callable[..., tuple[int, Any]]
"""`spawn`, with all but how the program is to be trapped."""


class Keep(Protocol):
    """Takes what is to be kept of a program."""

    def __call__(self, pid: int, listener: int, calls: Calls, ledger: Ledger | None) -> object:
        """See `Trapping`."""


WHY = {errno.EBUSY: "another seccomp listener is around us"}


class Trapping:
    """Starts a program under the back end that is asked for, or that this machine has.

    Args:
        say: told of what is not as usual.
        changed: told the wait status when the program stops, continues or ends, where waiting is
            the back end's.
        keep: told the program's number before it runs; the listener, the calls that it gets, and
            where those are written that wait; with ptrace -1, and none.
        kill: with ptrace, let the program die when we do.
    """

    def __init__(
        self,
        say: Callable[[str], object],
        changed: Callable[[int], object],
        keep: Keep,
        *,
        kill: bool = False,
    ) -> None:
        self._say = say
        self._keep = keep
        self._changed = changed
        self._kill = kill
        self.tells = False
        """Whether `changed` is told."""

    def start(
        self, trap: str, start: Start, rules: Sequence[Rule], signals: Signals, *, epolls: bool
    ) -> tuple[int, Trap]:
        """Start it; gives its number, and the trap.

        Args:
            trap: one of TRAPS.
            epolls: whether it may start with epoll descriptors.

        Raises:
            FilterError, TraceError, ExecError: it was not started.
        """
        if trap == PTRACE:
            return self._traced(start, rules, signals, epolls, "")
        calls, ledger = filters.numbers(rules), Ledger()

        def trapped(pid: int, listener: int) -> None:
            self._keep(pid, listener, calls, ledger)

        try:
            pid, listener = start(entry=Notified(filters.build(rules), trapped))
        except FilterError as wrong:
            if trap == SECCOMP:
                raise
            why = WHY.get(wrong.errno) or os.strerror(wrong.errno)
            try:
                return self._traced(start, rules, signals, epolls, f" (no seccomp: {why})")
            except TraceError:
                raise wrong from None
        made = NotifyTrap(listener, calls, epolls=epolls, once=table.ONCE, ledger=ledger)
        return pid, made

    def _traced(
        self, start: Start, rules: Sequence[Rule], signals: Signals, epolls: bool, why: str
    ) -> tuple[int, Trap]:
        from tesla_trace.kernel.ptrace.start import Traced  # it takes 50 ms

        self.tells = True
        taken = partial(self._keep, listener=-1, calls={}, ledger=None)
        entry = Traced(rules, signals, self._changed, taken, kill=self._kill, epolls=epolls)
        pid, trap = start(entry=entry)
        if why or entry.everywhere:
            how = "which stops at every system call" if entry.everywhere else "with a filter"
            self._say(f"trapping by ptrace, {how}{why}")
        return pid, trap
