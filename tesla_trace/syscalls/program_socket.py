"""What all sockets of the program have that are ours: a pair, options, and where they were seen."""

from __future__ import annotations

import errno
import socket as sockets
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar

from tesla_trace.flow import FlowHandler, failure
from tesla_trace.io.pair import Pair
from tesla_trace.kernel.thread import borrow_from_anyone
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.acting import OURS, Guise
from tesla_trace.syscalls.ends.mark import Mark, mark

if TYPE_CHECKING:
    from tesla_trace.syscalls.session import Session


class ProgramSocket:
    """One socket of the program, by whatever descriptors it is known.

    Args:
        guise: with what it was made, and others of the flow are to be.
    """

    TYPE: ClassVar[int]

    def __init__(
        self, session: Session, domain: int, protocol: int, pair: Pair, guise: Guise = OURS
    ) -> None:
        self.session = session
        self.domain = domain
        self.guise = guise
        self.protocol = protocol
        self.error = 0
        """What SO_ERROR is to tell, once."""
        self.stored: dict[tuple[int, int], bytes] = {}
        """Options that are ours to keep."""
        self.seen: tuple[Stop, int] | None = None
        """Where the program's end was last seen: a call, and its descriptor."""
        self.instead_of: list[bytes] = []
        """In whose place it, or its pair, came."""
        self.pair = pair
        self.pair.watch.hung_up = self.left
        self._mark(pair)
        session.add(self)

    # ---- what a kind of socket says ----

    def asked(self) -> AbstractContextManager[FlowHandler]:
        """Whom to ask for options."""
        raise NotImplementedError

    def left(self) -> None:
        """The program has closed its last descriptor."""
        raise NotImplementedError

    def abandon_calls(self) -> None:
        """Answer none of the calls that wait: who made them is gone."""
        raise NotImplementedError

    def dispose_if_over(self) -> None:
        """Let go of the network's end, where nothing else will."""

    def forgotten(self) -> None:
        """Nobody will ask for it any more."""

    def resize(self, sizes: dict[int, int]) -> None:
        """Let no more bytes wait on their way than this, by SO_SNDBUF and SO_RCVBUF."""

    @property
    def listening(self) -> bool:
        """Whether it waits for connections."""
        return False

    @property
    def pair_has_error(self) -> bool:
        """Whether it is the pair that knows of errors now."""
        return False

    # ---- the program's end ----

    def _mark(self, pair: Pair) -> None:
        """Let whoever comes after us know the program's end."""
        assert pair.app is not None
        mark(pair.app, Mark(self.domain, self.TYPE == sockets.SOCK_STREAM))

    def store(self, level: int, option: int, value: bytes) -> None:
        """Keep an option that is ours to keep."""
        self.stored[level, option] = value

    def take_error(self) -> int:
        """The errno that is to be told, from now on no more."""
        number, self.error = self.error, 0
        return number

    def borrowed(self, stop: Stop | None = None, fd: int = -1) -> sockets.socket:
        """A copy of the program's end, to be closed at once.

        Raises:
            OSError: it is not where it was last seen.
        """
        if stop is not None:
            self.seen = stop, fd
        if self.seen is None:
            raise failure(errno.EBADF, "never seen")
        at, fd = self.seen
        return _unix(at.borrow(fd, self.pair.file), self.pair.TYPE)

    def found(self) -> sockets.socket:
        """The same, wherever it is by now."""
        try:
            return self.borrowed()
        except (OSError, Gone):
            return _unix(borrow_from_anyone(self.pair.file, self.session.members), self.pair.TYPE)


def _unix(fd: int, type: int) -> sockets.socket:
    """The socket of a descriptor; told what it is, Python need not ask."""
    return sockets.socket(sockets.AF_UNIX, type, 0, fileno=fd)
