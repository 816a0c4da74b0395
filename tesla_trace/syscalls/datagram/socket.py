"""A datagram socket of the program: its pair, its graph, its peer, and who waits for it.

Facts of Linux (udp(7), net/ipv4/udp.c): a datagram socket is connected at once, again as often as
its program likes, and no more by connect(2) with AF_UNSPEC.  What went wrong with a datagram is
the error of the next call, or of SO_ERROR, whichever comes first.
"""

from __future__ import annotations

import errno
import socket as sockets
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from tesla_trace.address import Address, shown
from tesla_trace.flow import Context, FlowHandler, reason
from tesla_trace.io.datagram import Reported
from tesla_trace.io.datagram_bottom import DatagramBottom
from tesla_trace.io.datagram_pair import DatagramPair
from tesla_trace.io.datagram_top import DatagramTop
from tesla_trace.io.graph import Graph
from tesla_trace.io.labels import LABEL_SPACE, WAKE, Label
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.acting import OURS, Guise
from tesla_trace.syscalls.arguments.flags import MSG_DONTWAIT, MSG_PEEK
from tesla_trace.syscalls.arguments.words import error
from tesla_trace.syscalls.program_socket import ProgramSocket
from tesla_trace.syscalls.session import Session

PEEK = MSG_PEEK | MSG_DONTWAIT

REPORTS = 64
"""Entries of the error queue that wait for the program to read them."""


class Receiver(Protocol):
    """A call that waits for a datagram."""

    def again(self) -> bool:
        """Try to receive one from the pair; True once the call is over."""

    def take(self, data: bytes, label: Label) -> bool:
        """Receive this one; False if it must come through the pair."""


