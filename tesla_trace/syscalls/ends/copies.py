"""Copies of programs' ends that are kept for a moment, for the next call on the same socket.

Facts: to take a copy and to make sure what it is costs as much as the rest of a short call.  But a
copy hides that the program closes its own.  The kernel too keeps a file open while a call on it
waits, whoever closes its descriptor meanwhile.

What it means for us: a copy is given back soon, or at once where somebody must know who has closed
what; that of a socket on which calls wait, when they are over.
"""

from __future__ import annotations

import socket as sockets
from typing import Protocol

from tesla_trace.io.loop import Alarm, Loop
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.words import signed

MOMENT = 0.005
"""Seconds that a copy is kept: how late a close may be seen."""


class Owner(Protocol):
    """A socket of the program."""

    @property
    def waited_on(self) -> bool:
        """Whether calls on it wait."""

    def borrowed(self, stop: Stop | None = None, fd: int = -1) -> sockets.socket:
        """A copy of the program's end.

        Raises:
            OSError: it is not where it was last seen.
        """


class Copies:
    """All the copies that are kept."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._copies: dict[Owner, sockets.socket] = {}
        self._alarm: Alarm | None = None

    def end(self, owner: Owner, stop: Stop) -> sockets.socket:
        """The program's end of the socket that a call is about; not to be closed.

        Raises:
            OSError: as `Owner.borrowed`.
        """
        copy = self._copies.get(owner)
        if copy is None:
            copy = self._copies[owner] = owner.borrowed(stop, signed(stop.args[0]))
            self.look_soon()
        return copy

    def look_soon(self) -> None:
        """Give back what is not needed any more, in a moment."""
        if self._alarm is None:
            self._alarm = self._loop.at(self._loop.now() + MOMENT, self._look)

    def give_back(self) -> None:
        """Give back what no call needs, now."""
        for owner in [each for each in self._copies if not each.waited_on]:
            self._copies.pop(owner).close()

    def _look(self) -> None:
        self._alarm = None
        self.give_back()
