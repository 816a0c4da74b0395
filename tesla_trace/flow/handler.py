"""The flow handler: one session service at work on one flow.

    program
        |   connect bind listen accept shutdown close abort         control
        |   getsockname getpeername getsockopt setsockopt ioctl     control
        v   write urge may_avail                                    data
    [ handler ]      calls go down, events come up
        ^   connected accept_ready avail urgent may_write ended undelivered
        |
    network

A handler has one flow above it (`upstream`) and any number below it
(`downstream`).  Every method here passes its call on unchanged, so a subclass
writes only what its service changes, and passes a call on with `super()`.

Rules, checked for every handler by `tesla_trace.testing`:

1. No method blocks.  What takes time is answered later by an event.
2. `write` and `avail` take all of the data they are given.  They return False
   only when it will never again be possible to write to, or deliver to, that
   flow: it is gone or shut down.  Slowing down is asked for with
   `may_write(False)` upward and `may_avail(False)` downward, holds until the
   same with True, and is to be respected.
3. An event comes from a turn of the event loop, never from inside a call that
   is still running; from there, `later` puts it off to the next turn.  Inside
   an event the flow above may call down again, even `close`: so pass an event
   on last, with your own state in order.
4. A call that cannot be done raises OSError with the errno the program is
   to see.  A failure that comes later is the `error` of an event.

Events on a stream:  connected(error) | connected avail* ended [ended(error)]
on an accepted one:  avail* ended [ended(error)]     with may_write anywhere between;
`urgent` may stand wherever `avail` may.

A datagram flow (SOCK_DGRAM, udp(7)) may be written to at any time, with `to` or after a `connect`,
which may come again and then names another peer; `connected` is of no importance to it.  Each call
of `write` or `avail` is one datagram, whole; it may be lost, and is rather dropped than kept
without bound.  `write` raises OSError where this one datagram cannot be sent; what becomes known
later is told by `undelivered`, after which the flow goes on.

A handler that has no more use for the bytes of its flow may `step_aside`.  It
leaves the data path: the flows above and below it are joined, so that `write`,
`may_avail` and all events pass it by.  It stays in the control path: all other
calls still pass through it, so it goes on answering `getpeername` or `ioctl`.
Hence two lists: `downstream`, where data goes, is joined anew; `plumbed`, where
control goes, stays as built.
"""

from __future__ import annotations

import builtins
import errno
import socket
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from tesla_trace.address import Address
from tesla_trace.flow.clock import Clock, Timer
from tesla_trace.flow.errors import failure
from tesla_trace.flow.events import Event
from tesla_trace.flow.flow import Flow
from tesla_trace.flow.own import OWN, is_own


class NoOptions:
    """For handlers that have nothing to set."""


class Context:
    """What a handler is given at birth."""

    def __init__(
        self,
        domain: int,
        type: int,
        clock: Clock,
        options: Any,
        plumb: Plumb,
        accepted: FlowHandler | None = None,
        flow: Flow | None = None,
        shared: dict[str, Any] | None = None,
    ) -> None:
        self.domain = domain
        """AF_INET or AF_INET6."""
        self.type = type
        """SOCK_STREAM or SOCK_DGRAM, without flags."""
        self.clock = clock
        self.options = options
        """An instance of the handler class's `Options`."""
        self.plumb = plumb
        """Make a flow of the next kind below."""
        self.accepted = accepted
        """The flow below that was just accepted, if that is where we come from."""
        self.flow = Flow() if flow is None else flow
        """The same for all handlers of a flow."""
        self.shared: dict[str, Any] = {} if shared is None else shared
        """The same for all flows of a handler, for as long as the program runs."""

    def replace(self, **changes: Any) -> Context:
        """The same, but for what is named."""
        return Context(**{**vars(self), **changes})


