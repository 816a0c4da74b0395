"""Handlers that reach the peer through a middleman, and then get out of the way."""

from __future__ import annotations

import errno

from tesla_trace.address import Address, shown
from tesla_trace.flow.errors import failure, reason
from tesla_trace.flow.handler import Context, FlowHandler
from tesla_trace.flow.reader import Parser
from tesla_trace.flow.transform import State, Transform


class Tunnel(Transform):
    """Say where the middleman is and how to ask it; the rest is here.

    Once the way is open a tunnel steps aside; it goes on answering `getpeername`.
    """

    exclusive = True

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._target: Address | None = None
        if ctx.accepted is not None:  # it came without a middleman
            self.state = State.OPEN
            self.step_aside()

    # ---- what a subclass says ----

    def middleman(self) -> Address:
        """The address to connect to in place of the program's."""
        raise NotImplementedError

    def ask_for(self, target: Address) -> Parser:
        """The talk that opens the way to `target`; see `Transform.negotiate`.

        Raises:
            OSError: the middleman refuses; the program's connect fails so.
        """
        raise NotImplementedError

    def direct(self, target: Address) -> bool:
        """Whether the program's `target` is to be reached without the middleman."""
        return False

    # ---- the rest follows ----

    def connect(self, address: Address) -> None:
        """Connect to the middleman."""
        # In a chain of tunnels each but the nearest is asked for another middleman, be it one on
        # loopback.  Only what the program itself asked for may be reached directly.
        asked = self.ctx.flow.target or address
        if address[:2] == asked[:2] and self.direct(address):
            return super().connect(address)
        try:
            super().connect(self.middleman())
        except OSError as error:
            raise self.blame(error) from None
        self._target = address

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        """Begin the talk; say of a middleman out of reach that it is he who is out of reach."""
        if error is not None and self._target is not None:
            error = self.blame(error)
        super().connected(source, error)

    def getpeername(self) -> Address:
        """The address the program asked for."""
        if self._target is None:
            return super().getpeername()
        if self.state is not State.OPEN:
            raise failure(errno.ENOTCONN, f"{self.name}: the way is not open")
        return self._target

    def negotiate(self) -> Parser:
        """Ask for the target, unless it is reached directly."""
        if self._target is not None:
            yield from self.ask_for(self._target)

    def _open(self) -> None:
        super()._open()
        self._intake.then(self.step_aside)

    def blame(self, error: OSError) -> OSError:
        """The error, with the hop that it happened at."""
        hop = f"+{self.name} {shown(self.middleman())}"
        return failure(error.errno or 0, f"{hop}: {reason(error) or 'cannot be reached'}")
