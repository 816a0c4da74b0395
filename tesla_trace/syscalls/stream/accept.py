"""listen(2), accept(2) and accept4(2)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket as sockets
from collections import deque
from contextlib import suppress

from tesla_trace.address import Address
from tesla_trace.kernel import sockaddr
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.arguments.flags import FLAGS
from tesla_trace.syscalls.arguments.words import error, room_for_sockaddr, signed, write_sockaddr
from tesla_trace.syscalls.ends.meeting import MOST
from tesla_trace.syscalls.held import Waiting, time_limit
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream.socket import Socket
from tesla_trace.syscalls.stream.state import State

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

PAUSE = 0.1
"""Seconds without accepting when there is nothing to accept with."""


class Backlog:
    """The connections that have come in and were not accepted yet, and the calls that wait."""

    def __init__(self, listener: Socket, size: int) -> None:
        self._listener = listener
        self.size = size
        self._ready: deque[tuple[Socket, Address]] = deque()
        self.waiting: deque[Stop] = deque()
        self._tokens = 0

    def arrived(self) -> None:
        """Take what waits below, up to the size; the rest waits with the kernel."""
        top = self._listener.top
        assert top is not None
        if len(self._ready) > self.size:  # the kernel, too, takes one more than it was told
            return top.may_avail(False)
        try:
            flow, peer = top.control.accept()
        except OSError as wrong:
            return self._not_accepted(wrong)
        try:
            accepted = Socket.accepted(self._listener, flow)
        except OSError as wrong:
            flow.abort()
            return self._not_accepted(wrong)
        self._ready.append((accepted, peer))
        self._put_token()
        while self.waiting and self._ready:
            self._listener.session.held.release(stop := self.waiting.popleft())
            answer(self._listener, stop)

    def _not_accepted(self, wrong: OSError) -> None:
        """Where nothing is left to accept with, leave connections with the kernel for a while.

        It would tell of them without end.
        """
        if wrong.errno not in EXHAUSTED:
            return
        top, loop = self._listener.top, self._listener.session.loop
        self._listener.session.say_once(f"connections have to wait: {wrong.strerror} (ulimit -n)")
        if top is not None:
            top.may_avail(False)
            loop.at(loop.now() + PAUSE, self._go_on)

    def _go_on(self) -> None:
        top = self._listener.top
        if top is not None and not top.closed:
            top.may_avail(True)

    def take(self) -> tuple[Socket, Address] | None:
        """The connection that has waited longest."""
        if not self._ready:
            return None
        if len(self._ready) > self.size and self._listener.top is not None:
            self._listener.top.may_avail(True)
        return self._ready.popleft()

    def spend_token(self) -> bool:
        """Whether a token is to be taken out: there are more of them than connections."""
        if self._tokens <= len(self._ready):
            return False
        self._tokens -= 1
        return True

    def put_back(self, taken: tuple[Socket, Address], *, token: bool) -> None:
        """Nobody wanted it after all.

        Args:
            token: one was taken out for it.
        """
        self._ready.appendleft(taken)
        if token:
            self._put_token()

    def _put_token(self) -> None:
        with suppress(OSError):  # full: enough of them are there
            self._listener.pair.put_token()
            self._tokens += 1

    @property
    def has_some(self) -> bool:
        """Whether connections wait."""
        return bool(self._ready)

    def close(self) -> None:
        """Nobody will accept: who waits is told so, who has come in is reset."""
        for stop in self.waiting:
            self._listener.session.held.release(stop)
            stop.fail(errno.EINVAL)
        self.waiting.clear()
        self.reset()

    def reset(self) -> None:
        """Reset whoever has come in."""
        for socket, _ in self._ready:
            if socket.top is not None:
                socket.top.abort()
            socket.left()
        self._ready.clear()


def listen(session: Session, stop: Stop, socket: Socket) -> None:
    """Listen through the handlers."""
    fd, size = signed(stop.args[0]), signed(stop.args[1])
    if socket.state is State.FAILED:
        socket.state = State.FRESH
    if socket.state not in (State.FRESH, State.LISTENING):
        raise error(errno.EINVAL)
    if socket.pair.closed:
        socket.repair(stop, fd)
    size = min(size, MOST) if size >= 0 else MOST  # as the kernel does with somaxconn
    socket.owned_by(stop)
    try:
        socket.build(stop).listen(size)
        if socket.backlog is None:
            with socket.borrowed(stop, fd) as app:
                socket.pair.listen(app)
    except OSError:
        if socket.state is State.FRESH:
            socket.renew()
        raise
    if socket.backlog is None:
        socket.backlog = Backlog(socket, size)
        socket.state = State.LISTENING
    socket.backlog.size = size
    stop.reply(0)


def accept(session: Session, stop: Stop, socket: Socket) -> None:
    """Take a connection that waits, or wait for one."""
    fd = signed(stop.args[0])
    if stop.call == "accept4" and signed(stop.args[3]) & ~FLAGS:
        raise error(errno.EINVAL)
    if socket.state is not State.LISTENING or socket.backlog is None:
        raise error(errno.EINVAL)
    socket.owned_by(stop)
    if answer(socket, stop):
        return
    with socket.borrowed(stop, fd) as app:
        if fcntl.fcntl(app, fcntl.F_GETFL) & os.O_NONBLOCK:
            raise error(errno.EAGAIN)
        limit = time_limit(app, sockets.SO_RCVTIMEO)
    backlog = socket.backlog

    def drop(gone: Stop) -> None:
        with suppress(ValueError):
            backlog.waiting.remove(gone)

    backlog.waiting.append(stop)
    session.held.hold(Waiting(stop, limit, errno.EAGAIN, drop))


def answer(listener: Socket, stop: Stop) -> bool:
    """Give the caller the connection that has waited longest.

    Returns:
        False if there is none.
    """
    backlog = listener.backlog
    taken = backlog.take() if backlog is not None else None
    if backlog is None or taken is None:
        return False
    socket, peer = taken
    spent = _spend_token(listener, backlog, stop)  # before: the caller may poll at once
    try:
        _give(listener, socket, peer, stop)
    except Gone:
        backlog.put_back(taken, token=spent)
    except OSError as wrong:
        if wrong.errno == errno.EMFILE:  # the connection waits on, as natively
            backlog.put_back(taken, token=spent)
        else:
            if socket.top is not None:
                socket.top.abort()
            socket.left()
        stop.fail(wrong.errno or errno.EIO)
    return True


def _spend_token(listener: Socket, backlog: Backlog, stop: Stop) -> bool:
    """Take one out, if there are too many; whether it was."""
    if backlog.spend_token():
        with suppress(OSError), listener.borrowed(stop, signed(stop.args[0])) as end:
            listener.pair.take_token(end)
            return True
    return False


def _give(listener: Socket, socket: Socket, peer: Address, stop: Stop) -> None:
    if listener.pair.has_settings:
        with listener.borrowed(stop, signed(stop.args[0])) as end:
            socket.pair.take_after(end)
    give(listener.session, socket, peer, stop)


def give(session: Session, socket: Socket, peer: Address, stop: Stop) -> None:
    """Make a connection that has come in the caller's, and answer the call.

    Raises:
        OSError: EFAULT, EINVAL: no place for the peer's address; as `Stop.give`.
    """
    flags = signed(stop.args[3]) if stop.call == "accept4" else 0
    address, length = stop.args[1], stop.args[2]
    app = socket.pair.app
    assert app is not None
    if address:
        room = room_for_sockaddr(stop, length)
        write_sockaddr(stop, address, length, room, sockaddr.pack(peer, socket.domain))
    app.setblocking(not flags & sockets.SOCK_NONBLOCK)
    cloexec = bool(flags & sockets.SOCK_CLOEXEC)
    if socket.top is not None:
        session.identify(socket.top.ctx.flow, stop)
    if session.handing.hand_over(socket, stop, cloexec=cloexec) is None:
        fd = stop.give(app.fileno(), cloexec=cloexec)
        socket.pair.given()
        socket.seen = stop, fd
        socket.begin()
