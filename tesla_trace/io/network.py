"""All the sockets that we have open to the network."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tesla_trace.flow import Address, Context, Flow
from tesla_trace.io.bottom import NONBLOCK, Bottom
from tesla_trace.io.datagram_bottom import DatagramBottom
from tesla_trace.io.datapath import Datapath
from tesla_trace.io.endpoint import Endpoint
from tesla_trace.io.graph import Graph
from tesla_trace.io.loop import Alarm, Loop
from tesla_trace.io.pipes import Pipes
from tesla_trace.io.resolver import Resolver

STALLED = 60.0
"""Seconds without a byte after which, at the end, a connection is given up."""


def _unheard(flow: Flow) -> None: ...


def _unsaid(line: str) -> None: ...


class Network:
    """Makes the bottoms of graphs, and knows which still have something to send.

    Args:
        say: writes a line to the log, once.
    """

    def __init__(
        self,
        loop: Loop,
        datapath: Datapath = Datapath.AUTO,
        say: Callable[[str], None] = _unsaid,
    ) -> None:
        self.loop = loop
        self.datapath = datapath
        self.pipes = Pipes(say, eager=datapath is Datapath.SPLICE)
        self.resolver = Resolver(loop)
        self.open: set[Endpoint] = set()
        self.flow: Callable[[], Flow] = Flow
        """Makes the `Flow` of a connection that comes in."""
        self.over: Callable[[Flow], None] = _unheard
        """Told when nothing is left of a flow."""
        self._drained: Callable[[], None] | None = None
        self._stall: Alarm | None = None
        """Looks, at the end, whether anything moves."""

    def bottom(self, graph: Graph, domain: int, real: socket.socket) -> Bottom:
        """A stream of the network, for a graph."""
        if self.datapath is not Datapath.HANDLERS:
            graph.pipes = self.pipes
        return Bottom(self._context(graph, domain, socket.SOCK_STREAM), graph, self, real)

    def datagrams(self, graph: Graph, domain: int, real: socket.socket) -> DatagramBottom:
        """A datagram flow of the network, for a graph."""
        return DatagramBottom(self._context(graph, domain, socket.SOCK_DGRAM), graph, self, real)

    def stream(self, graph: Graph, domain: int) -> Bottom:
        """One more stream for a graph, whose socket nobody has made yet.

        Raises:
            OSError: as socket(2).
        """
        with graph.guise:
            real = socket.socket(domain, socket.SOCK_STREAM | NONBLOCK)
        return self.bottom(graph, domain, real)

    def another(self, graph: Graph, domain: int, type: int) -> Endpoint:
        """One more flow of either kind for a graph.

        Raises:
            OSError: as socket(2).
        """
        if type == socket.SOCK_DGRAM:
            with graph.guise:
                real = socket.socket(domain, type)
            return self.datagrams(graph, domain, real)
        return self.stream(graph, domain)

    def accepted(self, ctx: Context, listener: Graph, real: socket.socket, peer: Address) -> Bottom:
        """A flow that came in: the bottom of a new graph."""
        flow = self.flow()
        flow.accepted, flow.target = True, peer
        flow.pid, flow.program = ctx.flow.pid, ctx.flow.program
        graph = Graph(self.loop, flow, listener.guise)
        bottom = self.bottom(graph, ctx.domain, real)
        bottom.start()
        return bottom

    def forget(self, bottom: Endpoint) -> None:
        """A socket has been closed."""
        graph = bottom.graph
        if not graph.bottoms and (graph.top is None or graph.top.closed):
            self.over(graph.flow)
        self.release(bottom)

    def release(self, bottom: Endpoint) -> None:
        """Its socket is no longer ours to send by."""
        if bottom in self.open:
            self.open.remove(bottom)
            if not self.open and self._drained is not None:
                if self._stall is not None:
                    self._stall.cancel()
                self._drained()

    def drain(self, done: Callable[[], None]) -> None:
        """Call `done` once nothing is left to send, or what is left does not move any more."""
        self._drained = done
        if self.open:
            self._expect_movement()
        else:
            done()

    def _expect_movement(self) -> None:
        before = {bottom: bottom.moved for bottom in self.open}

        def look() -> None:
            for bottom in self.open & before.keys():
                if bottom.moved == before[bottom]:
                    bottom.ctx.flow.log(f"given up: nothing moved in {STALLED:g} s")
                    bottom.abort()
            if self.open:
                self._expect_movement()

        self._stall = self.loop.at(self.loop.now() + STALLED, look)

    def _context(self, graph: Graph, domain: int, type: int) -> Context:
        def plumb(domain: int, type: int) -> Endpoint:
            return self.another(graph, domain, type)

        return Context(domain, type, graph, None, plumb, flow=graph.flow)
