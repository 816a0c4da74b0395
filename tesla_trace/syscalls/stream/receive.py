"""recv(2) and its kin on streams, where they mean one thing to TCP and another to a pair.

Facts: with MSG_TRUNC a TCP socket throws bytes away, and does not look at the buffer; an AF_UNIX
one fills it.  With MSG_ERRQUEUE TCP asks for errors that ICMP has told of, and says EAGAIN when
there are none; AF_UNIX ignores the flag, and takes data.  Who asks TCP whence data comes is told an
address of no length; on an end that was joined it would be the path of ours.

What it means for us: just the calls with these flags are trapped, and those that ask for an address
where that can be seen.  The queue of errors is always empty, for the network's errors are the
handlers' to know.
"""

from __future__ import annotations

import errno
import os
import socket as sockets
from collections.abc import Callable

from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.arguments.flags import MSG_DONTWAIT, MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC
from tesla_trace.syscalls.arguments.layout import layout_of
from tesla_trace.syscalls.arguments.vectors import IOV_MAX, Message, Piece, read_message, scatter
from tesla_trace.syscalls.arguments.words import error, pack_int, room_for_sockaddr, signed
from tesla_trace.syscalls.held import Waiting, time_limit
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream.socket import Socket
from tesla_trace.syscalls.stream.state import State

MOST = 256 * 1024
"""Bytes received in one piece."""

MSG_OOB = int(sockets.MSG_OOB)
MSG_WAITALL = int(sockets.MSG_WAITALL)

TRAPPED = MSG_TRUNC, MSG_ERRQUEUE
"""Each of these flags traps the call."""

_REGISTER = 0xFFFFFFFF

Finish = Callable[[int], int]
"""Writes what a call gives besides its data, of which it is told the bytes; its result."""


def recvfrom(session: Session, stop: Stop, socket: Socket) -> None:
    """Receive, and say that the data comes from nowhere."""
    _, buffer, size, flags, address, length = stop.args

    def finish(got: int) -> int:
        if address:
            room_for_sockaddr(stop, length)
            stop.write(length, pack_int(0))
        return got

    if _is_ours(socket, signed(flags), bool(address)):
        _Receiving(session, stop, socket, signed(flags), finish).begin([(buffer, size)])
    else:
        stop.proceed()


def recvmsg(session: Session, stop: Stop, socket: Socket) -> None:
    """The same, with everything in one structure."""
    flags = signed(stop.args[2])
    message = read_message(stop, layout_of(stop), stop.args[1])

    def finish(got: int) -> int:
        _finish(stop, message, flags)
        return got

    if _is_ours(socket, flags, bool(message.name)):
        _Receiving(session, stop, socket, flags, finish).begin(message.pieces)
    else:
        stop.proceed()


def recvmmsg(session: Session, stop: Stop, socket: Socket) -> None:
    """The same, with several; those after the first are not waited for."""
    _, vector, number, flags = stop.args[:4]
    flags, layout = signed(flags), layout_of(stop)
    most = min(number & _REGISTER, IOV_MAX)
    places = range(vector, vector + most * layout.mmsghdr, layout.mmsghdr)
    first = read_message(stop, layout, vector) if most else None
    if first is None or not _is_ours(socket, flags, _any_name(stop, places)):
        return stop.proceed()

    def finish(got: int) -> int:
        message, done = first, 1
        _finish(stop, message, flags)
        stop.write(message.at + layout.length, pack_int(got))
        for place in places[1:]:
            try:
                message = read_message(stop, layout, place)
                with socket.borrowed(stop, signed(stop.args[0])) as app:
                    got = _receive(stop, app, message.pieces, 0, flags)
                if not got:
                    break
                _finish(stop, message, flags)
                stop.write(place + layout.length, pack_int(got))
            except OSError:
                break
            done += 1
        return done

    _Receiving(session, stop, socket, flags, finish).begin(first.pieces)


def _any_name(stop: Stop, places: range) -> bool:
    layout = layout_of(stop)
    return any(read_message(stop, layout, place).name for place in places)


