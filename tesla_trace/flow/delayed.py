"""Handlers that hold data back for a time: latency, rate shaping."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from functools import partial

from tesla_trace.address import Address
from tesla_trace.flow.errors import put_off
from tesla_trace.flow.handler import NOBODY, Context, FlowHandler
from tesla_trace.flow.switch import Switch

FULL_OF_DATAGRAMS = 1024 * 1024
"""The same of datagrams, which get lost where there is no room for them."""

OVERHEAD = 512
"""Bytes that a datagram counts for besides its own, so that empty ones count too."""

PIECE = 1448
"""Bytes let go at a time: the payload of one full Ethernet TCP segment."""

FULL = 64 * 1024
"""Bytes held in one direction when we ask for a stop; half of it ends the stop."""


class Lane:
    """One direction: a queue of things to do, each not before its time."""

    def __init__(
        self,
        owner: FlowHandler,
        due: Callable[[int], float],
        send: Callable[[bytes, Address | None], bool],
        tell: Callable[[bool], None],
    ) -> None:
        self._owner = owner
        self._clock = owner.ctx.clock
        self._timer = owner.timer(self._run)
        self._due = due
        self._send = send
        self._room = Switch(tell)
        self._queue: deque[tuple[float, Callable[[], object]]] = deque()
        self._held = 0
        datagrams = owner.ctx.type == socket.SOCK_DGRAM
        self._overhead, self._full = (OVERHEAD, FULL_OF_DATAGRAMS) if datagrams else (0, FULL)
        self._may = True
        self._gone = False

    def put(self, data: bytes, address: Address | None) -> bool:
        """Hold `data` until its time.  False once nobody takes it any more."""
        if self._gone:
            return False
        if self._owner.ctx.type == socket.SOCK_DGRAM:
            pieces = [data]
        else:
            pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
        for piece in pieces:
            self._held += len(piece) + self._overhead
            self._queue.append((self._due(len(piece)), partial(self._let_go, piece, address)))
        self._wake()
        if self._held > self._full:
            self._owner.later(self._level)
        return True

    def then(self, act: Callable[[], object]) -> None:
        """Do `act` after everything now held has gone, which may be at once."""
        if not self._queue:
            act()
            return
        self._queue.append((self._due(0), put_off(act)))
        self._wake()

    def may(self, may: bool) -> None:
        """Let data go, or hold it whatever the time."""
        self._may = may
        self._wake()

    def give_up(self) -> None:
        """Nobody takes the data any more: drop it, and do the rest now."""
        self._gone = self._may = True
        self._wake()

    def _wake(self) -> None:
        # Always by the timer, never at once: see rule 3 of handler.py.
        if self._queue and self._may:
            early = self._queue[0][0] - self._clock.now()
            self._timer.arm(0.0 if self._gone else max(0.0, early))
        else:
            self._timer.disarm()

    def _run(self) -> None:
        now = self._clock.now()
        while self._queue and self._may and (self._gone or self._queue[0][0] <= now):
            self._queue.popleft()[1]()
        self._wake()
        self._level()

    def _level(self) -> None:
        if self._owner.closed:  # by the flow above, when it was handed the last piece
            return
        if self._held > self._full:
            self._room.say(False)
        elif self._held <= self._full // 2:
            self._room.say(True)

    def _let_go(self, piece: bytes, address: Address | None) -> None:
        self._held -= len(piece) + self._overhead
        if not self._gone and not self._send(piece, address):
            self.give_up()


class Delayed(FlowHandler):
    """Say when `size` more bytes may go each way; order and ends are kept here."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._lane_out = Lane(
            self,
            due=self.due_out,
            send=self._send_out,
            tell=lambda may: self.upstream.may_write(self, may),
        )
        self._lane_in = Lane(
            self,
            due=self.due_in,
            send=lambda data, origin: self.upstream.avail(self, data, origin),
            tell=lambda may: self.below.may_avail(may),
        )

    # ---- what a subclass says ----

    def due_out(self, size: int) -> float:
        """The time, in seconds of the clock, when `size` more bytes may go out."""
        return self.ctx.clock.now()

    def due_in(self, size: int) -> float:
        """The time, in seconds of the clock, when `size` more bytes may go in."""
        return self.ctx.clock.now()

    # ---- the rest follows ----

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Hold `data` until its time."""
        return self._lane_out.put(data, to)

    def _send_out(self, data: bytes, to: Address | None) -> bool:
        try:
            return self.below.write(data, to)
        except OSError as error:  # of this datagram; whoever wrote it is told now
            self.upstream.undelivered(self, error)
            return True

    def urge(self, byte: bytes) -> bool:
        """Send it once all that was written before it has gone."""
        self._lane_out.then(lambda: self.below.urge(byte))
        return True

    def shutdown(self, read: bool, write: bool) -> None:
        """Shut down once all that was written has gone."""
        self._lane_out.then(partial(super().shutdown, read, write))

    def close(self) -> None:
        """Close once all that was written has gone."""
        self.upstream = NOBODY
        self._lane_out.then(super().close)

    def may_avail(self, may: bool) -> None:
        """Let held data in, or keep it."""
        self._lane_in.may(may)

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """Hold `data` until its time."""
        return self._lane_in.put(data, origin)

    def urgent(self, source: FlowHandler, byte: bytes) -> bool:
        """Hand it up once all that came before it has been."""
        self._lane_in.then(lambda: self.upstream.urgent(self, byte))
        return True

    def may_write(self, source: FlowHandler, may: bool) -> None:
        """Let held data out, or keep it."""
        self._lane_out.may(may)

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None:
        """Pass the end on once all that came before it has."""
        if error is not None:
            self._lane_out.give_up()
        self._lane_in.then(lambda: self.upstream.ended(self, error))
