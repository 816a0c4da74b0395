"""socks: reach every peer through a SOCKS proxy.  The peer needs nothing.

SOCKS 5 is RFC 1928, its passwords are RFC 1929.  SOCKS 4 and 4a were never made a standard; they
are as in SOCKS4.protocol and SOCKS4A.protocol by Ying-Da Lee.
"""

from __future__ import annotations

import builtins
import dataclasses
import errno
import ipaddress
import socket
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass

from tesla_trace.flow import (
    ADDRESS,
    Address,
    Context,
    FlowHandler,
    Parser,
    Proxied,
    ProxiedDatagrams,
    ProxyOptions,
    choice,
    failure,
    numeric,
    option,
)

NO_LOGIN, PASSWORD = 0, 2
"""Ways to log in to SOCKS 5."""

IPV4, NAME, IPV6 = 1, 3, 4
"""Forms of an address in SOCKS 5."""

SIZES = {IPV4: 4, IPV6: 16}
"""Bytes of a form; a name says itself how many it has."""

CONNECT, ASSOCIATE = 1, 3
"""Commands of SOCKS 5."""

EARLY = 256
"""Datagrams kept while the proxy is asked for a relay; those beyond are dropped."""

ENOUGH = 32
"""Datagrams kept when we ask for a stop."""

LINGER = 0.5
"""Seconds that a relay is kept after the last datagram when the program closes: the proxy ends it
with the talk, and may hear of that before it has passed the datagram on."""

KNOWN = 4096
"""Peers that are remembered to have been written to by number."""

Refusals = dict[int, tuple[int, str]]
"""What a proxy says instead of yes: the errno for the program, and the words for the log."""

REFUSALS_5: Refusals = {
    1: (errno.ECONNREFUSED, "general failure"),
    2: (errno.EACCES, "its rules do not allow it"),
    3: (errno.ENETUNREACH, "network unreachable"),
    4: (errno.EHOSTUNREACH, "host unreachable"),
    5: (errno.ECONNREFUSED, "connection refused"),
    6: (errno.ETIMEDOUT, "TTL expired"),
    7: (errno.EOPNOTSUPP, "it does not know the command"),
    8: (errno.EAFNOSUPPORT, "it does not know this type of address"),
}
REFUSALS_4: Refusals = {
    91: (errno.ECONNREFUSED, "rejected or failed"),
    92: (errno.EACCES, "it cannot ask our identd who we are"),
    93: (errno.EACCES, "our identd names another user"),
}
GRANTED_5, GRANTED_4 = 0, 90


class Socks(Proxied):
    """Connect through a SOCKS proxy, version 5, 4 or 4a.

    The program sees the peer it asked for, and the proxy's refusal as the error of its connect.
    Datagrams go through the proxy's relay (UDP ASSOCIATE), with version 5.  An IPv6 destination
    with version 4 or 4a is refused.  Two +socks in a row are a chain: the first reaches its proxy
    through the second.

    With version 4 and 4a -user is the user id that the proxy is told, and there is no password.

        tesla_trace +socks=proxy:1080 -user=me -password-file=FILE curl example.org
    """

    name = "socks"

    @dataclass(frozen=True)
    class Options(ProxyOptions):
        proxy: Address = option(ADDRESS, "127.0.0.1:1080", help="the proxy")
        version: str = option(choice("5", "4", "4a"), "5", help="the version of SOCKS")

        def __post_init__(self) -> None:
            """Check that the proxy can be told this user and password."""
            super().__post_init__()
            user, password = self.login
            if len(user) > 255:
                raise ValueError(f"-user has room for 255 bytes, not {len(user)}")
            if self.version != "5":
                if self.password_file is not None:
                    raise ValueError(f"SOCKS {self.version} has no password, only -user")
            elif user and not 1 <= len(password) <= 255:
                if self.password_file is None:
                    raise ValueError("SOCKS 5 takes -user with -password-file only")
                raise ValueError(f"the password has {len(password)} bytes; 1 to 255 can be sent")

    options: Options

    @classmethod
    def serving(cls, type: int) -> builtins.type[FlowHandler] | None:
        return Associate if type == socket.SOCK_DGRAM else super().serving(type)

    def ask_for(self, target: Address) -> Parser:
        if self.options.version == "5":
            yield from self._log_in()
            bound = _unpacked(*(yield from self._ask_5(CONNECT, target)))
            self.bound = bound if bound[1] else None  # many say 0.0.0.0:0
        else:
            yield from self._ask_4(target)

    # ---- version 5 ----

    def _log_in(self) -> Parser:
        offers = [NO_LOGIN, PASSWORD] if self.options.user else [NO_LOGIN]
        self.below.write(bytes([5, len(offers), *offers]))
        version, method = yield 2
        if version != 5:
            raise failure(errno.EPROTO, "this is no SOCKS 5 proxy")
        if method not in offers:
            wants = {PASSWORD: "wants a user and a password", 255: "takes no login we can offer"}
            said = wants.get(method, f"wants login method {method}")
            raise failure(errno.EACCES, f"the proxy {said}")
        if method == PASSWORD:
            user, password = self.options.login
            self.below.write(bytes([1, len(user), *user, len(password), *password]))
            version, status = yield 2
            # The version of this talk is 1.  Some proxies say 5, that of the protocol around it.
            if version not in (1, 5):
                raise failure(errno.EPROTO, "the proxy's answer to the password makes no sense")
            if status:
                raise failure(errno.EACCES, "the proxy does not take this user and password")

    def _ask_5(self, command: int, target: Address) -> Generator[int, bytes, tuple[int, bytes]]:
        """Say what the proxy is to do; the address that it does it from, see `_unpacked`."""
        self.below.write(bytes([5, command, 0]) + _packed(target))
        version, reply, _, form = yield 4
        if version != 5:
            raise failure(errno.EPROTO, "the proxy's answer makes no sense")
        if reply != GRANTED_5:
            raise _refusal(REFUSALS_5, reply)
        if form not in (IPV4, NAME, IPV6):
            raise failure(errno.EPROTO, "the proxy's answer makes no sense")
        size = SIZES.get(form) or (yield 1)[0]
        return form, (yield size + 2)

    # ---- versions 4 and 4a ----

    def _ask_4(self, target: Address) -> Parser:
        version, number, name = self.options.version, numeric(target[0]), b""
        if number is None and version == "4a":
            # 4a: an impossible address, 0.0.0.x, says that a name follows.
            number, name = ipaddress.IPv4Address("0.0.0.1"), target[0].encode() + b"\0"
        if number is None or number.version != 4:
            what = "IPv6" if number else "names; -version=4a has"
            raise failure(errno.EAFNOSUPPORT, f"SOCKS {version} has no room for {what}")
        user, _ = self.options.login
        port = target[1].to_bytes(2, "big")
        self.below.write(b"\x04\x01" + port + number.packed + user + b"\0" + name)
        null, reply, *_ = yield 8
        if null != 0:
            raise failure(errno.EPROTO, f"this is no SOCKS {version} proxy")
        if reply != GRANTED_4:
            raise _refusal(REFUSALS_4, reply)


