"""The handler at the bottom of a graph of datagrams: the network's end, a UDP socket.

Facts (udp(7), ip(7)), and what they mean for us:

- What an ICMP message says comes as the error of whichever call is next, and again in an error
  queue where IP_RECVERR asks for that; a queue that nobody empties polls for ever.  So where the
  program has asked, each error empties it.
- A socket gets what is sent to its port as soon as it has one: bound, connected, or by its first
  send.  From then on it is read.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from tesla_trace.address import Address, numeric, shown
from tesla_trace.flow import Context, Switch, failure
from tesla_trace.io.datagram import Reported, ancillary_of, with_ancillary
from tesla_trace.io.endpoint import Endpoint, fitting
from tesla_trace.io.graph import Graph
from tesla_trace.io.loop import READ, WRITE

if TYPE_CHECKING:
    from tesla_trace.io.network import Network

LARGEST = 64 * 1024
"""Bytes; no datagram of UDP is larger."""

ROOM = 1024
"""Bytes for the control messages of one datagram."""

BATCH = 32
"""Datagrams taken at the most before others have their turn."""

PATIENCE = 4 * 1024 * 1024
"""Bytes that the kernel holds for us, unless the program has said how many: we are one more process
that may have to wait for a CPU, and a flood of 20 000 datagrams a second fills the usual buffer in
10 ms.  Without CAP_NET_ADMIN it is twice the usual (net.core.rmem_max)."""

SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = (int(socket.SOL_SOCKET), int(socket.SO_RCVBUF))

KEPT = 64
"""Datagrams that wait for the kernel to have room when we ask for a stop."""

ERROR_QUEUES = frozenset({(socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25)})
"""IP_RECVERR and IPV6_RECVERR (linux/in.h, linux/in6.h)."""

TOLD_OF = frozenset({socket.IPPROTO_IP, socket.IPPROTO_IPV6})
"""Levels whose options may bring control messages."""

EXTRAS = frozenset({29, 35, 37, 40, 63, 64, 65, 75})
"""SO_TIMESTAMP in all its forms, SO_RXQ_OVFL and SO_RCVMARK (asm-generic/socket.h)."""

_buffer = bytearray(LARGEST)
_view = memoryview(_buffer)


class DatagramBottom(Endpoint):
    """A UDP socket.

    Its `avail` always says where a datagram comes from.
    """

    def __init__(
        self, ctx: Context, graph: Graph, network: Network, real: socket.socket | None = None
    ) -> None:
        super().__init__(ctx, graph, network, real)
        self._watch = graph.loop.watch(self.real.fileno())
        graph.serve(self._watch, self._readable, self._writable, _nothing, _nothing)
        self._usual_room = self.real.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4)
        _enlarge(self.real)
        self._started = self._has_queue = self._wants_ancillary = self._shut = False
        self._may = True
        self._queue: deque[tuple[bytes, Address | None]] = deque()
        self._room = Switch(lambda may: self.upstream.may_write(self, may))

    # ---- control ----

    def bind(self, address: Address) -> None:
        """Choose the local address, and listen to what comes there."""
        super().bind(address)
        self.start()

    def connect(self, address: Address) -> None:
        """Choose the peer; nothing is sent."""
        if numeric(address[0]) is None:
            raise failure(errno.EHOSTUNREACH, f"{address[0]} is no number")
        self.real.connect(fitting(address, self.real.family))
        self.start()
        self.later(lambda: self.upstream.connected(self))

    def start(self) -> None:
        """Begin to read, for the socket has a port now."""
        self._started = True
        self._watch.want(READ, self._may)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """The value; of the receive buffer, what it would be if it were the program's."""
        if (level, option) == RECEIVE_BUFFER and RECEIVE_BUFFER not in self.settings:
            return self._usual_room[:size]
        return super().getsockopt(level, option, size)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Set an option; some bring more with each datagram than its bytes."""
        super().setsockopt(level, option, value)
        if (level, option) in ERROR_QUEUES:
            self._has_queue = any(value)
        elif level in TOLD_OF or level == socket.SOL_SOCKET and option in EXTRAS:
            self._wants_ancillary = True

    def shutdown(self, read: bool, write: bool) -> None:
        """End a direction, as far as a datagram flow has ends."""
        with suppress(OSError):  # ENOTCONN: the kernel does it all the same
            how = socket.SHUT_RDWR if read and write else int(write)
            self.real.shutdown(how)
        self._shut = self._shut or write

    @property
    def unsent(self) -> bool:
        """Whether datagrams wait for the kernel to have room."""
        return bool(self._queue)

    # ---- data ----

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Send one datagram at once, or when the kernel has room.

        Raises:
            OSError: as sendto(2).
        """
        if self.closed or self._shut:
            return False
        if self._queue or not self._send(data, to):
            self._queue.append((data, to))
            self._watch.want(WRITE, True)
            if len(self._queue) > KEPT:
                self.later(lambda: self._room.say(len(self._queue) <= KEPT))
        return True

    def may_avail(self, may: bool) -> None:
        """Read, or leave it with the kernel, which drops what it has no room for."""
        self._may = may
        if self._started and not self.closed:
            self._watch.want(READ, may)

    def _send(self, data: bytes, to: Address | None) -> bool:
        ancillary = ancillary_of(data)
        if to is not None:
            if numeric(to[0]) is None:
                raise failure(errno.EHOSTUNREACH, f"{shown(to)}: no number")
            to = fitting(to, self.real.family)
        try:
            if ancillary or to is None:
                self.real.sendmsg([data], ancillary, socket.MSG_NOSIGNAL, *([to] if to else []))
            else:
                self.real.sendto(data, socket.MSG_NOSIGNAL, to)
        except BlockingIOError:
            return False
        finally:
            if not self._started:
                self.start()
        self.moved += len(data)
        return True

    # ---- what the loop tells ----

    def _readable(self) -> None:
        for _ in range(BATCH):
            try:
                data, origin = self._receive()
            except BlockingIOError:
                break
            except OSError as error:
                reports: list[OSError] = list(self._reports()) if self._has_queue else []
                for each in reports or [error]:
                    self.upstream.undelivered(self, each)
                continue
            self.moved += len(data)
            self.upstream.avail(self, data, origin)
            if self.closed or not self._may:
                return
        if self._has_queue:
            for each in self._reports():
                self.upstream.undelivered(self, each)

    def _receive(self) -> tuple[bytes, Address]:
        if not self._wants_ancillary:
            size, origin = self.real.recvfrom_into(_buffer)
            return bytes(_view[:size]), origin
        size, ancillary, _, origin = self.real.recvmsg_into([_buffer], ROOM)
        return with_ancillary(bytes(_view[:size]), tuple(ancillary)), origin

    def _reports(self) -> list[Reported]:
        """All that is in the error queue."""
        found: list[Reported] = []
        with suppress(OSError):
            while not self.closed:
                size, ancillary, _, to = self.real.recvmsg_into(
                    [_buffer], ROOM, socket.MSG_ERRQUEUE
                )
                found.append(Reported(bytes(_view[:size]), tuple(ancillary), to))
        return found

    def _writable(self) -> None:
        while self._queue:
            data, to = self._queue[0]
            try:
                if not self._send(data, to):
                    break
            except OSError as error:
                self.upstream.undelivered(self, error)
            if self._queue:
                self._queue.popleft()
        if not self._queue:
            self._watch.want(WRITE, False)
            if self.closed:
                return self._let_go()
        if len(self._queue) <= KEPT // 2:
            self._room.say(True)

    def _let_go(self) -> None:
        self._queue.clear()
        super()._let_go()


def _enlarge(real: socket.socket) -> None:
    """Let the kernel hold more for us."""
    for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
        with suppress(OSError):
            return real.setsockopt(socket.SOL_SOCKET, option, PATIENCE // 2)  # it doubles it


def _nothing() -> None: ...
