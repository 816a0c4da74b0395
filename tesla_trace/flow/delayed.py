"""Handlers that hold data back for a time: latency, rate shaping."""

from __future__ import annotations

from functools import partial

from tesla_trace.address import Address
from tesla_trace.flow.handler import NOBODY, Context, FlowHandler
from tesla_trace.flow.lane import Lane, Limits

ROOM = Limits(64 * 1024)


class Delayed(FlowHandler):
    """Say when `size` more bytes may go each way; order and ends are kept here.

    Args:
        out, into: how much may be held, toward the network and from it.
    """

    def __init__(self, ctx: Context, out: Limits = ROOM, into: Limits = ROOM) -> None:
        super().__init__(ctx)
        self._listens = False
        self._lane_out = Lane(
            self,
            out,
            due=self.due_out,
            send=self._send_out,
            tell=lambda may: self.upstream.may_write(self, may),
        )
        self._lane_in = Lane(
            self,
            into,
            due=self.due_in,
            send=lambda data, origin: self.upstream.avail(self, data, origin),
            tell=lambda may: self.below.may_avail(may),
        )

    # ---- what a subclass says ----

    def due_out(self, size: int, arrived: float) -> float:
        """When `size` more bytes may go out, in seconds of the clock.

        It is asked for one piece after the other, when those before it have gone.

        Args:
            arrived: when they came here.
        """
        return arrived

    def due_in(self, size: int, arrived: float) -> float:
        """When `size` more bytes may go in, likewise."""
        return arrived

    # ---- the rest follows ----

    def listen(self, backlog: int) -> None:
        """Nothing is held of a flow that listens."""
        super().listen(backlog)
        self._listens = True

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
        """Let held data in, or keep it; of a listener, accept or not."""
        if self._listens:
            return super().may_avail(may)
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
