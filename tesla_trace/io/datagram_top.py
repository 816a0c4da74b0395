"""The handler on top of a graph of datagrams: the program's end, our side of its pair."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from tesla_trace.flow import Address, Context, FlowHandler
from tesla_trace.io.datagram import ancillary_of
from tesla_trace.io.datagram_pair import DatagramPair
from tesla_trace.io.endpoint import can_show
from tesla_trace.io.graph import Graph
from tesla_trace.io.labels import WAKE, Label
from tesla_trace.io.loop import READ, WRITE

BATCH = 32
"""Datagrams taken at the most before others have their turn."""

MOST = 256
"""Datagrams that the pair holds at the most: each takes 256 bytes of its buffer besides its own."""

OVERHEAD = 512
"""Bytes that a datagram counts for besides its own, so that empty ones count too."""

FULL = 1024 * 1024
"""Bytes that the program has not taken when we ask for a stop; half of it ends the stop."""


class DatagramOwner(Protocol):
    """Whom the top tells what concerns the program's socket."""

    peer: Address | None
    """The peer of a connected socket."""

    def uncorked(self, data: bytes) -> bytes:
        """What is to go before `data` in one datagram, and that behind it."""

    def undelivered(self, error: OSError) -> None:
        """A datagram did not get there."""

    def offered(self, data: bytes, label: Label) -> bool:
        """A datagram has come, and none waits before it; True if that is all that it takes."""

    def arrived(self) -> None:
        """A datagram has been put before the program."""

    def may_send(self) -> None:
        """Writing is wanted again."""

    def left(self) -> None:
        """The program has closed its last descriptor of the socket."""


class DatagramTop(FlowHandler):
    """Datagrams between the pair and the graph.

    The program's socket may outlive a graph: so the pair is the owner's to close.
    """

    name = "program"

    def __init__(
        self, ctx: Context, graph: Graph, pair: DatagramPair, owner: DatagramOwner
    ) -> None:
        super().__init__(ctx)
        self.graph = graph
        graph.top = self
        self._pair = pair
        self._owner = owner
        self._watch = pair.watch
        graph.serve(self._watch, self._readable, self._writable, self._hung_up, _nothing)
        self._queue: deque[tuple[bytes, Label]] = deque()
        self._queued = 0
        self._may_avail = True
        self.may = True
        """Whether writing is wanted."""
        self._shut = False
        self._watch.want(READ, True)

    def lose(self, error: OSError) -> None:
        """The flow is over: what the program sends is dropped."""
        self.may = True
        self._owner.undelivered(error)

    def shutdown(self, read: bool, write: bool) -> None:
        """End a direction: of the pair, too."""
        self.drain()
        super().shutdown(read, write)
        if write:
            self._shut = True
            self._watch.want(READ, False)  # from now on it has an end to read, without end
            self._pair.refuse()
        if read:
            self._pair.end()
            self._owner.arrived()

    def _give_up(self) -> bool:
        self.ctx.flow.events.close()
        return super()._give_up()

    def drain(self) -> None:
        """Send what the program has sent by now, before something that is sent in another way.

        Not more than there can have been: other threads may be sending without end.
        """
        for _ in range(MOST):
            if not self.may or self._shut or not self._take():
                return

    # ---- events ----

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        """Of importance only if it has failed."""
        if error is not None:
            self._owner.undelivered(error)

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """Put a datagram before the program, now or when there is room."""
        if origin is not None and not can_show(origin, self.ctx.domain):
            return True  # an IPv6 source, at a relay say, of which an IPv4 socket cannot tell
        label = Label(origin or self._owner.peer, ancillary_of(data))
        if not self._queue and self._owner.offered(data, label):
            self.ctx.flow.into += len(data)
            return True
        if self._put_or_wait(data, label):
            self._owner.arrived()
        return True

    def may_write(self, source: FlowHandler, may: bool) -> None:
        """Take what the program sends, or leave it in the pair, which stops the program."""
        self.may = may
        if not self.closed:
            self._watch.want(READ, may and not self._shut)
            if may:
                self._owner.may_send()

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None:
        """Datagrams have no end; an error is the program's to know."""
        if error is not None:
            self._owner.undelivered(error)

    def undelivered(self, source: FlowHandler, error: OSError) -> None:
        """Tell the owner."""
        self._owner.undelivered(error)

    def again(self, data: bytes, label: Label) -> None:
        """Put one that reached nobody before the program once more, behind what there is."""
        self.ctx.flow.into -= len(data)
        self._put_or_wait(data, label)

    def _put_or_wait(self, data: bytes, label: Label) -> bool:
        """Put a datagram before the program, or later when there is room; whether that was now."""
        if not self._queue and self._put(data, label):
            return True
        self._queue.append((data, label))
        self._queued += len(data) + OVERHEAD
        self._watch.want(WRITE, True)
        if self._queued > FULL and self._may_avail:
            self._may_avail = False
            self.may_avail(False)
        return False

    def wake(self) -> None:
        """Let whoever waits for a datagram find out about an error."""
        self._put(b"", WAKE)
        self._owner.arrived()

    # ---- what the loop tells ----

    def _readable(self) -> None:
        for _ in range(BATCH):
            if not self.may or not self._take():
                return

    def _take(self) -> bool:
        """Pass on one datagram that the program has sent; False if there was none."""
        try:
            data = self._pair.receive()
        except BlockingIOError:
            return False
        except OSError:  # closed with something unread
            data = None
        if data is None:
            self._leave()
            return False
        data = self._owner.uncorked(data)
        self.ctx.flow.out += len(data)
        try:
            self.below.write(data)
        except OSError as error:
            self._owner.undelivered(error)
        return not self.closed

    def _writable(self) -> None:
        while self._queue:
            data, label = self._queue[0]
            if not self._put(data, label):
                break
            self._queued -= len(data) + OVERHEAD
            self._queue.popleft()
            self._owner.arrived()
        if not self._queue:
            self._watch.want(WRITE, False)
        if self._queued <= FULL // 2 and not self._may_avail:
            self._may_avail = True
            self.may_avail(True)

    def _hung_up(self) -> None:
        """The program has closed; while we read, reading tells, behind what it has sent."""
        if self._shut:
            self._leave()

    def _put(self, data: bytes, label: Label) -> bool:
        try:
            sent = self._pair.send(data, label)
            self.ctx.flow.into += len(data) if sent else 0
            return sent
        except OSError:  # the program has closed, or too many labels are under way: it is dropped
            return True

    def _leave(self) -> None:
        if not self.closed:
            self.close()
            self._owner.left()


def _nothing() -> None: ...