def _is_ours(socket: Socket, flags: int, wants_name: bool) -> bool:
    """Whether the call is ours to do, and not the pair's.

    Raises:
        OSError: EAGAIN, there are no errors in the queue.
    """
    if flags & MSG_ERRQUEUE:
        raise error(errno.EAGAIN)
    return bool(flags & MSG_TRUNC) or wants_name and not socket.pair.nameless


class _Receiving:
    """A call that receives, which may have to wait."""

    def __init__(
        self, session: Session, stop: Stop, socket: Socket, flags: int, finish: Finish
    ) -> None:
        self._session = session
        self._stop = stop
        self._socket = socket
        self._flags = flags
        self._finish = finish
        self._pieces: list[Piece] = []
        self._size = self._got = 0
        self._all = bool(flags & MSG_WAITALL) and not flags & (MSG_PEEK | MSG_OOB)

    def begin(self, pieces: list[Piece]) -> None:
        """Take what there is, or wait for it."""
        if self._socket.state in (State.FRESH, State.FAILED, State.LISTENING):
            raise error(errno.ENOTCONN)
        self._pieces, self._size = pieces, sum(size for _, size in pieces)
        if self._attempt():
            return
        with self._socket.borrowed(self._stop, signed(self._stop.args[0])) as app:
            blocks = not self._flags & MSG_DONTWAIT and os.get_blocking(app.fileno())
            limit = time_limit(app, sockets.SO_RCVTIMEO)
        if blocks:
            self._socket.receivers.append(self.again)
            waiting = Waiting(self._stop, limit, errno.EAGAIN, self._drop, self.again)
            self._session.held.hold(waiting)
        elif not self._give_up():
            raise error(errno.EAGAIN)

    def again(self) -> bool:
        """Take what there is by now; whether the call is over."""
        try:
            over = not self._stop.waiting() or self._attempt()
        except Gone:
            over = True
        if over:
            self._over()
        return over

    def _attempt(self) -> bool:
        """Take what there is; whether the call is answered."""
        try:
            with self._socket.borrowed(self._stop, signed(self._stop.args[0])) as app:
                while True:
                    if not self._socket.pair.joined:  # as connect(2) has it
                        return False
                    got = _receive(self._stop, app, self._pieces, self._got, self._flags)
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

    def _drop(self, _: Stop) -> bool:
        """Time is over, or a signal came: what was taken counts, if there is any."""
        self._over()
        return self._give_up()

    def _give_up(self) -> bool:
        if self._got:
            self._answer()
        return self._got > 0

    def _over(self) -> None:
        if self.again in self._socket.receivers:
            self._socket.receivers.remove(self.again)
        self._session.held.release(self._stop)

    def _answer(self) -> None:
        try:
            self._stop.reply(self._finish(self._got))
        except Gone:
            pass
        except OSError as wrong:
            self._stop.fail(wrong.errno or errno.EIO)


def _receive(stop: Stop, app: sockets.socket, pieces: list[Piece], at: int, flags: int) -> int:
    """Bytes received into the pieces, from `at` bytes on, or thrown away."""
    room = sum(size for _, size in pieces) - at
    data = app.recv(min(room, MOST), flags & (MSG_PEEK | MSG_OOB) | MSG_DONTWAIT)
    if not flags & MSG_TRUNC:
        stop.write_many(list(scatter(_behind(pieces, at), data)))
    return len(data)


def _behind(pieces: list[Piece], at: int) -> list[Piece]:
    """The pieces without their first `at` bytes."""
    left = []
    for address, size in pieces:
        skipped = min(at, size)
        left.append((address + skipped, size - skipped))
        at -= skipped
    return left


def _finish(stop: Stop, message: Message, flags: int) -> None:
    """A stream's data comes without an address and control messages."""
    name, *rest = layout_of(stop).told(message.at, 0, 0, flags & MSG_OOB)
    for at, data in [name, *rest] if message.name else rest:
        stop.write(at, data)
