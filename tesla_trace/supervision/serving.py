"""One session, and the traps whose calls it serves."""

from __future__ import annotations

import select
from collections.abc import Callable
from functools import partial

from tesla_trace.io.loop import Loop
from tesla_trace.kernel.trap import Stop, Trap
from tesla_trace.syscalls import table
from tesla_trace.syscalls.session import Session


class Serving:
    """Serves the calls of every trap that it is given, until the last process of each is gone.

    Args:
        over: called when no trap is left.
        loose: what is trapped may be more than the session's own rules ask for.
    """

    def __init__(
        self, loop: Loop, session: Session, over: Callable[[], None], *, loose: bool = False
    ) -> None:
        self.session = session
        self._loop = loop
        self._over = over
        self._traps: set[Trap] = set()
        self.answer: Callable[[Stop], None] = partial(table.serve, session, loose=loose)
        """What is done with a call."""

    def add(self, trap: Trap) -> None:
        """Serve the calls that come by this trap, which is ours from now on."""
        self._traps.add(trap)
        self._loop.watch_trap(trap.fileno(), lambda: self._trapped(trap))

    def serve(self, timeout: float) -> None:
        """Serve calls that come within so many seconds, where the loop does not turn."""
        traps = {trap.fileno(): trap for trap in self._traps}
        poll = select.poll()
        for fd in traps:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(timeout * 1000):
            self._trapped(traps[fd])

    def _trapped(self, trap: Trap) -> None:
        try:
            stop = trap.next()
        except EOFError:
            return self._gone(trap)
        if stop is not None:
            self.answer(stop)
            trap.linger()

    def _gone(self, trap: Trap) -> None:
        self._loop.forget_trap(trap.fileno())
        self._traps.remove(trap)
        if self._traps:
            self.session.held.drop_gone()
        else:
            self.session.end()
        trap.close()  # nobody answers by it any more: its number may be another file's soon
        if not self._traps:
            self._over()
