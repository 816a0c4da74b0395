"""A network in miniature, and applications on it, all on a hand clock.

    network = Network()
    listener = network.application(words)     # a stack of handlers, and an application on top
    client = network.application(words)

What is written arrives cut as `cuts` says, and a wire holds `room` bytes before it asks for a
stop.  `handlers` add to those that are installed.  The applications check, at every event, what
they are promised.  `network.log` is the log of all flows.
"""

from __future__ import annotations

import errno
import itertools
import socket
from collections import ChainMap, deque
from collections.abc import Sequence
from typing import Any

from tesla_trace.flow import (
    NOBODY,
    Address,
    Context,
    Flow,
    FlowHandler,
    Parser,
    Stack,
    Transform,
    failure,
    installed,
    parse,
)
from tesla_trace.testing.playbook import HandClock

SERVER = ("192.0.2.1", 80)
CLIENT = ("192.0.2.2", 5000)


class Network:
    """The network, and a clock for all that is on it.

    Args:
        cuts: how many bytes arrive at a time, in turn.
        room: bytes that a wire holds.
        handlers: by name, besides those that are installed.
    """

    def __init__(
        self, cuts: Sequence[int] = (10**9,), room: int = 10**9, **handlers: type[FlowHandler]
    ) -> None:
        peers = {each.name: each for each in (SocksProxy, HttpProxy)}
        theirs: Any = installed()  # in which nothing is set
        self.handlers = ChainMap({**peers, **handlers}, theirs)
        self.clock = HandClock()
        self.cuts = itertools.cycle(cuts)
        self.room = room
        self.listener: Wire | None = None
        self.wires: list[Wire] = []
        self.log: list[str] = []
        self.flows = itertools.count(1)

    def flow(self, program: str, **facts: Any) -> Flow:
        log = self.log.append
        return Flow(next(self.flows), 4711, program, write=log, say=log, **facts)

    def stack(self, words: Sequence[str], *, probed: bool = False) -> Stack:
        """For applications that share it, as the flows of one program do."""
        return Stack(parse(words, self.handlers), self.handlers, probed=probed)

    def application(self, words: Sequence[str] | Stack = (), *, probed: bool = False) -> App:
        stack = words if isinstance(words, Stack) else self.stack(words, probed=probed)
        flow = self.flow("curl")
        plumb = stack.plumber(self.clock, self.wire, flow)
        return App(Context(socket.AF_INET, socket.SOCK_STREAM, self.clock, None, plumb, flow=flow))

    def pair(
        self,
        words: Sequence[str] | Stack = (),
        other: Sequence[str] | Stack | None = None,
        closes_at: str | None = None,
        gives_up: str = "close",
    ) -> list[App]:
        """A client that connects through `words`, and what a server just accepted from it."""
        server = self.application(words if other is None else other)
        server.bind(SERVER)
        server.listen(1)
        client = self.application(words)
        client.closes_at, client.gives_up = closes_at, gives_up
        client.connect(SERVER)
        return [client, self.accepted(server)]

    def accepted(self, server: App) -> App:
        """What the server accepts, as soon as it can."""
        self.run(0)
        while not server.arrived:
            assert self.clock.pending(), "nothing comes"
            self.run(0.05)
        server.arrived -= 1
        accepted, peer = server.accept()
        assert isinstance(accepted, App) and peer == CLIENT
        return accepted

    def run(self, seconds: float = 60) -> None:
        self.clock.advance(seconds)

    def wire(self, domain: int, type: int, flow: Flow | None = None) -> Wire:
        ctx = Context(domain, type, self.clock, None, self.wire, flow=flow or Flow())
        self.wires.append(Wire(ctx, self))
        return self.wires[-1]


