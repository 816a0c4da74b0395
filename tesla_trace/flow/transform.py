"""Handlers that turn one byte stream into another: encryption, compression."""

from __future__ import annotations

import enum
import errno
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar

from tesla_trace.address import Address
from tesla_trace.flow.errors import failure, put_off, reason
from tesla_trace.flow.handler import NOBODY, Context, FlowHandler
from tesla_trace.flow.intake import Intake
from tesla_trace.flow.reader import Parser, Reader
from tesla_trace.flow.switch import Switch


class State(enum.Enum):
    """How far a stream has come."""

    IDLE = enum.auto()
    TALKING = enum.auto()
    OPEN = enum.auto()
    OVER = enum.auto()


class Transform(FlowHandler):
    """A stream that may begin with a talk, and is then coded on the way out and on the way in.

    A subclass says how; what it does not say changes nothing.
    """

    types: ClassVar[frozenset[int]] = frozenset({socket.SOCK_STREAM})

    timeout: float = 30.0
    """Seconds the talk may take."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._talk = Reader(self.negotiate())
        self._limit = self.timer(self._too_late)
        self._early: list[Callable[[], object]] = []
        self._intake = Intake(self, self.decode, self._spoiled)
        self._may_avail = True
        self._room = True
        self._above = Switch(lambda may: self.upstream.may_write(self, may))
        self._said_last = self._ended = False
        self.state = State.IDLE
        if ctx.accepted is not None:
            self.state = State.TALKING
            self.later(self._begin)

    # ---- what a subclass says ----

    def negotiate(self) -> Parser:
        """The talk: `self.below.write(...)` to speak, `yield n` for n bytes of answer.

        It begins when the flow below is connected or accepted; `connected` goes up after it.

        Raises:
            OSError: no agreement; `connect` fails so, or an accepted flow ends so.
        """
        yield from ()

    def encode(self, data: bytes) -> bytes:
        """What to send for `data`; may be empty, to wait for more."""
        return data

    def decode(self, data: bytes) -> Iterable[bytes]:
        """The pieces, each of bounded size, that `data` brings: any part of the peer's stream.

        Pieces are asked for as they are wanted, so a generator need not do all its work at once.

        Raises:
            ValueError: this is not what the peer's `encode` makes.
        """
        return (data,)

    def finish(self) -> bytes:
        """What to send last, before the end of our stream."""
        return b""

    def complete(self) -> bool:
        """Whether the peer's stream may end here."""
        return True

    def no_more(self) -> None:
        """For `decode` to say, behind its last piece: here the peer's stream ends.

        Its connection may stay open, waiting for the end of ours.
        """
        self._intake.then(partial(self._end, None))

    def blame(self, error: OSError) -> OSError:
        """The error that ends the flow, with the place where it happened."""
        why = reason(error)
        return failure(error.errno or 0, f"+{self.name}: {why}") if why else error

    # ---- calls ----

    def connect(self, address: Address) -> None:
        """Connect, once: a talk that failed is not begun again."""
        if self.state is not State.IDLE:
            raise failure(errno.EISCONN, f"{self.name}: has been connected")
        super().connect(address)

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Send what `data` is encoded to."""
        if self.state is State.OVER or self._said_last:
            return False
        if self.state is not State.OPEN:
            self._keep(partial(self.write, data))
            return True
        coded = self.encode(data)
        return not coded or self.below.write(coded)

    def urge(self, byte: bytes) -> bool:
        """Write it: in a coded stream no byte stands out."""
        return self.write(byte)

    def shutdown(self, read: bool, write: bool) -> None:
        """Say the last word before the end of our stream."""
        if self.state is State.TALKING:
            return self._keep(put_off(partial(self.shutdown, read, write)))
        if write:
            self._say_last()
        super().shutdown(read, write)

    def close(self) -> None:
        """Say the last word; an accepted flow is opened first, for what was written to go."""
        if self.state is State.TALKING and self.ctx.accepted is not None:
            self.upstream = NOBODY
            return self._keep(self.close)
        self._say_last()
        super().close()

    def may_avail(self, may: bool) -> None:
        """Hand up, or keep; the talk goes on in any case."""
        self._may_avail = may
        if self.state is State.OPEN:
            self._intake.may(may)

    def _give_up(self) -> bool:
        self.state = State.OVER  # nothing is coded any more, not even a last word
        return super()._give_up()

    def _keep(self, act: Callable[[], object]) -> None:
        """Do when open what an accepted flow is asked before."""
        if self.ctx.accepted is None:
            raise failure(errno.ENOTCONN, f"{self.name}: not connected yet")
        self._early.append(act)

    def _say_last(self) -> None:
        if self.state is State.OPEN and not self._said_last:
            self._said_last = True
            if last := self.finish():
                self.below.write(last)

    # ---- events ----

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        """Begin the talk."""
        if error is not None:
            return super().connected(source, error)
        self.state = State.TALKING
        self._begin()

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """Hear what belongs to the talk; decode what comes after it."""
        if self.state is State.TALKING:
            return self._hear(data)
        return self.state is State.OPEN and self._intake.put(data)

    def urgent(self, source: FlowHandler, byte: bytes) -> bool:
        """Take it as a byte like any other."""
        return self.avail(source, byte)

    def may_write(self, source: FlowHandler, may: bool) -> None:
        """Pass it on, once open."""
        self._room = may
        if self.state is State.OPEN:
            self._above.say(may)

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None:
        """End the flow after all that came before has been handed up."""
        if self.state is State.TALKING:
            number = errno.ECONNREFUSED if self.ctx.accepted is None else errno.ECONNRESET
            if error is not None and error.errno:
                number = error.errno
            self._fail(failure(number, error and reason(error) or "hung up on in the talk"))
        elif self.state is State.OPEN:
            self._intake.then(partial(self._end, error))

    def _begin(self) -> None:
        if self.state is State.TALKING:
            self._limit.arm(self.timeout)
            self._hear(b"")
        if self.state is State.TALKING and self.ctx.accepted is not None:
            self._above.say(False)

    def _hear(self, data: bytes) -> bool:
        try:
            self._talk.feed(data)
        except OSError as error:
            self._fail(error)
            return False
        if self._talk.finished:
            self._open()
        return True

    def _open(self) -> None:
        self._limit.disarm()
        self.state = State.OPEN
        self._intake.may(self._may_avail)
        early, self._early = self._early, []
        for act in early:
            act()
        if self.ctx.accepted is None:
            self.upstream.connected(self)
        self._above.say(self._room)
        self._intake.put(bytes(self._talk.rest))

    def _fail(self, error: OSError) -> None:
        """It is over; tell the flow above, if there still is one, or else the log.

        Whoever connects logs why he cannot.
        """
        talking = self.state is State.TALKING
        self._limit.disarm()
        self.state = State.OVER
        if self.closed:
            return
        error = self.blame(error)
        if talking and self.ctx.accepted is None:
            return self.upstream.connected(self, error)
        if reason(error):
            self.ctx.flow.log(f"{error.strerror}")
        if self.upstream is NOBODY:
            self.close()
        else:
            self.upstream.ended(self, error)

    def _spoiled(self, wrong: ValueError) -> None:
        self._fail(failure(errno.EPROTO, str(wrong)))

    def _end(self, error: OSError | None) -> None:
        if error is None and not self.complete():
            return self._fail(failure(errno.ECONNRESET, "the stream was cut short"))
        if error is not None:
            self.state = State.OVER
        if error is not None or not self._ended:
            self._ended = True
            self.upstream.ended(self, error)

    def _too_late(self) -> None:
        self._fail(failure(errno.ETIMEDOUT, f"no agreement in {self.timeout:g} s"))
