"""Datagrams by way of a SOCKS proxy's relay: UDP ASSOCIATE of RFC 1928."""

from __future__ import annotations

import socket
from contextlib import suppress
from errno import ENETUNREACH

from tesla_trace.flow import (
    Address,
    Context,
    FlowHandler,
    Parser,
    Proxied,
    ProxiedDatagrams,
    failure,
    numeric,
)
from tesla_trace.handlers._socks import (
    ASSOCIATE,
    IPV4,
    IPV6,
    NAME,
    SIZES,
    SocksOptions,
    ask_5,
    log_in,
    packed,
    unpacked,
)

EARLY = 256
"""Datagrams kept while the proxy is asked for a relay; those beyond are dropped."""

ENOUGH = 32
"""Datagrams kept when we ask for a stop."""

LINGER = 0.5
"""Seconds that a relay is kept after the last datagram when the program closes: the proxy ends it
with the talk, and may hear of that before it has passed the datagram on."""

KNOWN = 4096
"""Peers that are remembered to have been written to by number."""


class Associate(ProxiedDatagrams):
    """Datagrams by way of the proxy's relay (UDP ASSOCIATE), asked for with the first of them.

    They go to the relay by a flow of their own: it may be of another family than the program's
    socket, or not to be reached from the address that this one is bound to.
    """

    name = "socks"
    options: SocksOptions

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._asking: _Asking | None = None
        self._way: FlowHandler | None = None
        """The flow to the relay."""
        self._early: list[bytes] = []
        self._sent = 0.0
        """When the last datagram went to the relay."""
        self._settings: dict[int, bytes] = {}
        self._stopped: set[FlowHandler] = set()
        self._may = True
        self._names: dict[int, Address] = {}
        """The name that was last written to, by port: answers come from a number."""
        self._numbers: set[tuple[str, int]] = set()
        """What was written to by number."""

    def relay(self, data: bytes, target: Address) -> bool:
        if self.options.version != "5":
            raise failure(ENETUNREACH, f"SOCKS {self.options.version} has no datagrams")
        number = numeric(target[0])
        if number is None:
            self._names[target[1]] = target
        else:
            if len(self._numbers) >= KNOWN:
                self._numbers.clear()
            self._numbers.add((str(number), target[1]))
        packet = b"\0\0\0" + packed(target) + data
        if self._way is not None:
            self._sent = self.ctx.clock.now()
            return self._way.write(packet)
        if len(self._early) < EARLY:
            self._early.append(packet)
        if len(self._early) == ENOUGH:
            self.later(self._hold)
        if self._asking is None:
            self._ask()
        return True

    def relayed(self, source: FlowHandler, data: bytes) -> bool:
        # A fragment, which nobody sends, is dropped as RFC 1928 says; so is what makes no sense.
        if source is not self._way or len(data) < 5 or data[2]:
            return True
        form = data[3]
        start = 5 if form == NAME else 4
        end = start + (SIZES.get(form) or data[4]) + 2
        if form not in (IPV4, NAME, IPV6) or len(data) < end:
            return True
        origin = unpacked(form, data[start:end])
        if origin not in self._numbers:
            origin = self._names.get(origin[1], origin)
        stranger = numeric(origin[0]) is None and origin != self._names.get(origin[1])
        if stranger or self.peer is not None and not _same(origin, self.peer):
            return True
        return self.upstream.avail(self, data[end:], origin)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        super().setsockopt(level, option, value)
        if level == socket.SOL_SOCKET:
            self._settings[option] = value
            if self._way is not None:
                with suppress(OSError):  # the program has it where it looks
                    self._way.setsockopt(level, option, value)

    def may_avail(self, may: bool) -> None:
        self._may = may
        for flow in (self.below, self._way):
            if flow is not None:
                flow.may_avail(may)

    def close(self) -> None:
        if self._give_up():
            self.below.close()
            if not self._early:
                self._linger()

    def abort(self) -> None:
        super().abort()
        self._early.clear()
        self._asking = self._way = None
        del self.plumbed[1:], self.downstream[1:]

    def _linger(self) -> None:
        clock, end = self.ctx.clock, self._sent + LINGER
        if self._way is not None and end > clock.now():
            clock.at(end, self._hang_up)
        else:
            self._hang_up()

    # ---- the talk with the proxy ----

    def _ask(self) -> None:
        with suppress(OSError):  # the program's own has a port as soon as it has sent something
            if not self.getsockname()[1]:
                self.bind(("::" if self.ctx.domain == socket.AF_INET6 else "0.0.0.0", 0))
        ctx = self.ctx.replace(type=socket.SOCK_STREAM)
        self._asking = asking = _Asking(ctx)
        self.attach(asking)
        try:
            asking.connect(("0.0.0.0", 0))
        except OSError:
            self._hang_up()
            raise

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        if source is self.below:
            return super().connected(source, error)
        if error is not None:
            return self._fail(error)
        if source is self._asking:
            try:
                self._way = way = self._open(self._asking)
            except OSError as wrong:
                return self._fail(wrong)
            self._sent = self.ctx.clock.now()
            early, self._early = self._early, []
            for packet in early:
                try:
                    way.write(packet)
                except OSError as wrong:
                    self.upstream.undelivered(self, wrong)
            self.may_write(self, True)
            if self.closed:
                self._linger()

    def _open(self, asking: _Asking) -> FlowHandler:
        """A flow to the relay that the proxy has named."""
        host, port = asking.relay[:2]
        number = numeric(host)
        if number is None or number.is_unspecified:  # where the proxy itself is
            host = asking.control.getpeername()[0]
            number = numeric(host)
        domain = self.ctx.domain
        if number is not None:
            domain = socket.AF_INET if number.version == 4 else socket.AF_INET6
            host = str(number) if number.version == 4 else host
        way = self.plumb(domain, socket.SOCK_DGRAM)
        for number_of, value in self._settings.items():
            with suppress(OSError):
                way.setsockopt(socket.SOL_SOCKET, number_of, value)
        way.connect((host, port))
        if not self._may:
            way.may_avail(False)
        return way

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None:
        if source is self.below:
            super().ended(source, error)
        else:  # without the talk there is no relay; the next datagram asks again
            self._hang_up()

    def undelivered(self, source: FlowHandler, error: OSError) -> None:
        if source is self._way:  # nobody is there any more
            self._hang_up()
        super().undelivered(source, error)

    def may_write(self, source: FlowHandler, may: bool) -> None:
        before = not self._stopped
        if may:
            self._stopped.discard(source)
        elif source in (self.below, self._way, self):
            self._stopped.add(source)
        if before == bool(self._stopped):
            self.upstream.may_write(self, not self._stopped)

    def _hold(self) -> None:
        """No more for now: the proxy has not answered yet."""
        if self._early:
            self.may_write(self, False)

    def _fail(self, error: OSError) -> None:
        self._early.clear()
        self._hang_up()
        self.upstream.undelivered(self, error)

    def _hang_up(self) -> None:
        stopped, self._asking, self._way = [self._way, self], None, None
        for flow in self.plumbed[1:]:
            flow.close()
        del self.plumbed[1:], self.downstream[1:]
        for each in stopped:
            if each is not None:
                self.may_write(each, True)


class _Asking(Proxied):
    """The stream on which the proxy is asked for a relay; the relay lasts as long as it does."""

    name = "socks"
    options: SocksOptions
    relay: Address

    def direct(self, target: Address) -> bool:
        return False

    def ask_for(self, target: Address) -> Parser:
        yield from log_in(self.below.write, self.options)
        # Which address we shall send from we cannot say, only its family: that of the proxy's.
        number = numeric(self.control.getpeername()[0])
        host = "::" if number is not None and number.version == 6 else "0.0.0.0"
        self.relay = unpacked(*(yield from ask_5(self.below.write, ASSOCIATE, (host, 0))))

    def step_aside(self) -> None:
        """Stay: `Associate` tells us by what we are from the flow of datagrams."""


def _same(one: Address, other: Address) -> bool:
    """Whether two addresses are the same, mapped or not."""
    first, second = numeric(one[0]), numeric(other[0])
    return one[1] == other[1] and (one[0] == other[0] if first is None else first == second)