class Wire(FlowHandler):
    """One end of a cable, in place of the handler at the bottom."""

    def __init__(self, ctx: Context, network: Network) -> None:
        super().__init__(ctx, plumb=False)
        self.upstream = NOBODY  # until accepted
        self.network = network
        self.other: Wire | None = None
        self.queue: deque[bytes | None] = deque()
        self.may = self.told = True
        self.last_answer = True
        self.shut = self.gone = False
        self.name_here: Address | None = None
        self.backlog: deque[Wire] = deque()

    def connect(self, address: Address) -> None:
        if self.other is not None:
            raise failure(errno.EISCONN, "connected")
        listener = self.network.listener
        if listener is None:
            refused = failure(errno.ECONNREFUSED, "nobody listens")
            self.later(lambda: self.upstream.connected(self, refused))
            return
        flow = self.network.flow("httpd", accepted=True, target=CLIENT)
        self.other = self.network.wire(self.ctx.domain, self.ctx.type, flow)
        self.other.may = False  # until accepted
        self.other.other, self.other.name_here, self.name_here = self, address, CLIENT
        listener.backlog.append(self.other)
        listener.later(lambda: listener.upstream.accept_ready(listener))
        self.later(lambda: self.upstream.connected(self))

    def bind(self, address: Address) -> None:
        self.name_here = address

    def listen(self, backlog: int) -> None:
        self.network.listener = self
        self.name_here = self.name_here or SERVER

    def accept(self) -> tuple[FlowHandler, Address]:
        if not self.backlog:
            raise BlockingIOError(errno.EAGAIN, "nobody waits")
        wire = self.backlog.popleft()
        wire.may_avail(True)
        if wire.gone:
            wire.reset()  # there was nobody to be told
        return wire, CLIENT

    def write(self, data: bytes, to: Address | None = None) -> bool:
        assert self.other is not None, "written to before connected"
        assert not self.closed, "written to after close"
        if self.shut:
            return False
        if self.other.closed:
            self.reset()
            return True
        self.other.queue.append(data)
        self.other.later(self.other.turn)
        self.later(self.level)
        return True

    def shutdown(self, read: bool, write: bool) -> None:
        if self.other is None or self.gone:
            raise failure(errno.ENOTCONN, "no peer")
        if write and not self.shut:
            self.shut = True
            self.other.queue.append(None)
            self.other.later(self.other.turn)

    def close(self) -> None:
        assert not self.closed, "closed twice"
        if self.other is not None and not self.gone:
            self.shutdown(True, True)
            if any(self.queue):
                self.gone = True
                self.other.reset()  # as TCP does, having thrown away what it acknowledged
        super().close()

    def abort(self) -> None:
        if self.other is not None and not self.gone:
            self.gone = True
            self.queue.clear()
            self.other.reset()
        super().abort()

    def reset(self) -> None:
        """Lose the connection, as seen from this end."""
        self.gone = self.shut = True
        self.queue.clear()
        self.later(lambda: self.upstream.ended(self, failure(errno.ECONNRESET, "reset")))

    def may_avail(self, may: bool) -> None:
        assert not self.closed
        self.may = may
        self.later(self.turn)

    def getsockname(self) -> Address:
        assert self.name_here is not None
        return self.name_here

    def getpeername(self) -> Address:
        if self.other is None:
            raise failure(errno.ENOTCONN, "no peer")
        return self.other.getsockname()

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return bytes([level, option])[:size]

    def ioctl(self, request: int, argument: bytes) -> bytes:
        return argument[::-1]

    def turn(self) -> None:
        while self.queue and self.may and not self.closed:
            data = self.queue.popleft()
            if data is None:
                self.upstream.ended(self)
            elif data:
                cut = min(len(data), next(self.network.cuts))
                if data[cut:]:
                    self.queue.appendleft(data[cut:])
                self.last_answer = self.upstream.avail(self, data[:cut])
        if self.other is not None:
            self.other.later(self.other.level)

    def level(self) -> None:
        """Ask the flow above for a stop when the other end has much to read, or for more."""
        assert self.other is not None
        waiting = sum(len(data or b"") for data in self.other.queue)
        if self.told != (waiting <= self.network.room):
            self.told = not self.told
            self.upstream.may_write(self, self.told)


class App(FlowHandler):
    """The handler on top: remembers what came in, and checks the promises of `handler.py`."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.log: list[Any] = []
        self.errors: list[OSError] = []
        self.got = b""
        self.taking = True
        self.may = True
        self.hears = True
        self.stops = False
        self.closes_at: str | None = None
        self.gives_up = "close"
        self.arrived = 0
        """Connections that can be accepted."""

    @property
    def end(self) -> int | None:
        """The errno of the end, 0 for a good one, None while there is none."""
        ends = [what for what in self.log if isinstance(what, int)]
        assert len(ends) < 2 or (ends[0] == 0 and ends[1] and len(ends) == 2), f"ended: {ends}"
        return ends[0] if ends else None

    def take(self, may: bool) -> None:
        self.taking = may
        self.may_avail(may)

    def connect(self, address: Address) -> None:
        self.ctx.flow.target = address
        super().connect(address)

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        self._check(source)
        assert self.ctx.accepted is None
        self.errors += [error] if error else []
        self.log.append(error.errno if error else "connected")
        if self.closes_at == "connected":
            getattr(self, self.gives_up)()

    def accept_ready(self, source: FlowHandler) -> None:
        self._check(source)
        self.arrived += 1

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        self._check(source)
        assert data and self.taking, "in spite of may_avail(False)"
        assert self.end is None, "after the end"
        assert self.log or self.ctx.accepted, "before the beginning"
        self.got += data
        if self.closes_at == "avail":
            getattr(self, self.gives_up)()
        elif self.stops:
            self.take(False)
        return self.hears

    def may_write(self, source: FlowHandler, may: bool) -> None:
        self._check(source)
        self.may = may

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None:
        self._check(source)
        self.errors += [error] if error else []
        self.log.append(error.errno if error else 0)
        assert self.end is not None

    def _check(self, source: FlowHandler) -> None:
        assert not self.closed, "an event after close"
        assert self.ctx.clock.turning, "an event from inside a call"  # type: ignore[attr-defined]
        assert source in self.downstream, "an event from a stranger"


class SocksProxy(Transform):
    """The peer of socks: the proxy and, behind it, the application's target."""

    name = "socks-proxy"

    def negotiate(self) -> Parser:
        _, methods = yield 2
        yield methods
        self.below.write(b"\x05\x00")
        _, _, _, form = yield 4
        size = {1: 4, 4: 16}.get(form) or (yield 1)[0]
        yield size + 2
        self.below.write(b"\x05\x00\x00\x01" + bytes(6))


class HttpProxy(Transform):
    """The peer of http, likewise."""

    name = "http-proxy"

    def negotiate(self) -> Parser:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += yield 1
        self.below.write(b"HTTP/1.1 200 OK\r\n\r\n")
