"""The handler at the bottom of a graph of streams: the network's end, a TCP socket."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from tesla_trace.flow import Address, Context, FlowHandler, failure, numeric
from tesla_trace.io.endpoint import Endpoint, fitting
from tesla_trace.io.graph import Graph
from tesla_trace.io.loop import READ, WRITE
from tesla_trace.io.outlet import Outlet, StreamEnd
from tesla_trace.io.pair import FULL
from tesla_trace.io.urgent import Urgent, at_mark, prepare, take

if TYPE_CHECKING:
    from tesla_trace.io.network import Network

PIECE = 128 * 1024
"""Bytes read at a time."""

NONBLOCK = int(socket.SOCK_NONBLOCK)

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: close resets the connection (socket(7))."""


class Bottom(Endpoint, StreamEnd):
    """A stream of the network, or a socket that listens for streams."""

    def __init__(
        self, ctx: Context, graph: Graph, network: Network, real: socket.socket | None = None
    ) -> None:
        super().__init__(ctx, graph, network, real)
        self.full = FULL
        """Bytes waiting to be sent when a stop is asked for; half of it ends the stop."""
        self._ready()
        self._others: list[Address] = []
        self._connecting = self._listening = self._ended = self._marked = False
        self._given = False
        self._may = True
        self._error: OSError | None = None

    def start(self) -> None:
        """Begin to read: the connection is there already."""
        self._watch.want(READ, self._may)
        self.graph.once_open(self._attend)

    def _attend(self) -> None:
        """See urgent bytes, and the end of what is not read; the program may send, and wait."""
        if not (self.closed or self._given):
            prepare(self.real)
            self._watch.expect_exceptions()

    # ---- giving the socket away ----

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be sent, and neither direction is over."""
        over = self._ended or self._error is not None
        return self.outlet.quiet and not (self._marked or self._connecting or over)

    def give_away(self) -> None:
        """Leave the socket to the program, which has it by now, once what was written is sent."""
        self._given = True
        self._watch.want(READ, False)
        if not self.outlet.queued:
            self._part()

    @contextmanager
    def lent(self, real: socket.socket) -> Iterator[None]:
        """Have the socket again, for calls of the program that handlers are to see."""
        self.real = real
        try:
            yield
        finally:
            real.close()

    # ---- control ----

    def connect(self, address: Address) -> None:
        """Connect to a number, or to what a name stands for, the first address that answers."""
        if numeric(address[0]) is not None:
            return self._connect(address)
        self._network.resolver.look_up(
            address[0], address[1], lambda found: self.graph.run(lambda: self._looked_up(found))
        )

    def listen(self, backlog: int) -> None:
        """Listen, or change the backlog."""
        self.real.listen(backlog)
        self._listening = True
        self._watch.want(READ, self._may)

    def accept(self) -> tuple[FlowHandler, Address]:
        """Take a connection that waits."""
        with self.graph.guise:
            real, peer = self.real.accept()
        return self._network.accepted(self.ctx, self.graph, real, peer), peer

    def shutdown(self, read: bool, write: bool) -> None:
        """End a direction, the way out after all that was written."""
        if read:
            self.real.shutdown(socket.SHUT_RD)
        if write and not self.outlet.ended:
            if not self.outlet.queued:
                self.real.shutdown(socket.SHUT_WR)
            self.outlet.ended = True

    def abort(self) -> None:
        """Reset the connection; one that was given away is the program's to reset."""
        if self._given:
            self._give_up()
            return self._let_go()
        if self in self._network.open:
            self.real.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        super().abort()

    @property
    def unsent(self) -> bool:
        """Whether something that was written waits to be sent, and is ours to send."""
        return self.outlet.queued > 0 and not self._given

    # ---- data ----

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Send at once what the kernel takes, and the rest when it does."""
        if not self.outlet.put(data):
            return False
        self.throttle()
        return True

    def urge(self, byte: bytes) -> bool:
        """Send it as urgent, behind what was written."""
        return self.write(Urgent(byte))

    def may_avail(self, may: bool) -> None:
        """Read, or leave it with the kernel, which stops the peer; of a listener, accept or not."""
        self._may = may
        if not self._connecting and not self._ended and not self.closed:
            self._watch.want(READ, may)
            if may and self._marked:
                self.later(self._pass_urgent)

    # ---- what the loop tells ----

    def _readable(self) -> None:
        if self._listening:
            return self.upstream.accept_ready(self)
        try:
            if self.splice(self.real, self.upstream, self.graph.pipes):
                return self._pass_urgent()
            data = self.real.recv(PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            return self._end(error)
        if not data:
            return self._end(self._error)
        self.moved += len(data)
        if not self.upstream.avail(self, data):
            self.unwanted()
        self._pass_urgent()

    def took(self, size: int) -> None:
        """Notice that something moves."""
        self.moved += size

    def urged(self) -> None:
        """Hand an urgent byte up in its place."""
        self._marked = True
        self._pass_urgent()

    def _pass_urgent(self) -> None:
        """Hand the urgent byte up, when reading has come to it."""
        if self._marked and self._may and not self.closed and at_mark(self.real):
            self._marked = False
            if byte := take(self.real):
                self.upstream.urgent(self, byte)

    def _writable(self) -> None:
        if self._connecting:
            return self._answered()
        self.outlet.flush()
        if not self.outlet.queued:
            if self.outlet.ended and not self.outlet.lost:
                with suppress(OSError):  # reset meanwhile: reading tells
                    self.real.shutdown(socket.SHUT_WR)
            if self.closed:
                return self._let_go()
            if self._given:
                return self._part()
        self._tell_room()

    def throttle(self) -> None:
        """Ask for a stop, in an event of its own, if too much waits."""
        if self.outlet.queued > self.full and self.outlet.room:
            self.later(self._tell_room)

    def _tell_room(self) -> None:
        if self.outlet.changed(self.full):
            self.upstream.may_write(self, self.outlet.room)

    def _hung_up(self) -> None:
        """The connection is reset or over both ways; read what there is, if we may."""
        number = self.real.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._error = OSError(number, os.strerror(number))
        if self._ended and self._error is not None:
            self.outlet.lost = True
            self.upstream.ended(self, self._error)

    def _end(self, error: OSError | None) -> None:
        self._ended = True
        self.outlet.lost = self.outlet.lost or error is not None
        self._watch.want(READ, False)
        self.upstream.ended(self, error)

    def unwanted(self) -> None:
        """Leave it with the kernel."""
        if not self.closed:
            self.may_avail(False)

    # ---- what the way out tells ----

    def sent(self, size: int) -> None:
        """So much is on its way."""
        self.moved += size

    def broken(self, error: OSError) -> None:
        """What the peer sent before is still to be read; `_end` tells of this after it."""
        self._error = error
        if self._ended:
            self.later(lambda: self.upstream.ended(self, error))

    # ---- connecting ----

    def _looked_up(self, found: list[Address] | OSError) -> None:
        if self.closed:
            return
        if isinstance(found, OSError):
            return self.upstream.connected(self, found)
        self._others = found
        self._next_address()

    def _next_address(self) -> None:
        while True:
            try:
                return self._connect(self._others.pop(0))
            except OSError as error:
                if not self._others:
                    return self.upstream.connected(self, error)

    def _connect(self, address: Address) -> None:
        address = fitting(address, self.real.family)
        if ":" in address[0] and self.real.family == socket.AF_INET:
            self._replace(socket.AF_INET6)
        number = self.real.connect_ex(address)
        if number not in (0, errno.EINPROGRESS):
            raise OSError(number, os.strerror(number))
        self._connecting = True
        number = number and self.real.connect_ex(address)
        if number == errno.EALREADY:
            self._watch.want(WRITE, True)
        else:  # over loopback it is over by now
            self.later(partial(self._connect_over, number))

    def _answered(self) -> None:
        self._watch.want(WRITE, False)
        self._connect_over(self.real.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _connect_over(self, number: int) -> None:
        self._connecting = False
        if number and self._others:
            self._replace(self.real.family)
            return self._next_address()
        if number:
            return self.upstream.connected(self, OSError(number, os.strerror(number)))
        self.start()
        self.upstream.connected(self)

    def _replace(self, domain: int) -> None:
        """Put a socket of `domain` in place of ours, with the same options where they apply."""
        if self.bound is not None:
            raise failure(errno.EAFNOSUPPORT, "bound to an address of another family")
        self._watch.close()
        self.real.close()
        with self.graph.guise:
            self.real = socket.socket(domain, self.ctx.type | NONBLOCK)
        self._ready()
        for (level, option), value in self.settings.items():
            if level in (socket.SOL_SOCKET, socket.IPPROTO_TCP) or domain == self.ctx.domain:
                self.real.setsockopt(level, option, value)

    def _ready(self) -> None:
        self._watch = self.graph.loop.watch(self.real.fileno())
        self.graph.serve(self._watch, self._readable, self._writable, self._hung_up, self.urged)
        self.outlet = Outlet(self, self._watch, self.real)

    def _part(self) -> None:
        self._watch.close()
        self.real.close()
        self._network.release(self)

    def _let_go(self) -> None:
        self.outlet.drop()
        super()._let_go()
