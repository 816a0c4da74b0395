"""A connection to the name server, which stands in place of the network."""

from __future__ import annotations

import errno
from collections.abc import Callable

from tesla_trace.address import Address
from tesla_trace.flow.errors import failure
from tesla_trace.flow.handler import Context, FlowHandler
from tesla_trace.flow.switch import Switch

TURN = 32
"""Queries answered in one turn of the loop: a few milliseconds, for all other flows wait."""

FULL = 64 * 1024
"""Bytes of queries waiting when we ask for a stop; half of it ends the stop."""

Answer = Callable[[bytes], bytes | None]


class Frames:
    """The messages of a stream, each behind its length in two bytes (RFC 1035 section 4.2.2)."""

    def __init__(self) -> None:
        self._data = bytearray()

    def __len__(self) -> int:
        """The bytes that wait, of whole messages or not."""
        return len(self._data)

    def put(self, data: bytes) -> None:
        """Add what has come in."""
        self._data += data

    def take(self) -> bytes | None:
        """The next whole message; None if it has not come yet."""
        end = 2 + int.from_bytes(self._data[:2], "big")
        if len(self._data) < max(end, 2):
            return None
        message = bytes(self._data[2:end])
        del self._data[:end]
        return message


class NameStream(FlowHandler):
    """The bottom of a stream whose peer is the name server itself.

    Args:
        answer: what the server says to a message; None for it to hang up.
    """

    name = "nameserver"

    def __init__(self, ctx: Context, answer: Answer) -> None:
        super().__init__(ctx, plumb=False)
        self._answer = answer
        self._queries = Frames()
        self._turn = self.timer(self._serve)
        self._room = Switch(lambda may: self.upstream.may_write(self, may))
        self._may = True
        self._shut = self._deaf = self._over = False

    def connect(self, address: Address) -> None:
        """Be connected, on the next turn."""
        self.later(lambda: self.upstream.connected(self))

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Take queries, to be answered from the next turn on."""
        if self._shut or self._over:
            return False
        self._queries.put(data)
        self._turn.arm(0)
        return True

    def urge(self, byte: bytes) -> bool:
        """Take it as a byte like any other."""
        return self.write(byte)

    def shutdown(self, read: bool, write: bool) -> None:
        """Hang up when all is answered."""
        self._deaf = self._deaf or read
        self._shut = self._shut or write
        self._turn.arm(0)

    def may_avail(self, may: bool) -> None:
        """Answer, or let the queries wait."""
        self._may = may
        self._turn.arm(0)

    def getpeername(self) -> Address:
        """Known by who connected us."""
        raise failure(errno.ENOTCONN, "the name server has no address of its own")

    def _serve(self) -> None:
        for _ in range(TURN):
            if not self._may or self._over:
                break
            query = self._queries.take()
            if query is None:
                return self._rest()
            answer = self._answer(query)
            if answer is None:
                return self._hang_up()
            if not self._deaf:
                message = len(answer).to_bytes(2, "big") + answer
                self._deaf = not self.upstream.avail(self, message)
        else:
            self._turn.arm(0)
        self._level()

    def _rest(self) -> None:
        """All that came is answered."""
        if self._shut:
            return self._hang_up()
        self._level()

    def _level(self) -> None:
        if self.closed:  # inside avail
            return
        if len(self._queries) > FULL:
            self._room.say(False)
        elif len(self._queries) <= FULL // 2:
            self._room.say(True)

    def _hang_up(self) -> None:
        if not self._over:
            self._over = True
            self.upstream.ended(self)
