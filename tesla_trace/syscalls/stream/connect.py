"""connect(2) and shutdown(2)."""

from __future__ import annotations

import errno
import os
import socket as sockets
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from tesla_trace.kernel import sockaddr
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.arguments.addresses import remote_address
from tesla_trace.syscalls.arguments.words import error, read_sockaddr, signed
from tesla_trace.syscalls.held import Waiting, time_limit
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream.connecting import ConnectCall
from tesla_trace.syscalls.stream.socket import Socket
from tesla_trace.syscalls.stream.state import State

Call = Callable[[], None]


class Limit(NamedTuple):
    """How long a connect may take, and what it says then."""

    seconds: float
    late: int


def connect(session: Session, stop: Stop, socket: Socket) -> None:
    """Connect through the handlers; hold the call if the socket blocks."""
    fd = signed(stop.args[0])
    data = read_sockaddr(stop, stop.args[1], stop.args[2])
    if begin(session, stop, socket, fd, data):
        stop.reply(0)


def begin(
    session: Session, stop: Stop, socket: Socket, fd: int, data: bytes, then: Call | None = None
) -> bool:
    """Connect to the address in `data`, in the order of inet_stream_connect().

    Args:
        then: what to do when a call that was held is connected, rather than answer it with 0.

    Returns:
        Whether it is connected now; else the call is held, and answered later.

    Raises:
        OSError: it has failed, or is in progress.
    """
    if len(data) < 2:
        raise error(errno.EINVAL)
    if sockaddr.family(data) == sockets.AF_UNSPEC:
        if socket.state is not State.FRESH or socket.pair.closed:
            socket.dissolve(stop, fd)
        return True
    if socket.state is State.CONNECTED and not socket.told:
        socket.told = True
        return True
    if socket.state is State.FAILED:
        socket.state, number, socket.error = State.FRESH, socket.error, 0
        raise error(number or errno.ECONNABORTED)
    if socket.state not in (State.FRESH, State.CONNECTING):
        raise error(errno.EISCONN)
    late = errno.EALREADY if socket.state is State.CONNECTING else errno.EINPROGRESS
    if socket.state is State.FRESH:
        address = remote_address(socket.domain, data)
        if socket.pair.closed:
            socket.repair(stop, fd)
        socket.connecting.start(stop, address)
        try:  # what is left is done while the network is on its way
            blocks, limit = _patience(socket, stop, fd)
            if not blocks:
                socket.connecting.look_unready(stop, fd)
        except OSError:
            socket.renew()
            raise
    else:
        blocks, limit = _patience(socket, stop, fd)
    if not blocks:
        raise error(late)
    _hold(session, stop, socket, fd, Limit(limit, late), then)
    return False


def shutdown(session: Session, stop: Stop, socket: Socket) -> None:
    """Let the pair's own shutdown do it, where there is a connection."""
    how = signed(stop.args[1])
    if how not in (sockets.SHUT_RD, sockets.SHUT_WR, sockets.SHUT_RDWR):
        return stop.proceed()
    if socket.state is State.LISTENING:
        if how != sockets.SHUT_WR:
            socket.stop_listening()
            socket.repair(stop, signed(stop.args[0]))
        return stop.reply(0)
    if socket.state is State.CONNECTING:
        socket.connecting.cancel()
        return stop.reply(0)
    if socket.state is not State.CONNECTED or socket.top is None:
        raise error(errno.ENOTCONN)
    socket.top.shut(how != sockets.SHUT_WR, how != sockets.SHUT_RD)
    stop.proceed()


def _patience(socket: Socket, stop: Stop, fd: int) -> tuple[bool, float]:
    """Whether the program's end blocks, and for how long at the most; 0 for ever.

    Raises:
        OSError: as `ProgramSocket.borrowed`.
    """
    copy = stop.borrow(fd, socket.pair.file)  # not `borrowed`: Python's socket asks for its name
    try:
        socket.seen = stop, fd
        blocks = os.get_blocking(copy)
        if not blocks or not socket.pair.has_settings:
            return blocks, 0
        with sockets.socket(fileno=os.dup(copy)) as app:
            return True, time_limit(app, sockets.SO_SNDTIMEO)
    finally:
        os.close(copy)


def _hold(
    session: Session, stop: Stop, socket: Socket, fd: int, limit: Limit, then: Call | None
) -> None:
    def answer(number: int) -> None:
        session.held.release(stop)
        if number:
            stop.fail(number)
        elif then is not None:
            then()
        else:
            stop.reply(0)

    call = ConnectCall(stop, fd, answer, more=then is not None)

    def drop(_: Stop) -> None:
        if call in socket.connecting.waiters:
            socket.connecting.waiters.remove(call)
        if not socket.connecting.waiters and socket.state is State.CONNECTING:
            with suppress(OSError, Gone):  # from now on it is a connect that nobody waits for
                socket.connecting.look_unready(stop, fd)

    socket.connecting.waiters.append(call)
    session.spare.renew()
    session.held.hold(Waiting(stop, limit.seconds, limit.late, drop))
