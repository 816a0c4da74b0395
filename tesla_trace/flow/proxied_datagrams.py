"""Datagrams beside the streams that go through a proxy: sent directly, refused, or relayed."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import ClassVar

from tesla_trace.address import Address, numeric, shown
from tesla_trace.flow.errors import failure, reason
from tesla_trace.flow.handler import Context, FlowHandler
from tesla_trace.flow.kinds import NAME
from tesla_trace.flow.proxied import ProxyOptions


class ProxiedDatagrams(FlowHandler):
    """Reach directly what may be, and nothing else; a subclass may `relay` the rest.

    The first flow below is the program's own, for what is reached directly.  A subclass plumbs
    others for the rest.
    """

    Options: ClassVar[type] = ProxyOptions
    options: ProxyOptions

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.peer: Address | None = None
        self._peer_is_near = False

    # ---- what a subclass says ----

    def relay(self, data: bytes, target: Address) -> bool:
        """Send `data` to `target` by way of the proxy; as `write`."""
        raise failure(errno.ENETUNREACH, "this proxy carries no datagrams")

    def relayed(self, source: FlowHandler, data: bytes) -> bool:
        """Something has come from another flow below; as `avail`."""
        return True

    # ---- the rest follows ----

    @property
    def below(self) -> FlowHandler:
        """The flow that reaches directly."""
        return self.downstream[0]

    @property
    def control(self) -> FlowHandler:
        """The same."""
        return self.plumbed[0]

    def connect(self, address: Address) -> None:
        """Choose the peer.

        The kernel is told of it even if nothing goes there directly: that sends nothing, and lets
        the program find out which of our addresses is nearest.
        """
        # Only what the program itself asked for may be reached directly, and not the relay of a
        # proxy that is to be reached through ours, be it one on loopback.
        asked = self.ctx.flow.target or address
        self.peer = address
        self._peer_is_near = address[:2] == asked[:2] and self.options.direct(address)
        if self._peer_is_near:
            return super().connect(address)
        with suppress(OSError):  # no way there but the proxy's, or a name
            super().connect(address)

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Send it the way that its target is reached."""
        target = to or self.peer
        if target is None:
            raise failure(errno.EDESTADDRREQ, "datagram to nobody")
        if self._is_near(target):
            return super().write(data, to)
        number = numeric(target[0])
        if number is None and not NAME.fullmatch(target[0]):
            raise failure(errno.EINVAL, f"{target[0]!r} cannot be the name of a host")
        place = f"+{self.name}: {shown(target)}"
        if number is not None and (number.is_multicast or int(number) == 0xFFFFFFFF):
            raise failure(errno.ENETUNREACH, f"{place}: no proxy leads to many at once")
        try:
            return self.relay(data, target)
        except OSError as wrong:
            raise failure(
                wrong.errno or errno.EIO, f"{place}: {reason(wrong) or wrong.strerror}"
            ) from wrong

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """Pass on what came directly, where it may."""
        if source is not self.below:
            return self.relayed(source, data)
        known = origin or self.peer
        return known is None or not self._is_near(known) or super().avail(source, data, origin)

    def _is_near(self, address: Address) -> bool:
        if self.peer is not None and address[:2] == self.peer[:2]:
            return self._peer_is_near
        return self.options.direct(address)