class DatagramSocket(ProgramSocket):
    """One UDP socket of the program.

    Args:
        real: the kernel's socket that goes to the network.
    """

    TYPE = sockets.SOCK_DGRAM
    pair: DatagramPair

    def __init__(
        self, session: Session, domain: int, real: sockets.socket, guise: Guise = OURS
    ) -> None:
        pair = DatagramPair(session.loop, domain)
        super().__init__(session, domain, sockets.IPPROTO_UDP, pair, guise)
        session.lasting(pair)
        self.peer: Address | None = None
        self.bound = False
        """Whether bind(2) has chosen the local address."""
        self.shut_in = self.shut_out = False
        self.corked = bytearray()
        """What was sent with MSG_MORE."""
        self.top: DatagramTop | None = None
        self.reports: deque[Reported] = deque(maxlen=REPORTS)
        self.receivers: deque[Receiver] = deque()
        """Calls that wait for a datagram: tried as one arrives."""
        self.senders: deque[Callable[[], bool]] = deque()
        """Calls that wait for room: tried as there is some, True once they are answered."""
        self.empty_at = -1
        """How many datagrams the pair had been given when it was last seen to be empty."""
        self._woken = False
        self.bottom = self._new_bottom(real)

    def _new_bottom(self, real: sockets.socket) -> DatagramBottom:
        graph = Graph(self.session.loop, self.session.flow(), self.guise)
        return self.session.network.datagrams(graph, self.domain, real)

    # ---- control calls ----

    @property
    def control(self) -> FlowHandler:
        """Whom to ask: the graph, or before there is one the network's end of it."""
        return self.top if self.top is not None else self.bottom

    @contextmanager
    def asked(self) -> Iterator[FlowHandler]:
        """Whom to ask for options."""
        yield self.control

    def build(self, stop: Stop) -> DatagramTop:
        """The graph, built now if it was not; what was set before is said to the handlers again."""
        if self.top is not None:
            return self.top
        bottom = self.bottom
        graph = bottom.graph
        self.session.identify(graph.flow, stop)
        self.session.began(graph.flow)
        first = [bottom]

        def below(domain: int, type: int) -> FlowHandler:
            if first and (domain, type) == (self.domain, self.TYPE):
                return first.pop()
            return self.session.network.another(graph, domain, type)

        self.pair.discard()  # what was sent when it could go nowhere
        plumb = self.session.stack.plumber(graph, below, graph.flow)
        ctx = Context(self.domain, self.TYPE, graph, None, plumb, flow=graph.flow)
        self.top = DatagramTop(ctx, graph, self.pair, self)
        bottom.repeat(self.top)
        return self.top

    def bind(self, stop: Stop, address: Address) -> None:
        """Choose the local address.

        Raises:
            OSError: as bind(2).
        """
        if self.top is None:
            self.bottom.ctx.flow.port = address[1]
        self.build(stop).bind(address)
        self.bound = True

    def connect(self, stop: Stop, address: Address) -> None:
        """Choose the peer.

        Raises:
            OSError: as connect(2).
        """
        if self.top is None:
            self.bottom.ctx.flow.target = address  # what it is for is decided now
        top = self.build(stop)
        top.drain()  # that was to the peer before
        top.ctx.flow.target = address
        try:
            top.connect(address)
        except OSError as wrong:
            self._log(wrong)
            raise
        except Exception as wrong:
            raise top.graph.crash(wrong) from wrong
        self.peer = address

    def dissolve(self, stop: Stop) -> None:
        """Have no peer any more; without bind(2), no local address either.

        Raises:
            OSError: as socket(2) or bind(2).
        """
        if self.top is not None:
            self.renew()
            self.peer = None
            if self.bound:
                self.build(stop)

    def renew(self) -> None:
        """Have a new socket of the kernel's, with the same options and local address.

        Raises:
            OSError: as socket(2) or bind(2).
        """
        before = self.bottom
        if self.top is not None:
            self.top.drain()
            self.top.abort()
            self.top = None
        self.pair.watch.call(_nothing, _nothing, self.left, _nothing)
        with self.guise:
            real = sockets.socket(self.domain, self.TYPE)
        self.bottom = self._new_bottom(real)
        self.bottom.take_after(before)
        self.bottom.ctx.flow.port = before.ctx.flow.port

    def send(self, stop: Stop, data: bytes, to: Address | None) -> bool:
        """Send one datagram.

        Returns:
            False if there is no room now.

        Raises:
            OSError: as sendto(2).
        """
        if self.top is None:
            self.bottom.ctx.flow.target = to  # what it is for is decided now
        top = self.build(stop)
        if self.peer is not None:
            top.drain()
        if not top.may:
            return False
        if to is not None:
            top.ctx.flow.target = to
        try:
            if self.shut_out or top.closed or not top.write(data, to):
                raise error(errno.EPIPE)
            top.ctx.flow.out += len(data)
        except OSError as wrong:
            self._log(wrong)
            raise
        except Exception as wrong:
            raise top.graph.crash(wrong) from wrong
        return True

    def uncorked(self, data: bytes) -> bytes:
        """What was sent before with MSG_MORE, and this behind it."""
        if self.corked:
            data = bytes(self.corked) + data
            self.corked.clear()
        return data

    def shut(self, read: bool, write: bool) -> None:
        """End a direction; the pair keeps its own, for its end tells when the program closes."""
        assert self.top is not None
        self.shut_in = self.shut_in or read  # first: it wakes who waits
        self.top.shutdown(read, write)
        self.shut_out = self.shut_out or write

    def _log(self, wrong: OSError) -> None:
        if reason(wrong):
            flow = self.bottom.ctx.flow
            target = shown(flow.target) if flow.target else "?"
            line = f"datagram to {target}: {wrong.strerror}"
            self.session.say_once(f"{flow.program}[{flow.pid}]: {line}")

    # ---- what the top tells ----

    def undelivered(self, error: OSError) -> None:
        """Keep it for the next call, and wake whoever waits for a datagram; see `DatagramOwner`."""
        if isinstance(error, Reported):
            self.reports.append(error)
        self._log(error)
        self.error = error.errno or errno.EIO
        if self._woken and self.pair.unread():
            return self.arrived()
        self._woken = True
        if self.top is not None:
            self.top.wake()

    def woken(self) -> None:
        """What woke the program has been received."""
        self._woken = False

    def take_error(self) -> int:
        """The errno that is to be told; nothing wakes the program for it any more."""
        if self._woken:
            with suppress(OSError), self.found() as app:
                _, ancillary, _, _ = app.recvmsg(1, LABEL_SPACE, PEEK)
                if self.pair.label(tuple(ancillary)) == WAKE:
                    app.recv(1, MSG_DONTWAIT)
                    self._woken = False
        return super().take_error()

    def offered(self, data: bytes, label: Label) -> bool:
        """Give it to who waits, past the pair, if that is empty; see `DatagramOwner`."""
        if not self.receivers or self.empty_at != self.pair.sent or self.error or self.shut_in:
            return False
        return self.receivers[0].take(data, label)

    def arrived(self) -> None:
        """Answer who waits for a datagram; see `DatagramOwner`."""
        while self.receivers and self.receivers[0].again():
            pass

    def may_send(self) -> None:
        """Answer who waits for room; see `DatagramOwner`."""
        while self.senders and self.senders[0]():
            self.senders.popleft()

    @property
    def waited_on(self) -> bool:
        """Whether calls wait; see `copies.Owner`."""
        return bool(self.receivers or self.senders)

    def left(self) -> None:
        """The program has closed its last descriptor; see `DatagramOwner`."""
        if self.shut_in and self.shut_out:  # which looks the same as a close
            self.session.remember(self)
        else:
            self.session.forget(self)
        if self.top is None:
            self.bottom.close()
        self.pair.close()
        self.pair.given()

    def abandon_calls(self) -> None:
        """Answer none of the calls that wait: who made them is gone."""
        self.receivers.clear()
        self.senders.clear()


def _nothing() -> None: ...
