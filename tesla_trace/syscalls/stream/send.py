"""sendto(2) and sendmsg(2), where they say whereto on a stream, or connect (TCP Fast Open).

Facts: a connected TCP socket ignores the address of sendto, an AF_UNIX one says EISCONN.  With
MSG_FASTOPEN and no connection they are a connect(2), and then a send(2) of what there was; without
a connection the call says EINPROGRESS where the socket does not block, and has sent nothing.  Calls
with no address and no MSG_FASTOPEN are never trapped.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket as sockets

from tesla_trace.kernel.libc import tgkill
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.flags import MSG_DONTWAIT, MSG_FASTOPEN, MSG_NOSIGNAL
from tesla_trace.syscalls.arguments.layout import layout_of
from tesla_trace.syscalls.arguments.vectors import Piece, gather, read_message
from tesla_trace.syscalls.arguments.words import error, read_sockaddr, signed
from tesla_trace.syscalls.held import Waiting, time_limit
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream import connect
from tesla_trace.syscalls.stream.socket import Socket
from tesla_trace.syscalls.stream.state import State

MOST = 256 * 1024
"""Bytes taken from the program by one call; it is told how many, and sends the rest again."""


def sendto(session: Session, stop: Stop, socket: Socket) -> None:
    """Send without regard to the address, or connect to it first."""
    _, buffer, size, flags = stop.args[:4]
    if not stop.args[4] and not flags & MSG_FASTOPEN:
        return stop.proceed()
    name = (stop.args[4], stop.args[5]) if stop.args[4] else None
    _send(session, stop, socket, signed(flags), name, [(buffer, size)])


def sendmsg(session: Session, stop: Stop, socket: Socket) -> None:
    """The same, with everything in one structure."""
    if not stop.args[2] & MSG_FASTOPEN:
        return stop.proceed()
    message = read_message(stop, layout_of(stop), stop.args[1])
    address = (message.name, message.name_size) if message.name else None
    _send(session, stop, socket, signed(stop.args[2]), address, message.pieces)


def sendmmsg(session: Session, stop: Stop, socket: Socket) -> None:
    """Say that there is no TCP Fast Open, as a kernel does where it is off."""
    if not stop.args[3] & MSG_FASTOPEN:
        return stop.proceed()
    raise error(errno.EOPNOTSUPP)


def _send(
    session: Session,
    stop: Stop,
    socket: Socket,
    flags: int,
    name: tuple[int, int] | None,
    pieces: list[Piece],
) -> None:
    fd = signed(stop.args[0])
    connects = bool(flags & MSG_FASTOPEN)
    address = read_sockaddr(stop, *name) if name else b""
    if connects and socket.state is State.CONNECTED:
        raise error(errno.EISCONN)
    if connects and not name:
        raise error(errno.EINVAL)  # as tcp_sendmsg_fastopen()
    data = gather(stop, pieces, MOST)
    if not connects and socket.state not in (State.CONNECTED, State.CONNECTING):
        _broken_pipe(stop, flags)
        raise error(errno.EPIPE)
    sending = _Sending(session, stop, socket, data, flags & ~MSG_FASTOPEN)
    if not connects or connect.begin(session, stop, socket, fd, address, then=sending.begin):
        sending.begin()


class _Sending:
    """A send that we do in the program's place, through a copy of its end."""

    def __init__(
        self, session: Session, stop: Stop, socket: Socket, data: bytes, flags: int
    ) -> None:
        self._session = session
        self._stop = stop
        self._socket = socket
        self._data = data
        self._flags = flags

    def begin(self) -> None:
        """Send now, or wait until there is room."""
        if self._try():
            return
        with self._socket.borrowed(self._stop, signed(self._stop.args[0])) as app:
            if self._flags & MSG_DONTWAIT or not os.get_blocking(app.fileno()):
                return self._stop.fail(errno.EAGAIN)
            limit = time_limit(app, sockets.SO_SNDTIMEO)
        self._session.held.hold(Waiting(self._stop, limit, errno.EAGAIN, retry=self._try))

    def _try(self) -> bool:
        try:
            with self._socket.borrowed(self._stop, signed(self._stop.args[0])) as app:
                flags = self._flags | MSG_DONTWAIT | MSG_NOSIGNAL
                self._stop.reply(app.send(self._data, flags))
        except BlockingIOError:
            return False
        except OSError as wrong:
            if wrong.errno == errno.EPIPE:
                _broken_pipe(self._stop, self._flags)
            self._stop.fail(wrong.errno or errno.EIO)
        return True


def _broken_pipe(stop: Stop, flags: int) -> None:
    if not flags & MSG_NOSIGNAL:
        with contextlib.suppress(OSError):
            tgkill(stop.process(), stop.thread, signal.SIGPIPE)
