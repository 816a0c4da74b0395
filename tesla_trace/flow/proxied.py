"""Tunnels whose middleman is a proxy that the user names, perhaps with a password."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import ClassVar

from tesla_trace.address import Address, is_loopback, numeric, shown
from tesla_trace.flow.declaring import flag, option, optional
from tesla_trace.flow.errors import failure
from tesla_trace.flow.flow import printable
from tesla_trace.flow.handler import Context
from tesla_trace.flow.kinds import ADDRESS, NAME, SECONDS, TEXT, choice
from tesla_trace.flow.names import DNS
from tesla_trace.flow.own import OWN
from tesla_trace.flow.secret import SECRET
from tesla_trace.flow.transform import State
from tesla_trace.flow.tunnel import Tunnel


@dataclass(frozen=True)
class ProxyOptions:
    """What every kind of proxy takes; a subclass adds to it."""

    proxy: Address = option(ADDRESS, help="the proxy")
    user: str = option(TEXT, "", help="the name to give the proxy")
    password_file: str | None = optional(SECRET, help="the password to give the proxy, unencrypted")
    timeout: float = option(SECONDS, "30s", help="how long the proxy may take to open the way")
    loopback: bool = flag(
        help="through the proxy to loopback destinations too; without it they are reached directly"
    )
    dns: str = option(
        choice("proxy", "local", "leak-check"),
        "proxy",
        help="whether names are told to the proxy, or looked up on this machine",
    )

    def __post_init__(self) -> None:
        """Check what must hold between options; ValueError if it does not."""
        if self.password_file is not None and not self.user:
            raise ValueError("-password-file is of no use without -user")

    def direct(self, target: Address) -> bool:
        """Whether `target` is to be reached without the proxy: loopback, unless it is a resolver.

        What listens on port 53 there (127.0.0.53 of systemd-resolved) only passes questions on, so
        the names would leave the machine beside the proxy.  Where they are to be looked up on this
        machine, every resolver is reached directly.
        """
        if target[1] == DNS:
            return self.dns == "local"
        return not self.loopback and is_loopback(target)

    @property
    def login(self) -> tuple[bytes, bytes]:
        """User and password as they are sent: in UTF-8, or as they were typed if they are not."""
        return _sent(self.user), _sent(self.password_file or "")


OPENED = 1
WAY = OWN + 1


class Proxied(Tunnel):
    """Say how to ask the proxy, with `ask_for`; the rest is here."""

    resolves = True
    answers = {
        WAY: "by which way it is open, in lines of text: `proxy HOST:PORT` and, where the proxy "
        "says whence it connects, `bound HOST:PORT`; or `direct`"
    }
    tells = {OPENED: "the same, when the way is open"}
    Options: ClassVar[type] = ProxyOptions
    options: ProxyOptions

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.timeout = self.options.timeout
        self.bound: Address | None = None
        """Whence the proxy connects, as it says."""

    def connect(self, address: Address) -> None:
        """Connect to the proxy, unless it could not be told of `address`."""
        # Names go into the words said to the proxy, where a stray byte would say something else.
        if numeric(address[0]) is None and not NAME.fullmatch(address[0]):
            raise failure(errno.EINVAL, f"{address[0]!r} cannot be the name of a host")
        super().connect(address)

    def middleman(self) -> Address:
        """The proxy."""
        return self.options.proxy

    def direct(self, target: Address) -> bool:
        """Loopback, unless the user wants that through the proxy too."""
        return self.options.direct(target)

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """Tell the way."""
        if request != WAY:
            return super().ioctl(request, argument)
        if self.state is not State.OPEN:
            raise failure(errno.ENOTCONN, f"{self.name}: the way is not open")
        return self._way()

    def _open(self) -> None:
        super()._open()
        self.tell(OPENED, self._way())

    def _way(self) -> bytes:
        if self._target is None:
            return b"direct\n"
        way = f"proxy {shown(self.options.proxy)}\n"
        if self.bound is not None:
            way += f"bound {printable(shown(self.bound))}\n"
        return way.encode()


def _sent(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
