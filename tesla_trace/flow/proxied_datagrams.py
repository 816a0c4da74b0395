"""Datagrams beside the streams that go through a proxy: sent directly, refused, or relayed."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import ClassVar

from tesla_trace.address import Address, numeric, shown
from tesla_trace.flow.errors import failure
from tesla_trace.flow.handler import Context, FlowHandler
from tesla_trace.flow.proxied import ProxyOptions


class ProxiedDatagrams(FlowHandler):
    """Reach directly what may be, and nothing else; a subclass may `relay` the rest."""

    Options: ClassVar[type] = ProxyOptions
    options: ProxyOptions

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.peer: Address | None = None

    # ---- what a subclass says ----

    def relay(self, data: bytes, target: Address) -> bool:
        """Send `data` to `target` by way of the proxy; as `write`."""
        raise failure(errno.ENETUNREACH, "this proxy carries no datagrams")

    def relayed(self, data: bytes, origin: Address | None) -> bool:
        """Something has come that is from no address that is reached directly; as `avail`."""
        return True

    # ---- the rest follows ----

    @property
    def path(self) -> FlowHandler:
        """The datagram flow below."""
        return self.downstream[0]

    def connect(self, address: Address) -> None:
        """Choose the peer.

        The kernel is told of it even if nothing goes there directly: that sends nothing, and lets
        the program find out which of our addresses is nearest.
        """
        self.peer = address
        if self.options.direct(address):
            return self.control.connect(address)
        with suppress(OSError):  # no way there but the proxy's, or a name
            self.plumbed[0].connect(address)

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Send it the way that its target is reached."""
        target = to or self.peer
        if target is None:
            raise failure(errno.EDESTADDRREQ, "datagram to nobody")
        if self.options.direct(target):
            return self.path.write(data, to)
        number = numeric(target[0])
        place = f"+{self.name}: {shown(target)}"
        if number is not None and (number.is_multicast or int(number) == 0xFFFFFFFF):
            raise failure(errno.ENETUNREACH, f"{place}: no proxy leads to many at once")
        try:
            return self.relay(data, target)
        except OSError as wrong:
            raise failure(wrong.errno or errno.EIO, f"{place}: {wrong.strerror}") from wrong

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """Pass on what came directly."""
        if source is not self.path:
            return True
        known = origin or self.peer
        if known is not None and self.options.direct(known):
            return super().avail(source, data, origin)
        return self.relayed(data, origin)
