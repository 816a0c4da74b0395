"""A datagram flow that nothing may leave, for services that datagrams would bypass."""

from __future__ import annotations

import errno

from tesla_trace.address import Address, shown
from tesla_trace.flow.errors import failure
from tesla_trace.flow.handler import Context, FlowHandler


class Refusal(FlowHandler):
    """Let nothing out and nothing in.

    The socket is there, and may be connected, which sends nothing: programs that only look for the
    way to an address (getaddrinfo(3) does, to sort what it found) go on.

    Args:
        service: the name of the handler that has no way for datagrams.
    """

    name = "refusal"
    internal = True

    def __init__(self, ctx: Context, service: str) -> None:
        super().__init__(ctx)
        self._service = service

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Refuse the datagram.

        Raises:
            OSError: ENETUNREACH; programs then take another way, such as TCP.
        """
        target = to or self.ctx.flow.target
        whereto = f" to {shown(target)}" if target else ""
        raise failure(errno.ENETUNREACH, f"+{self._service}{whereto}: it carries no datagrams")

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """Drop it."""
        return True
