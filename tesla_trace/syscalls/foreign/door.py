"""The handler at the bottom of the graph of a listener that is not ours."""

from __future__ import annotations

import socket as sockets
import struct
from collections.abc import Callable

from tesla_trace.address import Address
from tesla_trace.flow import Context, FlowHandler
from tesla_trace.io.graph import Graph
from tesla_trace.io.network import Network
from tesla_trace.kernel import sockaddr
from tesla_trace.kernel.at_once import accept_at_once

NO_LINGER = struct.pack("ii", 0, 0)


class Door(FlowHandler):
    """Takes connections from a listener that is lent to it, call by call.

    The listener is the kernel's, bound and listening already, and other processes may have it too:
    so it is told nothing, and closing the door closes nothing.
    """

    name = "network"

    def __init__(
        self, ctx: Context, graph: Graph, network: Network, shut: Callable[[], None]
    ) -> None:
        super().__init__(ctx, plumb=False)
        self._network = network
        self._graph = graph
        self._shut = shut
        self.lent: sockets.socket | None = None
        graph.bottoms.append(self)

    def bind(self, address: Address) -> None:
        """It is bound."""

    def listen(self, backlog: int) -> None:
        """It listens."""

    def accept(self) -> tuple[FlowHandler, Address]:
        """Take a connection that waits."""
        if self.lent is None:
            raise BlockingIOError
        with self._graph.guise:
            fd, name = accept_at_once(self.lent.fileno())
        real, peer = sockets.socket(fileno=fd), sockaddr.unpack(name)
        real.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, NO_LINGER)  # ours to keep
        return self._network.accepted(self.ctx, self._graph, real, peer), peer

    def may_avail(self, may: bool) -> None:
        """Nothing is taken before somebody asks."""

    def getsockname(self) -> Address:
        """The address that it listens on."""
        name: Address = self._listener.getsockname()
        return name

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Of the listener."""
        return self._listener.getsockopt(level, option, size)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """The program sets its options itself."""

    def close(self) -> None:
        """Take no more."""
        if self._give_up():
            self._shut()

    def abort(self) -> None:
        """Take no more."""
        self.close()

    @property
    def _listener(self) -> sockets.socket:
        if self.lent is None:
            raise OSError("lent to nobody now")
        return self.lent
