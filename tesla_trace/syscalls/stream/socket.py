"""A stream socket of the program: its pair, its graph, and how far it has come.

A socket whose connect has failed, or was dissolved, keeps its options and its local address
(net/ipv4/af_inet.c).
"""

from __future__ import annotations

import errno
import socket as sockets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from tesla_trace.flow import Context, Flow, FlowHandler
from tesla_trace.io.bottom import RESET, Bottom
from tesla_trace.io.graph import Graph
from tesla_trace.io.pair import FULL, Pair
from tesla_trace.io.top import Top
from tesla_trace.kernel.replace import replace
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.acting import OURS, Guise
from tesla_trace.syscalls.options.sockopt import stored
from tesla_trace.syscalls.program_socket import ProgramSocket
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream.beside import beside
from tesla_trace.syscalls.stream.connecting import Connecting
from tesla_trace.syscalls.stream.state import State

if TYPE_CHECKING:
    from tesla_trace.syscalls.stream.accept import Backlog


def _nothing() -> None: ...


class Listener(Protocol):
    """What a socket that comes in has from the one that listens."""

    session: Session
    domain: int
    protocol: int
    stored: dict[tuple[int, int], bytes]
    sizes: dict[int, int]
    guise: Guise


class Socket(ProgramSocket):
    """One stream socket of the program.

    Args:
        real: the kernel's socket that goes to the network; of an accepted flow, None.
        guise: with what it was made, and others of the flow are to be.
    """

    TYPE = sockets.SOCK_STREAM

    def __init__(
        self,
        session: Session,
        domain: int,
        real: sockets.socket | None,
        protocol: int = 0,
        guise: Guise = OURS,
    ) -> None:
        protocol = protocol or sockets.IPPROTO_TCP
        pair = session.ends.new() if real is not None else Pair(session.loop)
        super().__init__(session, domain, protocol, pair, guise)
        self._owner = 0
        self.state = State.FRESH
        self.told = False
        """Whether the program knows from connect(2) that it is connected."""
        self.sizes: dict[int, int] = {}
        """SO_SNDBUF and SO_RCVBUF, where the program has said what they are to be."""
        self.top: Top | None = None
        self._bottom: Bottom | None = None
        self.before: Bottom | None = None
        """The network's end of the flow before, whose options and address still hold."""
        self.original: sockets.socket | None = None
        """A copy of the kernel's socket in whose place it came, if both are bound to one port."""
        self.names: dict[str, bytes] = {}
        """Packed addresses that do not change any more."""
        self.connecting = Connecting(self)
        self.tries = 0
        """How often the flow may still be tried to be handed back."""
        self.backlog: Backlog | None = None
        self.receivers: list[Callable[[], bool]] = []
        """Calls that wait for data and cannot be left to the pair: tried as it comes, True once
        they are over."""
        if real is not None:
            graph = Graph(session.loop, session.flow(), guise)
            self._bottom = session.network.bottom(graph, domain, real)

    @property
    def listening(self) -> bool:
        """Whether it waits for connections."""
        return self.state is State.LISTENING

    @property
    def pair_has_error(self) -> bool:
        """Once connected, an error is a reset of the pair."""
        return self.state in (State.CONNECTED, State.OVER)

    # ---- control calls, wherever they go now ----

    @property
    def bottom(self) -> Bottom:
        """The network's end; after a failed connect a new one, made when it is asked for.

        Raises:
            OSError: as socket(2) or bind(2).
        """
        if self._bottom is None:
            graph = Graph(self.session.loop, self.session.flow(), self.guise)
            made = self.session.network.stream(graph, self.domain)
            try:
                with beside(self.original, made.real):
                    made.take_after(self.before)
            except OSError:
                made.close()
                raise
            self._bottom = made
        return self._bottom

    @property
    def direct(self) -> Bottom | None:
        """The network's end, if no handler is left between it and the program."""
        bottom = self._bottom
        if self.top is None or self.top.direct is not bottom:
            return None
        return bottom

    @property
    def control(self) -> FlowHandler:
        """Whom to ask: the graph, or before there is one the network's end of it."""
        return self.top if self.top is not None else self.bottom

    @contextmanager
    def asked(self) -> Iterator[FlowHandler]:
        """Whom to ask for options, also when the flow is over.

        Then nothing would tell when to close a new socket, so one is made for the moment.
        """
        if self.top is not None or self._bottom is not None or not self.pair.closed:
            yield self.control
            return
        graph = Graph(self.session.loop, Flow(), self.guise)
        made = self.session.network.stream(graph, self.domain)
        try:
            if self.before is not None:
                made.set_all(self.before.settings)
            yield made
            if self.before is not None:
                self.before.settings = made.settings
        finally:
            made.abort()

    def build(self, stop: Stop) -> Top:
        """The graph, built now if it was not; what was set before is said to the handlers again."""
        if self.top is None:
            flow = self.bottom.ctx.flow
            self.session.identify(flow, stop)
            if flow.target is None:  # it is to listen
                flow.port = self.bottom.getsockname()[1] or None
            self.top = self._built(self.bottom)
            self.bottom.repeat(self.top)
        return self.top

    def _built(self, bottom: Bottom) -> Top:
        graph, kind = bottom.graph, sockets.SOCK_STREAM
        first = [bottom]

        def below(domain: int, type: int) -> FlowHandler:
            return first.pop() if first else self.session.network.another(graph, domain, type)

        plumb = self.session.stack.plumber(graph, below, graph.flow)
        ctx = Context(self.domain, kind, graph, None, plumb, flow=graph.flow)
        return Top(ctx, graph, self.pair, self)

    # ---- one flow after the other ----

    def resize(self, sizes: dict[int, int]) -> None:
        """Let no more bytes wait on their way than the program wants its socket to hold.

        A listener's pair holds none; what it accepts has the same sizes.
        """
        self.sizes |= sizes
        if self.state is not State.CONNECTED or self.pair.closed:
            return
        sizes = self._least_sizes()
        if not sizes:
            return
        if self.top is not None:
            for bottom in self.top.graph.bottoms:
                if isinstance(bottom, Bottom):
                    bottom.full = min(FULL, sizes.get(sockets.SO_SNDBUF, FULL))
        with suppress(OSError, Gone):
            if self.pair.app is not None:
                self.pair.resize(self.pair.app, sizes)
            else:
                with self.borrowed() as app:
                    self.pair.resize(app, sizes)

    def _least_sizes(self) -> dict[int, int]:
        """The sizes that the program has set, less where a handler holds less (`Flow.hold`)."""
        sizes = dict(self.sizes)
        if self.top is not None:
            flow = self.top.ctx.flow
            held = {sockets.SO_SNDBUF: flow.room_out, sockets.SO_RCVBUF: flow.room_in}
            for option, room in held.items():
                if room is not None:
                    sizes[option] = min(room, sizes.get(option, room))
        return sizes

    def connected(self, error: OSError | None) -> None:
        """The connect is over; see `Owner`."""
        if self.state is State.LISTENING:  # a handler failed: nobody will ever come in
            self.stop_listening()
        else:
            self.connecting.over(error)

    def renew(self) -> None:
        """Be as before a connect or listen; what was set and bound still holds."""
        top, self.top = self.top, None
        if top is not None:
            try:
                top.abort()
            except Exception as wrong:
                top.graph.crash(wrong)
        self.dispose()
        self.pair.watch.call(_nothing, _nothing, self.left, _nothing)
        self.state = State.FRESH

    def dispose(self) -> None:
        """Let go of the network's end, if there is one."""
        if self._bottom is not None:
            self._bottom.abort()
            self.before, self._bottom = self._bottom, None

    def dispose_if_over(self) -> None:
        """The same, unless it lives on with another pair."""
        if self.pair.closed:
            self.dispose()

    def abandon_calls(self) -> None:
        """Answer none of the calls that wait: who made them is gone."""
        self.connecting.waiters.clear()
        if self.backlog is not None:
            self.backlog.waiting.clear()

    def dissolve(self, stop: Stop, fd: int) -> None:
        """Be as new, as after connect(2) with AF_UNSPEC: the peer is sent a reset."""
        self._close_backlog()
        self.renew()
        self.connecting.answer(errno.ECONNABORTED)
        self.repair(stop, fd)

    def repair(self, stop: Stop, fd: int) -> None:
        """Give the program a fresh pair in place of one that is used up."""
        with self.borrowed(stop, fd) as used:
            self.take_place(stop, fd, self.pair.file, used)

    def take_place(self, stop: Stop, fd: int, file: bytes, used: sockets.socket) -> None:
        """Give the program a fresh pair in place of `file`, of which `used` is a copy."""
        pair = self.session.ends.new()
        pair.take_after(used)
        self._mark(pair)
        assert pair.app is not None
        try:
            replace(stop, fd, file, used.fileno(), pair.app.fileno())
        except BaseException:
            pair.close()
            raise
        finally:
            pair.given()
        used_up, self.pair = self.pair, pair
        pair.watch.hung_up = self.left
        self.session.replaced(file, self)
        self.session.add(self)
        self.names.clear()
        self.told, self.error = False, 0
        used_up.close()  # last, for it may tell of closes

    def take_back(self, stop: Stop, fd: int, file: bytes, found: sockets.socket) -> None:
        """Take the place of the kernel's socket that was handed back, and is dissolved by now.

        Args:
            file: what that is called in /proc/PID/fd; `found` is a copy.
        """
        self.top, self.before, self._bottom = None, self._bottom, None
        self.state, self.stored = State.FRESH, stored(found)
        self.take_place(stop, fd, file, found)

    def rejoin(self, stop: Stop, fd: int, file: bytes) -> None:
        """Give a process the pair, which still has the kernel's socket that it came instead of."""
        with sockets.socket(fileno=stop.borrow(fd, file)) as old, self.found() as app:
            replace(stop, fd, file, old.fileno(), app.fileno())
        self.seen = stop, fd

    def forgotten(self) -> None:
        """Nobody will ask for it any more."""
        if self.original is not None:
            self.original.close()
            self.original = None

    # ---- accepting ----

    def owned_by(self, stop: Stop) -> None:
        """What it accepts from now on is the caller's, who is looked at when it is another."""
        if stop.thread == self._owner:
            return
        self._owner = stop.thread
        rights = self.session.acting.rights(stop, self.guise.namespace)
        if rights is not self.guise.rights:
            self.guise = Guise(rights, self.guise.namespace)
            (self.top or self.bottom).graph.guise = self.guise

    def arrived(self) -> None:
        """A connection can be accepted; see `Owner`."""
        if self.backlog is not None:
            self.backlog.arrived()

    def delivered(self) -> None:
        """Answer the calls of ours that wait for data; see `Owner`."""
        if self.receivers:
            for again in list(self.receivers):
                again()

    @classmethod
    def accepted(cls, listener: Listener, flow: FlowHandler) -> Socket:
        """The socket of a flow that a listener accepted; its end is not the program's yet."""
        socket = cls(listener.session, listener.domain, None, listener.protocol, listener.guise)
        graph = flow.ctx.clock
        assert isinstance(graph, Graph)
        (bottom,) = graph.bottoms
        assert isinstance(bottom, Bottom)
        socket._bottom = bottom
        listener.session.began(graph.flow)
        socket.stored = dict(listener.stored)
        socket.top = Top(
            Context(
                socket.domain,
                sockets.SOCK_STREAM,
                graph,
                None,
                flow.ctx.plumb,
                accepted=flow,
                flow=graph.flow,
            ),
            graph,
            socket.pair,
            socket,
        )
        socket.state, socket.told = State.CONNECTED, True
        socket.resize(listener.sizes)
        socket.tries = listener.session.handing.tries()
        if socket.tries and socket.direct is not None:
            socket.top.may_avail(False)  # the program may get all of it from the kernel itself
        else:
            socket.top.open()
        return socket

    def begin(self) -> None:
        """The program has its end of an accepted flow, which it may have to wait for no more."""
        if self.top is not None and not self.top.opened:
            self.top.may_avail(True)
            self.top.open()

    def stop_listening(self) -> None:
        """Listen no more, but keep the local address; whoever polls is told of a hang-up."""
        with suppress(OSError, Gone), self.found() as app:
            app.shutdown(sockets.SHUT_RDWR)
        self._close_backlog()
        self.renew()
        self.session.remember(self)
        self.pair.close()

    def resets(self) -> bool:
        """Whether a close is a reset: SO_LINGER with no time; see `Owner`."""
        return self.stored.get((sockets.SOL_SOCKET, sockets.SO_LINGER), b"") == RESET

    def _close_backlog(self) -> None:
        if self.backlog is not None:
            self.backlog.close()
            self.backlog = None

    # ---- ends ----

    def left(self) -> None:
        """The program has closed its last descriptor; see `Owner`."""
        self.session.forget(self)
        self._close_backlog()
        self.connecting.answer(errno.ECONNABORTED)
        if self.top is None and self._bottom is not None:
            self._bottom.close()
        self.pair.close()
        self.pair.given()

    def lost(self) -> None:
        """The flow is over, but the program may still have its socket; see `Owner`."""
        self.state = State.OVER
        self._close_backlog()
        if self.top is not None:
            self.top = None
            self.before, self._bottom = self._bottom, None
        self.session.remember(self)
        self.pair.close()

    def spoil(self) -> None:
        """Make the close of the pair a reset for the program; see `Owner`."""
        if self.pair.app is not None:
            return Pair.spoil(self.pair.app)
        with suppress(OSError):
            with self.found() as app:
                Pair.spoil(app)