class FlowHandler:
    """Pass everything on.  Subclass it to change something."""

    name: ClassVar[str] = "null"
    types: ClassVar[frozenset[int]] = frozenset({socket.SOCK_STREAM, socket.SOCK_DGRAM})
    """The socket types it can serve; it is never built for another."""
    exclusive: ClassVar[bool] = False
    """Refuse the program sockets of other types rather than leave those to the kernel: for a
    service that nothing may bypass."""
    internal: ClassVar[bool] = False
    """Whether it is ours, among those that the user named: programs that know do not see it."""
    resolves: ClassVar[bool] = False
    """Whether names are looked up at its far end, so that the program's lookups need not leave
    this machine; its options then say how, by `dns` (see `ProxyOptions`)."""
    Options: ClassVar[type] = NoOptions
    answers: ClassVar[Mapping[int, str]] = {}
    """The requests of programs that know of it, each `OWN` + N, and what `ioctl` does for them."""
    tells: ClassVar[Mapping[int, str]] = {}
    """The kinds of events that such programs are told, and what each says."""

    @classmethod
    def serving(cls, type: int) -> builtins.type[FlowHandler] | None:
        """The class that serves flows of a socket type in this one's name, if one does."""
        return cls if type in cls.types else None

    upstream: FlowHandler
    """Where events go."""
    downstream: list[FlowHandler]
    """Where data goes, and the possible `source` of an event."""
    plumbed: list[FlowHandler]
    """Where all other calls go."""
    aside: bool
    """Whether it has left the data path."""

    def __init__(self, ctx: Context, *, plumb: bool = True) -> None:
        """Open one flow below like our own, unless `plumb` is false.

        Raises:
            OSError: as socket(2) does.
        """
        self.ctx = ctx
        self.options = ctx.options
        self.upstream = NOBODY
        self.downstream = []
        self.plumbed = []
        self.closed = False
        self.aside = False
        self._timers: list[Timer] = []
        if ctx.accepted is not None:
            self.attach(ctx.accepted)
        elif plumb:
            self.plumb(ctx.domain, ctx.type)

    # ---- building ----

    def plumb(self, domain: int, type: int) -> FlowHandler:
        """Open one more flow below.

        Raises:
            OSError: as socket(2) does.
        """
        return self.attach(self.ctx.plumb(domain, type))

    def attach(self, flow: FlowHandler) -> FlowHandler:
        """Take `flow` as one of the flows below."""
        data = flow.below if flow.aside else flow
        flow.upstream = data.upstream = self
        self.downstream.append(data)
        self.plumbed.append(flow)
        return flow

    @property
    def below(self) -> FlowHandler:
        """The flow below that data goes to, for handlers that have exactly one."""
        (flow,) = self.downstream
        return flow

    @property
    def control(self) -> FlowHandler:
        """The flow below that control calls go to, for handlers that have exactly one."""
        (flow,) = self.plumbed
        return flow

    def step_aside(self) -> None:
        """Leave the data path, for good.

        To be called from an event, with nothing held either way, or at birth, by a service that
        has no use for any byte; no method may write afterwards.
        """
        if self.closed:
            return
        self.aside = True
        if self.upstream is not NOBODY:  # else `attach` sees to it
            self.upstream.join(self, self.below)

    def join(self, aside: FlowHandler, flow: FlowHandler) -> None:
        """Exchange data and events with `flow`, which was below `aside`, from now on.

        To be extended by a handler that keeps flows of its own by name.
        """
        self.downstream[self.downstream.index(aside)] = flow
        flow.upstream = self

    def timer(self, fire: Callable[[], object]) -> Timer:
        """A timer that calls `fire`; `close` stops it."""
        timer = Timer(self.ctx.clock, fire)
        self._timers.append(timer)
        return timer

    def later(self, call: Callable[[], object]) -> None:
        """Do `call` on the next turn of the loop, unless closed by then.

        So a call brings about an event: `self.later(lambda: self.upstream.may_write(self, False))`.
        """
        self.ctx.clock.at(self.ctx.clock.now(), lambda: self.closed or call())

    def tell(self, kind: int, data: bytes = b"") -> None:
        """Let a program that knows of handlers know of something, whenever it looks; never blocks.

        Args:
            kind: what it is, by this handler's own count.
            data: at most 4096 bytes, in whatever form the handler says.
        """
        self.ctx.flow.events.tell(Event(self, kind, data))

    # ---- calls, from the flow above ----

    def connect(self, address: Address) -> None:
        """Start connecting; `connected` tells how it went."""
        self.control.connect(address)

    def bind(self, address: Address) -> None:
        """Choose the local address."""
        self.control.bind(address)

    def listen(self, backlog: int) -> None:
        """Wait for connections; `accept_ready` tells of each that can be accepted."""
        self.control.listen(backlog)

    def accept(self) -> tuple[FlowHandler, Address]:
        """Take the next connection: a handler like this one, and its peer.

        Raises:
            BlockingIOError: no connection waits.
        """
        flow, peer = self.control.accept()
        born = flow.ctx  # of the new flow, where ours is of the one that listens
        ctx = self.ctx.replace(accepted=flow, clock=born.clock, flow=born.flow)
        try:
            return type(self)(ctx), peer
        except BaseException:
            flow.abort()  # nobody else knows it
            raise

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Send `data`; all of it is taken, even after `may_write(False)`.  Not before `connected`.

        Args:
            to: destination, for a datagram flow without a fixed peer.

        Returns:
            False if nothing can ever be written again: shut down, or gone.

        Raises:
            OSError: of a datagram flow: this datagram cannot be sent, perhaps others can.
        """
        return self.below.write(data, to)

    def urge(self, byte: bytes) -> bool:
        """Send the urgent byte of a stream (tcp(7), MSG_OOB), behind all that was written.

        A service that codes the stream writes it like any other, as with SO_OOBINLINE.

        Returns:
            As `write`.
        """
        return self.below.urge(byte)

    def shutdown(self, read: bool, write: bool) -> None:
        """End one direction or both; what was written is still sent."""
        self.control.shutdown(read, write)

    def close(self) -> None:
        """Give the flow up.  No event follows; what was written is still sent."""
        if self._give_up():
            for flow in self.plumbed:
                flow.close()

    def abort(self) -> None:
        """Give the flow up and reset it: nothing more is sent, and the peer is told so.

        It may follow a `close` that still has something to send.
        """
        self._give_up()
        for flow in self.plumbed:
            flow.abort()

    def _give_up(self) -> bool:
        """Fall silent.  False if that was done before."""
        first, self.closed = not self.closed, True
        self.upstream = NOBODY
        for timer in self._timers:
            timer.stop()
        return first

    def getsockname(self) -> Address:
        """Our own address, as the program is to see it."""
        return self.control.getsockname()

    def getpeername(self) -> Address:
        """The peer's address, as the program is to see it."""
        return self.control.getpeername()

    def may_avail(self, may: bool) -> None:
        """Allow `avail` to the flow above, or stop it."""
        for flow in self.downstream:
            flow.may_avail(may)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """At most `size` bytes of the option's value, in the kernel's form."""
        return self.control.getsockopt(level, option, size)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Set an option; `value` is in the kernel's form."""
        self.control.setsockopt(level, option, value)

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """The answer to `request`, in the kernel's form.

        `OWN` + N is request N of a program that knows of handlers, to this one (see `own.py`): in
        whatever form the handler says, and never passed on.

        Raises:
            OSError: ENOTTY, it does not know the request.
        """
        if is_own(request):
            raise failure(errno.ENOTTY, f"+{self.name} knows no request {request - OWN}")
        return self.control.ioctl(request, argument)

    # ---- events, from a flow below ----

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        """`connect` is over: done, or failed with `error`."""
        self.upstream.connected(self, error)

    def accept_ready(self, source: FlowHandler) -> None:
        """A connection can be accepted."""
        self.upstream.accept_ready(self)

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """`data` has come in; all of it is taken.

        Args:
            origin: where it comes from, for a datagram flow without a fixed peer.

        Returns:
            False if nothing can ever be delivered again: shut down for reading, or gone.
        """
        return self.upstream.avail(self, data, origin)

    def urgent(self, source: FlowHandler, byte: bytes) -> bool:
        """An urgent byte has come in, behind all that came before it.

        Returns:
            As `avail`.
        """
        return self.upstream.urgent(self, byte)

    def may_write(self, source: FlowHandler, may: bool) -> None:
        """Writing to `source` is wanted again, or not for now."""
        self.upstream.may_write(self, may)

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None:
        """Nothing more will come from `source`: the peer is done; with `error`, the flow is gone.

        A good end may be followed by one with an error: then the way out is lost too.

        The one event beyond the paper's figure 3: neither the end of a stream nor a reset could
        travel up as an empty `avail`, which on a datagram flow is an empty datagram.
        """
        self.upstream.ended(self, error)

    def undelivered(self, source: FlowHandler, error: OSError) -> None:
        """A datagram sent before did not get there, as an ICMP message or a proxy says."""
        self.upstream.undelivered(self, error)


Plumb = Callable[[int, int], FlowHandler]
"""Makes a flow for `(domain, type)`."""


class _Nobody(FlowHandler):
    def __init__(self) -> None: ...

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None: ...

    def accept_ready(self, source: FlowHandler) -> None: ...

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        return False

    def urgent(self, source: FlowHandler, byte: bytes) -> bool:
        return False

    def may_write(self, source: FlowHandler, may: bool) -> None: ...

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None: ...

    def undelivered(self, source: FlowHandler, error: OSError) -> None: ...


NOBODY: FlowHandler = _Nobody()
"""Stands above a flow that was given up: takes nothing, and lets nothing happen."""
