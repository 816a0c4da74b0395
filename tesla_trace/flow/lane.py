"""One direction of a handler that holds data back: a queue of things to do, each in its time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tesla_trace.address import Address
from tesla_trace.flow.errors import put_off
from tesla_trace.flow.handler import FlowHandler
from tesla_trace.flow.switch import Switch

OVERHEAD = 512
"""Bytes that a piece counts for besides its own: what it takes to keep it, so that a great many of
one byte, or of none, are as bounded as a few large ones."""


MOMENT = 1e-6
"""Seconds that a piece may go before its time: less than a clock can tell after sums of floats."""


@dataclass(frozen=True)
class Limits:
    """How much there may be of what is held.

    Args:
        room: bytes held when a stop is asked for; half of it ends the stop.
        piece: bytes of a stream let go at a time; None for as much as there was in one piece.
    """

    room: int
    piece: int | None = None


@dataclass(slots=True)
class _Held:
    """What waits: data, or something to be done."""

    arrived: float
    data: bytes
    address: Address | None = None
    act: Callable[[], object] | None = None


class Lane:
    """What goes in stays in order; the first is let go when its time has come.

    When that is, is asked once it is the first: so a rate that flows share is shared piece by
    piece, and one that nothing waited for is not spent.

    Args:
        due: when so many bytes that arrived then may go, in seconds of the clock.
        send: takes what goes; False once nobody does.
        tell: told whether more is wanted.
    """

    def __init__(
        self,
        owner: FlowHandler,
        limits: Limits,
        due: Callable[[int, float], float],
        send: Callable[[bytes, Address | None], bool],
        tell: Callable[[bool], None],
    ) -> None:
        self._owner = owner
        self._clock = owner.ctx.clock
        self._timer = owner.timer(self._run)
        self._armed = False
        self._limits = limits
        self._due = due
        self._send = send
        self._room = Switch(tell)
        self._queue: deque[_Held] = deque()
        self._when: float | None = None
        """When the first may go; None while that was not asked."""
        self._held = 0
        self._may = True
        self._gone = False
        self.went = 0.0
        """When the last piece was let go."""

    def put(self, data: bytes, address: Address | None = None) -> bool:
        """Hold `data` until its time.  False once nobody takes it any more."""
        if self._gone:
            return False
        self._held += len(data) + OVERHEAD
        self._add(_Held(self._clock.now(), data, address))
        if self._held > self._limits.room:
            self._owner.later(self._level)
        return True

    def then(self, act: Callable[[], object]) -> None:
        """Do `act` after everything now held has gone, which may be at once."""
        if not self._queue:
            act()
        else:
            self._add(_Held(self._clock.now(), b"", act=put_off(act)))

    def may(self, may: bool) -> None:
        """Let data go, or hold it whatever the time."""
        self._may = may
        self._wake()

    def hold(self) -> None:
        """Hold whatever comes until it may go: an end too, which else waits for nothing."""
        self._may = False
        self._add(_Held(self._clock.now(), b"", act=lambda: None))

    def limit(self, limits: Limits) -> None:
        """Hold as much as this from now on, and let as much go at a time."""
        self._limits = limits
        self._owner.later(self._level)

    def give_up(self) -> None:
        """Nobody takes the data any more: drop it, and do the rest now."""
        self._gone = self._may = True
        self._wake()

    def _add(self, held: _Held) -> None:
        self._queue.append(held)
        if not self._armed:
            self._wake()

    def _wake(self) -> None:
        # Always by the timer, never at once: see rule 3 of handler.py.
        self._armed = bool(self._queue) and self._may
        if self._armed:
            early = 0.0 if self._gone else self._time() - self._clock.now()
            self._timer.arm(max(0.0, early))
        else:
            self._timer.disarm()

    def _time(self) -> float:
        if self._when is None:
            first = self._queue[0]
            self._when = self._due(self._size(first), first.arrived)
        return self._when

    def _size(self, held: _Held) -> int:
        size, piece = len(held.data), self._limits.piece
        return size if piece is None else min(size, piece)

    def _run(self) -> None:
        while self._queue and self._may:
            if not self._gone and self._time() > self._clock.now() + MOMENT:
                break
            self._let_go()
        self._wake()
        self._level()

    def _let_go(self) -> None:
        first, self._when = self._queue[0], None
        self.went = self._clock.now()
        size = len(first.data) if self._gone else self._size(first)
        piece = first.data[:size]
        if size < len(first.data):
            first.data = first.data[size:]
            self._held -= size
        else:
            self._queue.popleft()
            self._held -= 0 if first.act is not None else size + OVERHEAD
        if first.act is not None:
            first.act()
        elif not self._gone and not self._send(piece, first.address):
            self.give_up()

    def _level(self) -> None:
        if self._owner.closed:  # by the flow above, when it was handed the last piece
            return
        if self._held > self._limits.room:
            self._room.say(False)
        elif self._held <= self._limits.room // 2:
            self._room.say(True)
