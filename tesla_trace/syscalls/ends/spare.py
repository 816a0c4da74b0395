"""A socket that is made before the program asks for it, while it waits for something else.

Facts: more than half of what socket(2) costs is to make two of the kernel's sockets, the watch on
one of them, and our own objects around them.  A program that connects one socket after the other
waits for each of these, and also for its peer to answer, when we have nothing to do.  The kernel's
sockets that we make as ourselves, where we are, are the same whenever they are made.

What it means for us: while a connect is waited for, one more is made of the kind that was made
last; in two steps, so that no answer waits for long.  Nothing is made where nobody waits: the
program is on our CPU then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tesla_trace.syscalls.session import Session
    from tesla_trace.syscalls.stream.socket import Socket

Kind = tuple[int, int]
"""The domain and the protocol, as socket(2) is told them."""

Make = Callable[["Session", int, int], "Socket"]
"""Makes one of a kind."""


class Spare:
    """The one stream socket that is kept ready, made with our own rights in our own namespace."""

    _make: Make

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: Socket | None = None
        self._kind: Kind | None = None
        self._asked = False

    def take(self, domain: int, protocol: int, make: Make) -> Socket | None:
        """The spare one, if it is of this kind, which the next will be of, too.

        Args:
            make: makes one.
        """
        if self._kind != (domain, protocol):
            self.drop()
            self._kind, self._make = (domain, protocol), make
        made, self._made = self._made, None
        if made is not None:
            self._session.born(made.bottom.ctx.flow)
        return made

    def renew(self) -> None:
        """A call waits: make another one, if nothing else happens."""
        if self._made is None and self._kind is not None and not self._asked:
            self._asked = True
            self._session.loop.when_idle(self._begin)

    def drop(self) -> None:
        """Let go of it, for nobody will want it."""
        made, self._made, self._kind = self._made, None, None
        if made is not None:
            made.left()
        self._session.ends.drop()

    def _begin(self) -> None:
        self._asked = False
        if self._kind is not None:
            self._session.ends.prepare()
            self._session.loop.when_idle(self._finish)

    def _finish(self) -> None:
        if self._kind is None or self._made is not None:
            return
        with suppress(OSError):  # then the program is told when it asks
            self._made = self._make(self._session, *self._kind)
            self._session.unborn(self._made.bottom.ctx.flow)
