"""What the ends of a graph stand on, real: a loop, a network, pairs, TCP over loopback."""

from __future__ import annotations

import errno
import random
import socket
import time
from collections.abc import Callable
from typing import Any

from tesla_trace.flow import Address, Context, Flow, FlowHandler, Stack, parse
from tesla_trace.io.datapath import Datapath
from tesla_trace.io.graph import Graph
from tesla_trace.io.loop import Loop
from tesla_trace.io.network import Network
from tesla_trace.io.pair import Pair
from tesla_trace.io.top import Top


def _raised(wrong):
    raise wrong


LIMIT = 10.0

NOISE = random.Random(1).randbytes(64 * 1024)
"""Bytes that cannot be compressed."""


class World:
    """A loop that is turned until something holds, and what runs on it."""

    def __init__(self) -> None:
        self.loop = Loop(_raised)
        self.log: list[str] = []
        self.allow(Datapath.AUTO)

    def allow(self, datapath: Datapath) -> None:
        """Let bytes go these ways from now on."""
        self.network = Network(self.loop, datapath, self.log.append)

    def until(self, holds: Callable[[], object]) -> None:
        """Turn the loop until something holds."""
        end = time.monotonic() + LIMIT
        while not holds():
            assert time.monotonic() < end, "never"
            self.loop.turn(0.01)

    def turn(self, times: int = 5) -> None:
        """Turn the loop for what is ready now."""
        for _ in range(times):
            self.loop.turn(0)

    def graph(self) -> Graph:
        return Graph(self.loop, Flow(1, 4711, "curl", say=self.log.append))

    def bottom(self, real: socket.socket | None = None) -> tuple[Listener, Any]:
        """A bottom, and what it says to whoever is above."""
        graph = self.graph()
        if real is None:
            bottom = self.network.stream(graph, socket.AF_INET)
        else:
            bottom = self.network.bottom(graph, socket.AF_INET, real)
        bottom.upstream = above = Listener(bottom.ctx, plumb=False)
        return above, bottom

    def datagrams(self, domain: int = socket.AF_INET) -> tuple[Listener, Any]:
        """The same of datagrams."""
        real = socket.socket(domain, socket.SOCK_DGRAM)
        bottom = self.network.datagrams(self.graph(), domain, real)
        bottom.upstream = above = Listener(bottom.ctx, plumb=False)
        return above, bottom

    def flow(self, *words: str) -> Application:
        """A whole flow: the program's end of a pair, handlers, a socket."""
        return Application(self, words)


class Listener(FlowHandler):
    """Writes down what it is told."""

    name = "listener"

    def __init__(self, ctx: Context, *, plumb: bool = True) -> None:
        super().__init__(ctx, plumb=plumb)
        self.told: list[Any] = []
        self.got = b""
        self.datagrams: list[tuple[bytes, Address | None]] = []
        self.takes = True

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        self.told.append(("connected", error and error.errno))

    def accept_ready(self, source: FlowHandler) -> None:
        self.told.append("accept_ready")

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        self.got += data
        self.datagrams.append((data, origin))
        return self.takes

    def may_write(self, source: FlowHandler, may: bool) -> None:
        self.told.append(("may_write", may))

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None:
        self.told.append(("ended", error and error.errno))

    def undelivered(self, source: FlowHandler, error: OSError) -> None:
        self.told.append(error)


class Application:
    """A program's end of a flow, and the owner of its top."""

    def __init__(self, world: World, words: tuple[str, ...]) -> None:
        self.world = world
        self.pair = Pair(world.loop)
        assert self.pair.app is not None
        self.end = self.pair.app.dup()
        self.end.setblocking(False)
        self.pair.given()
        self.told: list[Any] = []
        self.deliveries = 0
        self.graph = world.graph()
        flow = self.graph.flow

        def below(domain: int, type: int) -> FlowHandler:
            return world.network.another(self.graph, domain, type)

        plumb = Stack(parse(words)).plumber(self.graph, below, flow)
        kind = (socket.AF_INET, socket.SOCK_STREAM)
        ctx = Context(*kind, self.graph, None, plumb, flow=flow)
        self.top = Top(ctx, self.graph, self.pair, self)

    def connect(self, address: Address) -> None:
        """Connect, and wait for it."""
        self.graph.flow.target = address
        self.top.connect(address)
        self.world.until(lambda: self.told)

    def receive(self, size: int) -> bytes:
        """That many bytes, or as many as there are before the end."""
        data = b""

        def more() -> bool:
            nonlocal data
            try:
                piece = self.end.recv(size - len(data))
            except BlockingIOError:
                return False
            data += piece
            return len(data) == size or not piece

        self.world.until(more)
        return data

    def sends_no_more(self) -> int:
        """Write until nothing more is taken, however long the loop turns; how much it was."""
        sent = calm = 0
        while calm < 50:
            try:
                sent += self.end.send(NOISE)
                calm = 0
            except BlockingIOError:
                calm += 1
                self.world.loop.turn(0.001)
        return sent

    # ---- Owner ----

    def connected(self, error: OSError | None) -> None:
        self.told.append(("connected", errno.errorcode[error.errno or 0] if error else None))
        if error is None:
            self.top.open()

    def arrived(self) -> None:
        self.told.append("arrived")

    def delivered(self) -> None:
        self.deliveries += 1

    def left(self) -> None:
        self.told.append("left")
        self.pair.close()

    def resets(self) -> bool:
        return False

    def spoil(self) -> None:
        Pair.spoil(self.end)

    def lost(self) -> None:
        self.told.append("lost")
        self.pair.close()


def udp(host: str = "127.0.0.1") -> socket.socket:
    """A peer for datagrams."""
    peer = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((host, 0))
    peer.settimeout(5)
    return peer


def tcp() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return one, other
