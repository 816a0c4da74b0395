"""Our ends of datagram sockets, which must not close while the program has the other ones.

Facts: a SOCK_SEQPACKET socket whose other end was closed reads as an empty datagram, for ever.  A
program that reads datagrams by recv(2) or read(2), which are not trapped, would do nothing else.

What it means for us: the keeper has copies of our ends.  When the supervisor has died, each program
is told of it by one empty datagram, as of other errors; what it sends is thrown away; and the next
trapped call on its end gets it another socket.  Most sockets live shorter than it takes to hand
them over: they are those of name lookups, which have a time limit.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress

from tesla_trace.io.loop import Loop
from tesla_trace.io.pair import Pair
from tesla_trace.keeper.channel import MOST_FILES, KeeperEnd

SOON = 0.2
"""Seconds after which an end is handed over, if it is still there."""


class Bequest:
    """The supervisor's side: hands over ends that are new."""

    def __init__(self, loop: Loop, keeper: KeeperEnd) -> None:
        self._loop = loop
        self._keeper = keeper
        self._new: list[Pair] = []

    def add(self, pair: Pair) -> None:
        """There is one more."""
        if not self._new:
            self._loop.at(self._loop.now() + SOON, self._hand_over)
        self._new.append(pair)

    def _hand_over(self) -> None:
        left = [each.master.fileno() for each in self._new if not each.closed]
        self._new.clear()
        for start in range(0, len(left), MOST_FILES):
            self._keeper.hold(left[start : start + MOST_FILES])


class Bequeathed:
    """The keeper's side: holds ends until the program has closed the other ones.

    Args:
        poll: where they are to be registered.
    """

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self._ends: dict[int, socket.socket] = {}

    def add(self, fd: int) -> None:
        """Here is one more, which becomes ours."""
        self._ends[fd] = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fd)
        self._poll.register(fd, 0)  # it hangs up

    def take_over(self) -> None:
        """From now on nobody else reads what comes."""
        for end in self._ends.values():
            self._poll.register(end, select.POLLIN)
            with suppress(OSError):  # it is full: there is something to read already
                end.send(b"", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def serve(self, fd: int, state: int) -> bool:
        """See to what has polled so; whether it is one of the ends."""
        end = self._ends.get(fd)
        if end is None:
            return False
        if state & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            self._poll.unregister(fd)
            self._ends.pop(fd).close()
        else:
            with suppress(OSError):
                end.recv(1, socket.MSG_DONTWAIT)
        return True
