"""What a datagram socket may not send or get, by the rules that were decided for it.

A stream has one peer; a datagram socket may write to anybody, while its handlers are what they
were at its first use.  What a service that nothing may bypass is for, and would go past it, is
refused, datagram by datagram; so is all that such a service is for and cannot carry.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from tesla_trace.address import Address, numeric, shown
from tesla_trace.flow.errors import failure
from tesla_trace.flow.handler import Context, FlowHandler

Bypassed = Callable[[Address | None], str | None]
"""The name of a service that a datagram from or to there would go past."""


class Sentry(FlowHandler):
    """Refuse what would go past a handler.

    Args:
        names: whether a handler below knows what to do with a name.
    """

    name = "sentry"
    internal = True

    def __init__(self, ctx: Context, bypassed: Bypassed, *, names: bool) -> None:
        self._bypassed, self._names = bypassed, names
        self._peer: Address | None = None
        super().__init__(ctx)

    def connect(self, address: Address) -> None:
        """Choose the peer, which sends nothing."""
        self._check_name(address)
        super().connect(address)
        self._peer = address

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Send it, if that bypasses nothing.

        Raises:
            OSError: ENETUNREACH, it would; EHOSTUNREACH, it is to a name that nobody looks up.
        """
        target = to or self._peer
        if service := self._bypassed(target):
            whereto = f" to {shown(target)}" if target else ""
            raise failure(errno.ENETUNREACH, f"+{service} is for what goes{whereto}")
        if target is not None:
            self._check_name(target)
        return super().write(data, to)

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """Hand it up, or drop it."""
        if self._bypassed(origin or self._peer):
            return True
        return super().avail(source, data, origin)

    def _check_name(self, address: Address) -> None:
        if not self._names and numeric(address[0]) is None:
            why = f"no handler carries datagrams to {address[0]}, which is known by name only"
            raise failure(errno.EHOSTUNREACH, why)
