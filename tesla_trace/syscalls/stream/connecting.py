"""A stream's connect: how it begins, who waits for it, and what becomes of the socket then."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tesla_trace.address import Address, shown
from tesla_trace.flow import named, reason
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.stream.state import State

if TYPE_CHECKING:
    from tesla_trace.syscalls.stream.socket import Socket


class ConnectCall(NamedTuple):
    """A call that waits for a connect."""

    stop: Stop
    fd: int
    answer: Callable[[int], None]
    """Called with 0, or the errno."""
    more: bool
    """Whether something is to be done once it is connected, but to answer."""


class Connecting:
    """The connects of one socket, one after the other."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self.waiters: list[ConnectCall] = []
        """The calls that wait."""

    def start(self, stop: Stop, address: Address) -> None:
        """Start connecting.

        Raises:
            OSError: it has failed at once, and the socket is as before.
        """
        socket = self._socket
        socket.bottom.ctx.flow.target = address
        socket.session.began(socket.bottom.ctx.flow)
        try:
            socket.build(stop).connect(address)
        except OSError as error:
            self._log_failure(error)
            socket.renew()
            raise
        except Exception as wrong:
            crashed = socket.bottom.graph.crash(wrong)
            socket.renew()
            raise crashed from wrong
        socket.state = State.CONNECTING

    def over(self, error: OSError | None) -> None:
        """The connect is over; None, and there is a connection."""
        socket = self._socket
        if socket.state is not State.CONNECTING:
            return
        if error is None:
            socket.tries = socket.session.handing.tries()
        if error is None and socket.tries and len(self.waiters) == 1:
            # After this, handlers may step aside, or hand up what came with the answer.
            graph = socket.bottom.graph
            graph.at(graph.now(), lambda: self._settle(None))
        else:
            self._settle(error)

    def _settle(self, error: OSError | None) -> None:
        socket = self._socket
        if socket.state is not State.CONNECTING:
            return
        waiters = list(self.waiters)
        if error is None:
            if self._handed_back():
                return self.answer(0)
            error = self._joined()
        number = error.errno or errno.EIO if error is not None else 0
        if error is None:
            socket.state = State.CONNECTED
            socket.told = bool(waiters)
            socket.pair.empty()
            socket.resize({})
            if socket.top is not None:
                socket.top.open()
        else:
            self._log_failure(error)
            if socket.pair.filled:
                socket.session.remember(socket)
                socket.pair.hang_up()
            socket.renew()
            if not waiters:
                socket.state, socket.error = State.FAILED, number
        self.answer(number)

    def _handed_back(self) -> bool:
        """Whether the program has the kernel's socket: the one call that waited gives it to it."""
        socket = self._socket
        if (
            not socket.tries
            or len(self.waiters) != 1
            or self.waiters[0].more
            or socket.direct is None
        ):
            return False
        call = self.waiters[0]
        socket.told = True
        try:
            return socket.session.handing.hand_back(socket, call.stop, call.fd) is not None
        except Gone:
            return False

    def _joined(self) -> OSError | None:
        """Be a pair, now that there is a connection; why it cannot."""
        socket = self._socket
        try:
            if not socket.pair.joined:
                with socket.found() as app:
                    socket.pair.join(app)
        except Gone:
            return OSError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
        except OSError as wrong:
            return wrong
        return None

    def look_unready(self, stop: Stop, fd: int) -> None:
        """Be neither readable nor writable until there is a connection, which nobody waits for.

        Raises:
            OSError: there can be no pair.
        """
        socket = self._socket
        with socket.borrowed(stop, fd) as app:
            socket.pair.join(app)
            socket.pair.fill(app)

    def cancel(self) -> None:
        """Connect no more, because of shutdown(2): who waits is told ECONNRESET."""
        self.over(OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))

    def answer(self, number: int) -> None:
        """Answer every call that waits for the connect."""
        waiters, self.waiters = self.waiters, []
        for call in waiters:
            call.answer(number)

    def _log_failure(self, error: OSError) -> None:
        flow = self._socket.bottom.ctx.flow
        flow.failed = named(error)
        if why := reason(error):
            target = shown(flow.target) if flow.target else "?"
            flow.log(f"connect to {target}: {os.strerror(error.errno or 0)}: {why}")
