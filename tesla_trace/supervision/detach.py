"""Letting processes go: what is under way is finished, and then everything is the kernel's.

A process gets its sockets back at a call of its own; one that makes none is made to make some.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from tesla_trace.io.loop import Loop
from tesla_trace.kernel.ptrace.attach import have_called, nudge
from tesla_trace.supervision.serving import Serving
from tesla_trace.syscalls.parting import WAITING, Parting
from tesla_trace.syscalls.session import Session

GRACE = 10.0
"""Seconds that connections may take to be over, unless the user says otherwise."""

LOOK = 0.05
"""Seconds between looks at what is under way."""

PATIENCE = 0.001
"""Seconds that a call we wait for may take to come."""

MOST = 1024
"""Descriptors of a process that are given back at once; 0.2 ms each, in which a thread is stopped.
The rest are when the process makes a call on them."""


class Detach:
    """Lets the program of a session go.

    Args:
        grace: seconds that connections may take to be over; then they are reset.
        done: called, once, when none is left.
    """

    def __init__(
        self,
        loop: Loop,
        session: Session,
        serving: Serving,
        grace: float,
        done: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._session = session
        self._serving = serving
        self._done = done
        self.parting = Parting(session)
        self.under_way = self.parting.flows()
        """Connections that were, when it began."""
        self.were_reset = 0
        """Of them, those that had to be."""
        self._end = loop.now() + grace
        self._over = False

    def begin(self) -> None:
        """Give back what can be, and wait for the rest."""
        self._give_back()
        self._look()

    def at_once(self) -> None:
        """Wait for no connection any more."""
        self._end = self._loop.now()
        self._look()

    def _look(self) -> None:
        if self._over:
            return
        if self.parting.flows() and self._loop.now() < self._end:
            self._give_back()
            self._loop.at(self._loop.now() + LOOK, self._look)
            return
        self._over = True
        self.were_reset = self.parting.flows()
        self.parting.reset()
        self._give_back()
        self._done()

    def _give_back(self) -> None:
        """Give back what can be now, a connection that waits to be accepted being in no way."""
        for process in self._session.members.processes() if self.parting.left() else ():
            if places := self.parting.places(process)[:MOST]:
                calls = [(fd, 0, 0) for fd in places]
                with suppress(OSError):  # another time, or at a call of its own
                    have_called(process, "getsockname", calls, self._serve)
                    nudge(process, WAITING)

    def _serve(self) -> None:
        self._serving.serve(PATIENCE)