class Associate(ProxiedDatagrams):
    """Datagrams by way of the proxy's relay (UDP ASSOCIATE), asked for with the first of them.

    They go to the relay by a flow of their own: it may be of another family than the program's
    socket, or not to be reached from the address that this one is bound to.
    """

    name = "socks"
    options: Socks.Options

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
            raise failure(errno.ENETUNREACH, f"SOCKS {self.options.version} has no datagrams")
        number = numeric(target[0])
        if number is None:
            self._names[target[1]] = target
        else:
            if len(self._numbers) >= KNOWN:
                self._numbers.clear()
            self._numbers.add((str(number), target[1]))
        packet = b"\0\0\0" + _packed(target) + data
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
        origin = _unpacked(form, data[start:end])
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
        ctx = dataclasses.replace(self.ctx, type=socket.SOCK_STREAM)
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


class _Asking(Socks):
    """The stream on which the proxy is asked for a relay; the relay lasts as long as it does."""

    relay: Address

    def direct(self, target: Address) -> bool:
        return False

    def ask_for(self, target: Address) -> Parser:
        yield from self._log_in()
        # Which address we shall send from we cannot say, only its family: that of the proxy's.
        number = numeric(self.control.getpeername()[0])
        host = "::" if number is not None and number.version == 6 else "0.0.0.0"
        self.relay = _unpacked(*(yield from self._ask_5(ASSOCIATE, (host, 0))))

    def step_aside(self) -> None:
        """Stay: `Associate` tells us by what we are from the flow of datagrams."""


def _packed(target: Address) -> bytes:
    number = numeric(target[0])
    if number is None:
        host = bytes([NAME, len(target[0])]) + target[0].encode()
    else:
        host = bytes([IPV4 if number.version == 4 else IPV6]) + number.packed
    return host + target[1].to_bytes(2, "big")


def _unpacked(form: int, data: bytes) -> Address:
    """The address in host and port; the size of a name stood before them."""
    host = data[:-2]
    name = host.decode("ascii", "replace") if form == NAME else str(ipaddress.ip_address(host))
    return name, int.from_bytes(data[-2:], "big")


def _same(one: Address, other: Address) -> bool:
    """Whether two addresses are the same, mapped or not."""
    first, second = numeric(one[0]), numeric(other[0])
    return one[1] == other[1] and (one[0] == other[0] if first is None else first == second)


def _refusal(table: Refusals, reply: int) -> OSError:
    number, words = table.get(reply, (errno.EPROTO, "nothing known"))
    return failure(number, f"the proxy says {reply}: {words}")
