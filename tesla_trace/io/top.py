"""The handler on top of every graph: the program's end, our side of its socketpair."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from tesla_trace.flow import Address, Context, FlowHandler, named
from tesla_trace.io.graph import Graph
from tesla_trace.io.loop import READ
from tesla_trace.io.outlet import Outlet, StreamEnd
from tesla_trace.io.pair import Pair
from tesla_trace.io.urgent import Urgent, at_mark, take

PIECE = 256 * 1024
"""Bytes read at a time."""


class Owner(Protocol):
    """Whom the top tells what concerns the program's socket, not its bytes."""

    def connected(self, error: OSError | None) -> None:
        """The connect is over."""

    def arrived(self) -> None:
        """A connection can be accepted."""

    def delivered(self) -> None:
        """The program can read what it could not before: data, or the end."""

    def left(self) -> None:
        """The program has closed its last descriptor of the socket."""

    def resets(self) -> bool:
        """Whether the program's close is to be a reset."""

    def spoil(self) -> None:
        """Make the close of the pair a reset for the program."""

    def lost(self) -> None:
        """The flow is over, but the program may still have its socket."""


class Top(FlowHandler, StreamEnd):
    """Bytes between the pair and the graph, and the life of the program's socket.

    The program's socket may outlive a graph, and connect again through another: so the pair is the
    owner's to close.
    """

    name = "program"

    def __init__(self, ctx: Context, graph: Graph, pair: Pair, owner: Owner) -> None:
        super().__init__(ctx)
        self.graph = graph
        graph.top = self
        graph.expect_open()
        self._pair = pair
        self._owner = owner
        self._watch = pair.watch
        graph.serve(self._watch, self._readable, self._writable, self._hung_up, self.urged)
        self.outlet = Outlet(self, pair.watch)
        self._may_write = True
        self._open = self._done = self._marked = False
        self._shut_in = self._shut_out = False
        self._end: OSError | bool = False

    @property
    def direct(self) -> FlowHandler | None:
        """The network's end, once no handler is between it and us."""
        return self.below if self.graph.bottoms == self.downstream else None

    @property
    def opened(self) -> bool:
        """Whether it reads what the program writes."""
        return self._open

    @property
    def quiet(self) -> bool:
        """Whether nothing waits for the program here, and neither direction is over."""
        over = self._done or self._shut_in or self._shut_out or self._end is not False
        return self.outlet.quiet and not (self._marked or over)

    def open(self) -> None:
        """Begin to read what the program writes: it is connected now."""
        self._open = True
        self.graph.opened()
        self._watch.want(READ, self._may_write)
        self.outlet.start(self._pair.master)
        if self._end is not False and not self.outlet.queued:
            self._finish_in()

    def shut(self, read: bool, write: bool) -> None:
        """The program is about to shut its end down, for reading or for writing."""
        self._shut_in = self._shut_in or read
        self._shut_out = self._shut_out or write

    def lose(self, error: OSError) -> None:
        """The flow is over: the program sees a reset, or its connect fails."""
        if self._open:
            self._finish(error)
        elif not self.closed:
            self._owner.connected(error)

    # ---- events ----

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        """Tell the owner, who opens us."""
        self._owner.connected(error)

    def accept_ready(self, source: FlowHandler) -> None:
        """Tell the owner."""
        self._owner.arrived()

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """Hand over at once what the pair takes, and the rest when it does."""
        if not self.outlet.put(data):
            return False
        self.throttle()
        return True

    def urgent(self, source: FlowHandler, byte: bytes) -> bool:
        """Hand it over behind what came before."""
        return self.avail(source, Urgent(byte))

    def may_write(self, source: FlowHandler, may: bool) -> None:
        """Read what the program writes, or leave it in the pair, which stops the program."""
        self._may_write = may
        if self._open and not self._done:
            self._watch.want(READ, may)
            self._pass_urgent()

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None:
        """End the stream to the program once it has all that came before."""
        self._end = error or self._end or True
        if self._open and not self.outlet.queued:
            self._finish_in()

    # ---- what the loop tells ----

    def _readable(self) -> None:
        try:
            if self.splice(self._pair.master, self.below, self.graph.pipes):
                return self._pass_urgent()
            data = self._pair.master.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:  # ECONNRESET: closed with something unread
            return self._leave(unread=True)
        if data:
            self.ctx.flow.out += len(data)
            if not self.below.write(data):
                self.unwanted()
            self._pass_urgent()
        elif self._pair.gone():
            self._leave(unread=False)
        else:
            self._done = True
            self._watch.want(READ, False)
            with suppress(OSError):  # reset meanwhile: an event tells
                self.shutdown(False, True)

    def took(self, size: int) -> None:
        """Count what the program wrote."""
        self.ctx.flow.out += size

    def urged(self) -> None:
        """Send an urgent byte on in its place."""
        self._marked = True
        self._pass_urgent()

    def _pass_urgent(self) -> None:
        """Send the urgent byte on, when reading has come to it."""
        if self._marked and self._open and self._may_write and not self.closed:
            if at_mark(self._pair.master):
                self._marked = False
                if byte := take(self._pair.master):
                    self.below.urge(byte)

    def _writable(self) -> None:
        self.outlet.flush()
        if self._end is not False and not self.outlet.queued:
            return self._finish_in()
        self.throttle()

    def throttle(self) -> None:
        """Ask for a stop, or end it."""
        if self.outlet.changed(self._pair.full):
            self.may_avail(self.outlet.room)

    def _hung_up(self) -> None:
        """The program has closed; while we read, reading tells, in its place behind the data."""
        if not self._open:
            self._leave(unread=False)
        elif self._done:
            self._leave(unread=self._pair.left_unread())

    def unwanted(self) -> None:
        """Nothing can be written any more: what the program writes fails with EPIPE."""
        if not self._done and not self.closed:
            self._done = True
            self._watch.want(READ, False)
            self._pair.refuse()

    # ---- what the way out tells ----

    def sent(self, size: int) -> None:
        """So much is there for the program to read."""
        self.ctx.flow.into += size
        self._owner.delivered()

    def broken(self, error: OSError) -> None:
        """The program has closed its end, or shut it down for reading; reading tells which."""

    # ---- ends ----

    def _give_up(self) -> bool:
        self.ctx.flow.events.close()
        self.outlet.drop()
        return super()._give_up()

    def _leave(self, unread: bool) -> None:
        """The program has closed its socket; or both directions are over, which looks the same."""
        shut_in = self._shut_in or self._end is True and not self.outlet.queued
        over = shut_in and (self._shut_out or self._done)
        if self._open and (unread or self.outlet.queued or self._owner.resets()):
            self.abort()
        else:
            self.close()
        if over:
            self._owner.lost()
        else:
            self._owner.left()

    def _finish_in(self) -> None:
        if isinstance(self._end, OSError):
            self._finish(self._end)
        elif not self.outlet.ended and not self.outlet.lost:
            self.outlet.ended = True
            self._pair.end()
            self._owner.delivered()

    def _finish(self, error: OSError) -> None:
        if not self.closed:
            self.ctx.flow.failed = named(error)
            self._owner.spoil()
            self._owner.lost()
            self.abort()  # last, for it reaches the handlers
