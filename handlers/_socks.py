"""What a SOCKS proxy is told and says: its options, and the talk with it.

SOCKS 5 is RFC 1928, its passwords are RFC 1929.  SOCKS 4 and 4a were never made a standard; they
are as in SOCKS4.protocol and SOCKS4A.protocol by Ying-Da Lee.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Callable, Generator
from dataclasses import dataclass

from tesla_trace.flow import (
    ADDRESS,
    Address,
    Parser,
    ProxyOptions,
    choice,
    failure,
    numeric,
    option,
)

Write = Callable[[bytes], object]
"""Sends bytes to the proxy."""

NO_LOGIN, PASSWORD = 0, 2
"""Ways to log in to SOCKS 5."""

IPV4, NAME, IPV6 = 1, 3, 4
"""Forms of an address in SOCKS 5."""

SIZES = {IPV4: 4, IPV6: 16}
"""Bytes of a form; a name says itself how many it has."""

CONNECT, ASSOCIATE = 1, 3
"""Commands of SOCKS 5."""

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


@dataclass(frozen=True)
class SocksOptions(ProxyOptions):
    """What it takes: a proxy that may be told this user and password."""

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


# ---- version 5 ----


def log_in(write: Write, options: SocksOptions) -> Parser:
    """Log in to version 5, with the user's password if there is one."""
    offers = [NO_LOGIN, PASSWORD] if options.user else [NO_LOGIN]
    write(bytes([5, len(offers), *offers]))
    version, method = yield 2
    if version != 5:
        raise failure(errno.EPROTO, "this is no SOCKS 5 proxy")
    if method not in offers:
        wants = {PASSWORD: "wants a user and a password", 255: "takes no login we can offer"}
        said = wants.get(method, f"wants login method {method}")
        raise failure(errno.EACCES, f"the proxy {said}")
    if method == PASSWORD:
        user, password = options.login
        write(bytes([1, len(user), *user, len(password), *password]))
        version, status = yield 2
        # The version of this talk is 1.  Some proxies say 5, that of the protocol around it.
        if version not in (1, 5):
            raise failure(errno.EPROTO, "the proxy's answer to the password makes no sense")
        if status:
            raise failure(errno.EACCES, "the proxy does not take this user and password")


def ask_5(write: Write, command: int, target: Address) -> Generator[int, bytes, tuple[int, bytes]]:
    """Say what the proxy is to do; the address that it does it from, see `unpacked`."""
    write(bytes([5, command, 0]) + packed(target))
    version, reply, _, form = yield 4
    if version != 5:
        raise failure(errno.EPROTO, "the proxy's answer makes no sense")
    if reply != GRANTED_5:
        raise refusal(REFUSALS_5, reply)
    if form not in (IPV4, NAME, IPV6):
        raise failure(errno.EPROTO, "the proxy's answer makes no sense")
    size = SIZES.get(form) or (yield 1)[0]
    return form, (yield size + 2)


# ---- versions 4 and 4a ----


def ask_4(write: Write, options: SocksOptions, target: Address) -> Parser:
    """Have a proxy of version 4 or 4a connect to `target`."""
    version, number, name = options.version, numeric(target[0]), b""
    if number is None and version == "4a":
        # 4a: an impossible address, 0.0.0.x, says that a name follows.
        number, name = ipaddress.IPv4Address("0.0.0.1"), target[0].encode() + b"\0"
    if number is None or number.version != 4:
        what = "IPv6" if number else "names; -version=4a has"
        raise failure(errno.EAFNOSUPPORT, f"SOCKS {version} has no room for {what}")
    user, _ = options.login
    port = target[1].to_bytes(2, "big")
    write(b"\x04\x01" + port + number.packed + user + b"\0" + name)
    null, reply, *_ = yield 8
    if null != 0:
        raise failure(errno.EPROTO, f"this is no SOCKS {version} proxy")
    if reply != GRANTED_4:
        raise refusal(REFUSALS_4, reply)


# ---- what both say ----


def refusal(table: Refusals, reply: int) -> OSError:
    """What the program sees of an answer that is not yes."""
    number, words = table.get(reply, (errno.EPROTO, "nothing known"))
    return failure(number, f"the proxy says {reply}: {words}")


def packed(target: Address) -> bytes:
    """An address as SOCKS 5 has it: form, host and port."""
    number = numeric(target[0])
    if number is None:
        host = bytes([NAME, len(target[0])]) + target[0].encode()
    else:
        host = bytes([IPV4 if number.version == 4 else IPV6]) + number.packed
    return host + target[1].to_bytes(2, "big")


def unpacked(form: int, data: bytes) -> Address:
    """The address in host and port; the size of a name stood before them."""
    host = data[:-2]
    name = host.decode("ascii", "replace") if form == NAME else str(ipaddress.ip_address(host))
    return name, int.from_bytes(data[-2:], "big")
