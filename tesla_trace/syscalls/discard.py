"""recv(2) and its kin, with the flags that mean one thing to TCP and another to a pair.

Facts: with MSG_TRUNC a TCP socket throws bytes away, and does not look at the buffer; an AF_UNIX
one fills it.  With MSG_ERRQUEUE TCP asks for errors that ICMP has told of, and says EAGAIN when
there are none; AF_UNIX ignores the flag, and takes data.

A pair has a connection from birth, so on a socket that has none recv waits, or says EAGAIN; there
is no pair of which recv says ENOTCONN and which tells of its close.  To trap every recv would cost
more than all else.  But who wants to know whether a socket is connected asks for one byte: so does
Python's ssl, of each socket that it wraps and that has no peer, such as a listener.

What it means for us: just the calls with these flags are trapped, and recv(2) of one byte without
flags.  The queue of errors is always empty, for the network's errors are the handlers' to know.
"""

from __future__ import annotations

import errno
import os
import socket as sockets
from collections.abc import Callable

from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.flags import MSG_DONTWAIT, MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC
from tesla_trace.syscalls.held import Waiting, time_limit
from tesla_trace.syscalls.layout import layout_of
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.socket import Socket, State
from tesla_trace.syscalls.vectors import IOV_MAX, Message, read_message
from tesla_trace.syscalls.words import error, pack_int, room_for_sockaddr, signed

MOST = 256 * 1024
"""Bytes thrown away in one piece."""

MSG_WAITALL = int(sockets.MSG_WAITALL)

TRAPPED = MSG_TRUNC, MSG_ERRQUEUE
"""Each of these flags traps the call."""

_REGISTER = 0xFFFFFFFF

Finish = Callable[[int], int]
"""Writes what a call gives besides its result, which is the number of bytes; its result."""


def recvfrom(session: Session, stop: Stop, socket: Socket) -> None:
    """Throw data away, or tell that there are no errors, or no connection."""
    _, _, size, flags, address, length = stop.args

    def finish(got: int) -> int:
        if address:
            room_for_sockaddr(stop, length)
            stop.write(length, pack_int(0))  # a stream's data comes without an address
        return got

    if not flags & (MSG_TRUNC | MSG_ERRQUEUE) and socket.state in (State.FRESH, State.LISTENING):
        raise error(errno.ENOTCONN)
    if _truncates(stop, signed(flags)):
        _Discarding(session, stop, socket, signed(flags), finish).begin(size)


def recvmsg(session: Session, stop: Stop, socket: Socket) -> None:
    """The same, with everything in one structure."""
    flags = signed(stop.args[2])
    if not _truncates(stop, flags):
        return
    message = read_message(stop, layout_of(stop), stop.args[1])

    def finish(got: int) -> int:
        _finish(stop, message)
        return got

    _Discarding(session, stop, socket, flags, finish).begin(message.size)


def recvmmsg(session: Session, stop: Stop, socket: Socket) -> None:
    """The same, with several; those after the first are not waited for."""
    _, vector, number, flags = stop.args[:4]
    if not _truncates(stop, signed(flags)):
        return
    most = min(number & _REGISTER, IOV_MAX)
    if not most:
        return stop.reply(0)
    layout = layout_of(stop)
    first = read_message(stop, layout, vector)

    def finish(got: int) -> int:
        message = first
        for done in range(1, most + 1):
            _finish(stop, message)
            stop.write(message.at + layout.length, pack_int(got))
            if done == most or not got:
                break
            try:
                message = read_message(stop, layout, message.at + layout.mmsghdr)
                with socket.borrowed(stop, signed(stop.args[0])) as app:
                    got = _discard(app, message.size, signed(flags))
            except OSError:
                break
        return done

    _Discarding(session, stop, socket, signed(flags), finish).begin(first.size)


def _truncates(stop: Stop, flags: int) -> bool:
    """Whether data is to be thrown away; else the call is answered, or left to the pair."""
    if flags & MSG_ERRQUEUE:
        stop.fail(errno.EAGAIN)
    elif not flags & MSG_TRUNC:
        stop.proceed()
    return flags & (MSG_TRUNC | MSG_ERRQUEUE) == MSG_TRUNC


class _Discarding:
    """A call that throws data away."""

    def __init__(
        self, session: Session, stop: Stop, socket: Socket, flags: int, finish: Finish
    ) -> None:
        self._session = session
        self._stop = stop
        self._socket = socket
        self._flags = flags
        self._finish = finish
        self._size = self._got = 0
        self._all = bool(flags & MSG_WAITALL) and not flags & MSG_PEEK

    def begin(self, size: int) -> None:
        """Take what there is, or wait for it."""
        if self._socket.state in (State.FRESH, State.FAILED, State.LISTENING):
            raise error(errno.ENOTCONN)
        self._size = size
        if self.attempt():
            return
        with self._socket.borrowed(self._stop, signed(self._stop.args[0])) as app:
            blocks = not self._flags & MSG_DONTWAIT and os.get_blocking(app.fileno())
            limit = time_limit(app, sockets.SO_RCVTIMEO)
        if blocks:
            waiting = Waiting(self._stop, limit, errno.EAGAIN, self.give_up, self.attempt)
            self._session.held.hold(waiting)
        elif not self.give_up(self._stop):
            raise error(errno.EAGAIN)

    def attempt(self) -> bool:
        """Take what there is; whether the call is answered."""
        try:
            with self._socket.borrowed(self._stop, signed(self._stop.args[0])) as app:
                while True:
                    got = _discard(app, self._size - self._got, self._flags)
                    self._got += got
                    if not got or not self._all or self._got == self._size:
                        break
        except BlockingIOError:
            return False
        except OSError as wrong:
            if not self._got:
                self._stop.fail(wrong.errno or errno.EIO)
                return True
        self._answer()
        return True

    def give_up(self, _: Stop) -> bool:
        """Time is over, or a signal came: what was taken counts, if there is any."""
        if self._got:
            self._answer()
        return self._got > 0

    def _answer(self) -> None:
        try:
            self._stop.reply(self._finish(self._got))
        except Gone:
            pass
        except OSError as wrong:
            self._stop.fail(wrong.errno or errno.EIO)


def _discard(app: sockets.socket, size: int, flags: int) -> int:
    return len(app.recv(min(size, MOST), flags & MSG_PEEK | MSG_DONTWAIT))


def _finish(stop: Stop, message: Message) -> None:
    """A stream's data comes without an address, control messages and flags."""
    name, *rest = layout_of(stop).told(message.at, 0, 0, 0)
    for at, data in [name, *rest] if message.name else rest:
        stop.write(at, data)
