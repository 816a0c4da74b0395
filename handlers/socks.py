"""socks: reach every peer through a SOCKS proxy.  The peer needs nothing.

SOCKS 5 is RFC 1928, its passwords are RFC 1929.  SOCKS 4 and 4a were never made a standard; they
are as in SOCKS4.protocol and SOCKS4A.protocol by Ying-Da Lee.
"""

from __future__ import annotations

import errno
import ipaddress
from dataclasses import dataclass

from tesla_trace.flow import (
    ADDRESS,
    Address,
    Parser,
    Proxied,
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
    Other sockets than TCP are refused, for their packets would not go through the proxy; so is
    an IPv6 destination with version 4 or 4a.  Two +socks in a row are a chain: the first reaches
    its proxy through the second.

    With version 4 and 4a -user is the user id that the proxy is told, and there is no password.

        tesla_trace +socks=proxy:1080 -user=me -password-file=FILE curl 192.0.2.7
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

    def ask_for(self, target: Address) -> Parser:
        if self.options.version == "5":
            yield from self._log_in()
            yield from self._ask_5(target)
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

    def _ask_5(self, target: Address) -> Parser:
        number = numeric(target[0])
        if number is None:
            host = bytes([NAME, len(target[0])]) + target[0].encode()
        else:
            host = bytes([IPV4 if number.version == 4 else IPV6]) + number.packed
        self.below.write(b"\x05\x01\x00" + host + target[1].to_bytes(2, "big"))
        version, reply, _, form = yield 4
        if version != 5:
            raise failure(errno.EPROTO, "the proxy's answer makes no sense")
        if reply != GRANTED_5:
            raise _refusal(REFUSALS_5, reply)
        if form not in (IPV4, NAME, IPV6):
            raise failure(errno.EPROTO, "the proxy's answer makes no sense")
        size = {IPV4: 4, IPV6: 16}.get(form) or (yield 1)[0]
        yield size + 2  # the address the proxy connects from: of no use to us

    # ---- versions 4 and 4a ----

    def _ask_4(self, target: Address) -> Parser:
        version, number, name = self.options.version, numeric(target[0]), b""
        if number is None and version == "4a":
            # 4a: an impossible address, 0.0.0.x, says that a name follows.
            number, name = ipaddress.IPv4Address("0.0.0.1"), target[0].encode() + b"\0"
        if number is None or number.version != 4:
            what = "names" if number is None else "IPv6"
            raise failure(errno.EAFNOSUPPORT, f"SOCKS {version} has no room for {what}")
        user, _ = self.options.login
        port = target[1].to_bytes(2, "big")
        self.below.write(b"\x04\x01" + port + number.packed + user + b"\0" + name)
        null, reply, *_ = yield 8
        if null != 0:
            raise failure(errno.EPROTO, f"this is no SOCKS {version} proxy")
        if reply != GRANTED_4:
            raise _refusal(REFUSALS_4, reply)


def _refusal(table: Refusals, reply: int) -> OSError:
    number, words = table.get(reply, (errno.EPROTO, "nothing known"))
    return failure(number, f"the proxy says {reply}: {words}")
