"""Starting a program that is trapped by ptrace(2)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property

from tesla_trace.kernel import filter as filters
from tesla_trace.kernel import proc
from tesla_trace.kernel.filter import Rule
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.trap import Changed, PtraceTrap
from tesla_trace.kernel.signals import Signals
from tesla_trace.kernel.spawn import install
from tesla_trace.kernel.trap import TraceError

NO_FILTER, FILTER = range(2)


class Traced:
    """A program whose trapped calls stop for us; see `spawn.Entry`.

    Args:
        changed: told the wait status when the program stops, continues or ends.
        taken: told the program's number before it runs.
        kill: it dies when we do.
        epolls: whether the program may start with epoll descriptors.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        signals: Signals,
        changed: Changed,
        taken: Callable[[int], object],
        *,
        kill: bool = False,
        epolls: bool = True,
    ) -> None:
        self._rules = rules
        self._signals = signals
        self._changed = changed
        self._taken = taken
        self._options = requests.FOLLOW | requests.SYSGOOD | requests.O_TRACESECCOMP
        if kill:
            self._options |= requests.O_EXITKILL
        self._epolls = epolls
        self._bpf = filters.build(rules, traced=True)
        self._outer = _is_filtered() and self._listened_to

    @cached_property
    def _listened_to(self) -> bool:
        """Whether a filter around us notifies somebody else, who would be asked in our place."""
        pid = os.fork()
        if pid == 0:
            status = 0
            try:
                install(self._bpf)
            except OSError:  # EBUSY; and where none may be installed, ours cannot be either
                status = 1
            finally:
                os._exit(status)
        return os.waitpid(pid, 0)[1] != 0

    @property
    def everywhere(self) -> bool:
        """Whether the program stops at every call, for there can be no filter of ours."""
        return self._everywhere

    def enter(self) -> int:
        """See `Entry`."""
        if self._outer:
            return NO_FILTER
        try:
            install(self._bpf, listen=False)
        except OSError:
            return NO_FILTER
        return FILTER

    def take(self, pid: int, number: int) -> PtraceTrap:
        """See `Entry`."""
        try:
            requests.seize(pid, self._options)
        except OSError as wrong:
            tracer = int(proc.status(pid).get("TracerPid", "0"))
            raise TraceError(wrong.errno or 0, tracer) from wrong
        self._everywhere = number == NO_FILTER
        self._taken(pid)
        return PtraceTrap(
            pid,
            self._rules,
            self._signals.without_children(),
            self._changed,
            everywhere=self._everywhere,
            epolls=self._epolls,
        )

    def see_through(self, taken: PtraceTrap) -> None:
        """See `Entry`."""
        taken.start()


def _is_filtered() -> bool:
    return proc.status(os.getpid()).get("Seccomp") == "2"
