"""A network of datagrams in miniature, on a hand clock, with a SOCKS proxy that has a relay.

    air = Air()
    one = air.application(["+latency=1s"], ("127.0.0.1", 5000))
    one.write(b"hello", ("127.0.0.1", 5001))

Nothing is lost or overtaken.  The applications check, at every event, what they are promised.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

from tesla_trace.flow import NOBODY, Address, Context, Flow, FlowHandler, Stack, failure, parse
from tesla_trace.testing.playbook import HandClock

PROXY, RELAY = ("10.0.0.9", 1080), ("10.0.0.9", 4000)


class Air:
    """The network, and a clock for all that is on it."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.sockets: dict[tuple[str, int], Endpoint] = {}
        self.ends: list[FlowHandler] = []
        self.log: list[str] = []

    def application(
        self, words: Sequence[str], name: tuple[str, int], *, probed: bool = False
    ) -> App:
        flow = Flow(1, 4711, "dig", write=self.log.append, say=self.log.append)
        plumb = Stack(parse(words), probed=probed).plumber(self.clock, self.end, flow)
        app = App(Context(socket.AF_INET, socket.SOCK_DGRAM, self.clock, None, plumb, flow=flow))
        app.bind(name)
        return app

    def end(self, domain: int, type: int) -> FlowHandler:
        ctx = Context(domain, type, self.clock, None, self.end)
        self.ends.append(Endpoint(ctx, self) if type == socket.SOCK_DGRAM else Proxy(ctx, self))
        return self.ends[-1]

    def run(self, seconds: float = 60) -> None:
        self.clock.advance(seconds)


class Endpoint(FlowHandler):
    """A socket, in place of the handler at the bottom."""

    def __init__(self, ctx: Context, air: Air) -> None:
        super().__init__(ctx, plumb=False)
        self.upstream = NOBODY  # of a relay for good
        self.air = air
        self.name_here = ("10.0.0.1", 40000 + len(air.ends))
        self.peer: Address | None = None
        self.queue: deque[tuple[bytes, Address]] = deque()
        self.may = True
        air.sockets[self.name_here] = self

    def bind(self, address: Address) -> None:
        del self.air.sockets[self.name_here]
        self.name_here = address[0], address[1]
        self.air.sockets[self.name_here] = self

    def connect(self, address: Address) -> None:
        self.peer = address
        self.later(lambda: self.upstream.connected(self))

    def write(self, data: bytes, to: Address | None = None) -> bool:
        assert not self.closed, "written to after close"
        target = to or self.peer
        if target is None:
            raise failure(errno.EDESTADDRREQ, "to nobody")
        if len(data) > 65507:
            raise failure(errno.EMSGSIZE, "too long")
        there = self.air.sockets.get((target[0], target[1]))
        if there is None:
            refused = failure(errno.ECONNREFUSED, "nobody there")
            self.later(lambda: self.upstream.undelivered(self, refused))
        else:
            there.queue.append((data, self.name_here))
            there.later(there.turn)
        return True

    def may_avail(self, may: bool) -> None:
        assert not self.closed
        self.may = may
        self.later(self.turn)

    def turn(self) -> None:
        while self.queue and self.may and not self.closed:
            data, origin = self.queue.popleft()
            self.upstream.avail(self, data, origin)

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.air.sockets.pop(self.name_here, None)
        super().close()

    def abort(self) -> None:
        self.air.sockets.pop(self.name_here, None)
        super().abort()

    def getsockname(self) -> Address:
        return self.name_here

    def getpeername(self) -> Address:
        if self.peer is None:
            raise failure(errno.ENOTCONN, "no peer")
        return self.peer

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return bytes([level, option])[:size]


class Proxy(FlowHandler):
    """The stream to a SOCKS proxy, and the proxy at the other end of it, with its relay."""

    def __init__(self, ctx: Context, air: Air) -> None:
        super().__init__(ctx, plumb=False)
        self.air = air
        self.said = b""
        self.relay: Relay | None = None

    def connect(self, address: Address) -> None:
        assert address == PROXY
        self.later(lambda: self.upstream.connected(self))

    def write(self, data: bytes, to: Address | None = None) -> bool:
        self.said += data
        if self.said == b"\5\1\0":
            self.later(lambda: self.upstream.avail(self, b"\5\0"))
        elif self.said == b"\5\1\0" + b"\5\3\0\1" + bytes(6):
            self.relay = Relay(self.ctx, self.air)
            self.relay.bind((RELAY[0], RELAY[1] + len(self.air.ends)))
            answer = b"\5\0\0" + _packed(self.relay.name_here)
            self.later(lambda: self.upstream.avail(self, answer))
        return True

    def may_avail(self, may: bool) -> None: ...

    def getpeername(self) -> Address:
        return PROXY

    def hang_up(self) -> None:
        """Forget the flow."""
        if self.relay is not None:
            self.relay.close()
            self.relay = None
        self.later(lambda: self.upstream.ended(self))

    def close(self) -> None:
        assert not self.closed, "closed twice"
        super().close()
        if self.relay is not None:
            self.relay.close()


class Relay(Endpoint):
    """Passes on what the client asks for, and what comes back."""

    client: Address | None = None

    def turn(self) -> None:
        while self.queue:
            data, origin = self.queue.popleft()
            if self.client in (None, origin):
                self.client = origin
                assert data[:4] == b"\0\0\0\1", "no IPv4 in SOCKS 5"
                to = str(ipaddress.ip_address(data[4:8])), int.from_bytes(data[8:10], "big")
                super().write(data[10:], to)
            else:
                super().write(b"\0\0\0" + _packed(origin) + data, self.client)


def _packed(address: Address) -> bytes:
    return b"\1" + ipaddress.ip_address(address[0]).packed + address[1].to_bytes(2, "big")


class App(FlowHandler):
    """The handler on top: remembers what came in, and checks the promises of `handler.py`."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.got: list[tuple[bytes, Address | None]] = []
        self.errors: list[int | None] = []
        self.taking = self.may = True
        self.closes = ""

    def take(self, may: bool) -> None:
        self.taking = may
        self.may_avail(may)

    def write(self, data: bytes, to: Address | None = None) -> bool:
        self.ctx.flow.target = to or self.ctx.flow.target
        return super().write(data, to)

    def connect(self, address: Address) -> None:
        self.ctx.flow.target = address
        super().connect(address)

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        self._check(source)

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        self._check(source)
        assert self.taking, "in spite of may_avail(False)"
        self.got.append((data, origin))
        if self.closes:
            getattr(self, self.closes)()
        return True

    def may_write(self, source: FlowHandler, may: bool) -> None:
        self._check(source)
        self.may = may

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None:
        raise AssertionError("datagrams have no end")

    def undelivered(self, source: FlowHandler, error: OSError) -> None:
        self._check(source)
        self.errors.append(error.errno)

    def _check(self, source: FlowHandler) -> None:
        assert not self.closed, "an event after close"
        clock: Any = self.ctx.clock
        assert clock.turning, "an event from inside a call"
        assert source in self.downstream, "an event from a stranger"
