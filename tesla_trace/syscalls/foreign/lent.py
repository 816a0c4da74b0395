"""accept(2) on listeners that the program came by without listen(2) on a socket of ours.

It inherited one (socket activation), was sent one (SCM_RIGHTS), or listens on an inherited socket.

Facts: such a listener may be shared with processes that are not the program's.  Its readiness, its
options and its queue are the kernel's business, and stay so.  A copy of it hides that the program
closes it; natively a call that waits in accept does the same.

What it means for us: nothing takes the listener's place.  Each accept is done by us, on a copy that
we have while calls wait, and what comes in goes through the handlers to the program as from any
listener.  Somebody else may always be first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket as sockets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tesla_trace.address import Address
from tesla_trace.flow import Context, FlowHandler
from tesla_trace.io.graph import Graph
from tesla_trace.io.loop import READ, Watch
from tesla_trace.kernel import proc
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.acting import OURS, Guise
from tesla_trace.syscalls.arguments.flags import FLAGS
from tesla_trace.syscalls.arguments.words import error, signed
from tesla_trace.syscalls.foreign import adopt
from tesla_trace.syscalls.foreign.door import Door
from tesla_trace.syscalls.held import Waiting, time_limit
from tesla_trace.syscalls.options.sockopt import stored
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream.accept import EXHAUSTED, PAUSE, give
from tesla_trace.syscalls.stream.socket import Socket

Taken = tuple[Socket, Address]


def accept(session: Session, stop: Stop) -> None:
    """Take a connection that waits, or wait for one."""
    if stop.call == "accept4" and signed(stop.args[3]) & ~FLAGS:
        raise error(errno.EINVAL)
    found = adopt.look(session, stop, signed(stop.args[0]))
    if found is None:
        return stop.proceed()
    try:
        if adopt.tcp_state(found) != adopt.LISTEN:
            raise error(errno.EINVAL)
        lent = session.lent.get(file := proc.socket_name(found.fileno()))
        if lent is None:
            lent = session.lend(file, Lent(session, stop, found))
    except BaseException:
        found.close()
        raise
    lent.accept(stop, found)


class Lent:
    """One such listener, and the calls that wait for its connections."""

    def __init__(self, session: Session, stop: Stop, found: sockets.socket) -> None:
        self.session = session
        self.domain: int = found.family
        self.protocol: int = found.proto
        self.stored: dict[tuple[int, int], bytes] = {}
        self.sizes: dict[int, int] = {}
        self._waiting: deque[Stop] = deque()
        self._kept: deque[Taken] = deque()
        """Taken for somebody who was gone by then, or had no room for it."""
        self._watch: Watch | None = None
        self._over = False
        self.guise = OURS
        self._graph = graph = Graph(session.loop, session.flow(stop))
        graph.flow.port = found.getsockname()[1]
        another = partial(session.network.another, graph)
        self._door = Door(self._context(another), graph, session.network, self.close)
        first = [self._door]

        def below(domain: int, type: int) -> FlowHandler:
            return first.pop() if first else another(domain, type)

        plumb = session.stack.plumber(graph, below, graph.flow)
        self._above = _Above(self._context(plumb), self)
        self._door.lent = found
        self._above.bind(found.getsockname())
        self._above.listen(adopt.backlog_of(found))
        self._door.lent = None

    def _context(self, plumb: Callable[[int, int], FlowHandler]) -> Context:
        graph = self._graph
        return Context(self.domain, sockets.SOCK_STREAM, graph, None, plumb, flow=graph.flow)

    def accept(self, stop: Stop, found: sockets.socket) -> None:
        """Answer a call, now or later; `found` is a copy of the listener, and becomes ours."""
        self._lend(found)
        try:
            if self._over:
                raise error(errno.EINVAL)
            self._graph.guise = self.guise = Guise(self.session.acting.rights(stop, None), None)
            if self._serve(stop):
                return
            listener = self._listener
            if fcntl.fcntl(listener, fcntl.F_GETFL) & os.O_NONBLOCK:
                raise error(errno.EAGAIN)
            self._waiting.append(stop)
            limit = time_limit(listener, sockets.SO_RCVTIMEO)
            self.session.held.hold(Waiting(stop, limit, errno.EAGAIN, self._dropped))
            self._watched.want(READ, True)
        finally:
            self._give_back()

    def ready(self) -> None:
        """A connection may be there for those who wait."""
        while self._waiting and self._serve(stop := self._waiting[0]):
            self.session.held.release(stop)
            with suppress(ValueError):  # a handler has failed, and all are answered
                self._waiting.remove(stop)
        self._give_back()

    @property
    def kept(self) -> bool:
        """Whether a connection was taken that nobody has."""
        return bool(self._kept)

    def leave(self) -> None:
        """Leave those that wait, and will, to the kernel."""
        waiting = list(self._waiting)
        self._waiting.clear()
        for stop in waiting:
            self.session.held.release(stop)
            stop.proceed()
        self._give_back()

    def close(self) -> None:
        """Accept no more: a handler has failed, or nobody is left to."""
        self._over = True
        for stop in self._waiting:
            self.session.held.release(stop)
            stop.fail(errno.EINVAL)
        self._waiting.clear()
        for socket, _ in self._kept:
            _abort(socket)
        self._kept.clear()
        self._give_back()

    # ---- the copy ----

    def _lend(self, found: sockets.socket) -> None:
        if self._door.lent is None:
            self._door.lent = found
        else:
            found.close()

    @property
    def _listener(self) -> sockets.socket:
        assert self._door.lent is not None
        return self._door.lent

    @property
    def _watched(self) -> Watch:
        if self._watch is None:
            self._watch = self.session.loop.watch(self._listener.fileno())
            self._graph.serve(self._watch, self.ready, _nothing, _nothing, _nothing)
        return self._watch

    def _give_back(self) -> None:
        """Have no copy while nobody waits."""
        if not self._waiting and self._door.lent is not None:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
            self._door.lent.close()
            self._door.lent = None

    def _dropped(self, stop: Stop) -> None:
        with suppress(ValueError):
            self._waiting.remove(stop)
        self._give_back()

    # ---- connections ----

    def _serve(self, stop: Stop) -> bool:
        """Give a caller the next connection, if there is one for it."""
        if not stop.waiting():
            return True
        if not proc.has_room(stop.thread):
            stop.fail(errno.EMFILE)
            return True
        try:
            taken = self._kept.popleft() if self._kept else self._take()
        except OSError as wrong:
            stop.fail(wrong.errno or errno.EIO)
            return True
        if taken is None:
            return False
        try:
            give(self.session, *taken, stop)
        except Gone:
            self._kept.append(taken)
        except OSError as wrong:
            if wrong.errno == errno.EMFILE:
                self._kept.append(taken)
            else:
                _abort(taken[0])
            stop.fail(wrong.errno or errno.EIO)
        return True

    def _take(self) -> Taken | None:
        """A connection, through the handlers, for somebody to have.

        Raises:
            OSError: it listens no more; a handler has failed.
        """
        try:
            flow, peer = self._above.control.accept()
        except BlockingIOError:
            return None
        except OSError as wrong:
            self._not_taken(wrong)
            return None
        except Exception as wrong:
            raise self._graph.crash(wrong) from wrong
        self.stored = stored(self._listener)
        try:
            socket = Socket.accepted(self, flow)
        except OSError as wrong:
            flow.abort()
            self._not_taken(wrong)
            return None
        socket.pair.take_after(self._listener)
        return socket, peer

    def _not_taken(self, wrong: OSError) -> None:
        if wrong.errno in EXHAUSTED:
            self.session.say_once(f"connections have to wait: {wrong.strerror} (ulimit -n)")
            if self._watch is not None:
                self._watch.want(READ, False)
                self.session.loop.at(self.session.loop.now() + PAUSE, self._go_on)
        elif adopt.tcp_state(self._listener) != adopt.LISTEN:
            raise error(errno.EINVAL)

    def _go_on(self) -> None:
        if self._watch is not None:
            self._watch.want(READ, True)


class _Above(FlowHandler):
    """The handler on top of the graph."""

    def __init__(self, ctx: Context, lent: Lent) -> None:
        self._lent = lent
        super().__init__(ctx)

    def accept_ready(self, source: FlowHandler) -> None:
        self._lent.ready()

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None: ...


def _abort(socket: Socket) -> None:
    if socket.top is not None:
        socket.top.abort()
    socket.left()


def _nothing() -> None: ...
