"""recvfrom(2), recvmsg(2) and recvmmsg(2) on datagram sockets, where they ask whence.

What there is lies in the pair, whence recv(2) and read(2) take it without us; these calls take it
through a copy of the program's end, with the label that says where it comes from.
"""

from __future__ import annotations

import errno
import os
import socket as sockets
from collections.abc import Iterator
from contextlib import suppress

from tesla_trace.io.labels import LABEL_SPACE, WAKE, Label
from tesla_trace.kernel import sockaddr
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.arguments.flags import (
    MSG_CTRUNC,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITFORONE,
)
from tesla_trace.syscalls.arguments.layout import layout_of
from tesla_trace.syscalls.arguments.vectors import Message, pack_control, read_message, scatter
from tesla_trace.syscalls.arguments.words import error, pack_int, read_int, signed
from tesla_trace.syscalls.datagram.send import VLEN_MAX
from tesla_trace.syscalls.datagram.socket import DatagramSocket
from tesla_trace.syscalls.held import Waiting, time_limit
from tesla_trace.syscalls.session import Session

_buffer = bytearray(64 * 1024)
_buffers = [_buffer]
_view = memoryview(_buffer)


def recvfrom(session: Session, stop: Stop, socket: DatagramSocket) -> None:
    """Receive one datagram, and where it comes from."""
    _, buffer, size, _, name, length = stop.args
    room = read_int(stop, length) if name else 0
    if room < 0:
        raise error(errno.EINVAL)
    message = Message(name, room, [(buffer, size)], 0, 0, 0)
    _Receiving(session, stop, socket, signed(stop.args[3])).begin(message)


def recvmsg(session: Session, stop: Stop, socket: DatagramSocket) -> None:
    """The same, with control messages, and everything in one structure."""
    message = read_message(stop, layout_of(stop), stop.args[1])
    _Receiving(session, stop, socket, signed(stop.args[2])).begin(message)


def recvmmsg(session: Session, stop: Stop, socket: DatagramSocket) -> None:
    """Several datagrams: as many as there is room for, or as there are with MSG_WAITFORONE."""
    count = min(stop.args[2] & 0xFFFFFFFF, VLEN_MAX)
    layout, limit = layout_of(stop), 0.0
    if stop.args[4]:
        read = stop.read(stop.args[4], layout.timespec.size)
        seconds, nano = layout.timespec.unpack(read)
        if seconds < 0 or not 0 <= nano < 10**9:
            raise error(errno.EINVAL)
        limit = max(seconds + nano / 1e9, 1e-3)
    flags = signed(stop.args[3])
    _Receiving(session, stop, socket, flags).begin_several(stop.args[1], count, limit)


class _Receiving:
    """A call that receives, which may have to wait."""

    def __init__(self, session: Session, stop: Stop, socket: DatagramSocket, flags: int) -> None:
        self._session = session
        self._stop = stop
        self._socket = socket
        self._flags = flags
        self._layout = layout_of(stop)
        self._several = False
        self._headers = 0
        self._count = 1
        self._done = 0
        self._message: Message | None = None
        self._taken: list[tuple[bytes, Label]] = []
        """What was taken out of the pair."""
        stop.unheard(self._give_back)

    def begin(self, message: Message) -> None:
        """Receive one."""
        self._message = message
        self._begin(0.0)

    def begin_several(self, headers: int, count: int, limit: float) -> None:
        """Receive `count`, whose headers stand in a row."""
        self._several, self._headers, self._count = True, headers, count
        self._begin(limit)

    def _begin(self, limit: float) -> None:
        if self._try():
            return
        app = self._session.copies.end(self._socket, self._stop)
        if self._flags & MSG_DONTWAIT or not os.get_blocking(app.fileno()):
            return self._end(errno.EAGAIN)
        limit = limit or time_limit(app, sockets.SO_RCVTIMEO)
        self._socket.receivers.append(self)
        self._session.held.hold(Waiting(self._stop, limit, errno.EAGAIN, self._drop))

    # ---- as one who waits ----

    def again(self) -> bool:
        """Receive what there is now; see `Receiver`."""
        try:
            if self._stop.waiting() and not self._try():
                return False
        except Gone:
            pass
        self._over()
        return True

    def take(self, data: bytes, label: Label) -> bool:
        """Receive this one, unless that is not all; see `Receiver`."""
        if self._message is None or self._flags & (MSG_PEEK | MSG_ERRQUEUE):
            return False
        if not self._stop.waiting():
            self._over()
            return False
        try:
            size = self._store(self._message, data, label, 0)
            self._taken.append((data, label))
            self._stop.reply(size)
        except Gone:
            self._over()
            return False
        except OSError as wrong:
            self._end(wrong.errno or errno.EIO)
        self._over()
        return True

    def _drop(self, _: Stop) -> bool:
        """Wait no more; True if there is something to show for it, which the call is told."""
        self._over()
        if self._done:
            self._end(0)
        return bool(self._done)

    def _over(self) -> None:
        with suppress(ValueError):
            self._socket.receivers.remove(self)
        self._session.held.release(self._stop)
        self._session.copies.look_soon()

    # ---- receiving ----

    def _end(self, number: int) -> None:
        """Answer with what was received, or with the errno if that is nothing."""
        if self._done:
            if number not in (0, errno.EAGAIN):
                self._socket.error = number  # for the next call to find
            self._stop.reply(self._done)
        else:
            self._stop.fail(number)

    def _try(self) -> bool:
        """Receive what there is; whether the call has been answered."""
        try:
            app = self._session.copies.end(self._socket, self._stop)
            while self._done < self._count:
                size = self._receive(app)
                if not self._several:
                    self._stop.reply(size)
                    return True
                self._done += 1
        except Gone:
            self._give_back()
            raise
        except BlockingIOError:
            if not self._done or not self._flags & (MSG_WAITFORONE | MSG_DONTWAIT):
                return False
        except OSError as wrong:
            self._end(wrong.errno or errno.EIO)
            return True
        self._end(0)
        return True

    def _give_back(self) -> None:
        """A signal took the call away: what it took is for the next, behind what there is."""
        taken, self._taken = self._taken, []
        top = self._socket.top
        with suppress(OSError):
            for data, label in taken:
                if top is not None and not top.closed:
                    top.again(data, label)
                else:
                    self._socket.pair.send(data, label)

    def _receive(self, app: sockets.socket) -> int:
        """One datagram into the next message; the size that the call is to tell of it."""
        at = self._headers + self._done * self._layout.mmsghdr
        message = self._message or read_message(self._stop, self._layout, at)
        size = self._store(message, *self._next(app))
        if self._several:
            self._stop.write(at + self._layout.length, pack_int(size))
        return size

    def _store(self, message: Message, data: bytes, label: Label, flags: int) -> int:
        """Put a datagram where the message says; its size as the call tells it."""
        room = message.size
        whole = len(data)
        if whole > room:
            data, flags = data[:room], flags | MSG_TRUNC
        writes = [*scatter(message.pieces, data), *self._told(message, label, flags)]
        self._stop.write_many(writes)
        return whole if self._flags & MSG_TRUNC else len(data)

    def _told(self, message: Message, label: Label, flags: int) -> Iterator[tuple[int, bytes]]:
        """What the call tells besides the bytes, and where."""
        name = b""
        if label.origin is not None:
            name = sockaddr.pack(label.origin, self._socket.domain)
        if message.name:
            if message.name_size and name:
                yield message.name, name[: message.name_size]
            if not message.at:
                yield self._stop.args[5], pack_int(len(name))
        if message.at:
            control, cut = pack_control(self._layout, label.ancillary, message.control_size)
            if control:
                yield message.control, control
            size = len(name) if message.name else message.name_size
            fields = self._layout.told(message.at, size, len(control), flags | cut)
            yield from fields

    def _next(self, app: sockets.socket) -> tuple[bytes, Label, int]:
        """The next datagram, its label, and flags to tell."""
        socket = self._socket
        if self._flags & MSG_ERRQUEUE:
            if not socket.reports:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            report = socket.reports.popleft()
            return report.data, Label(report.to, report.ancillary), MSG_ERRQUEUE
        if socket.error:
            raise error(socket.take_error())
        flags = self._flags & MSG_PEEK | MSG_DONTWAIT
        while True:
            try:
                size, ancillary, told, _ = app.recvmsg_into(_buffers, LABEL_SPACE, flags)
            except BlockingIOError:
                socket.empty_at = socket.pair.sent
                raise
            if told & MSG_CTRUNC:  # no descriptor was left for its label: better lost than false
                if flags & MSG_PEEK:
                    app.recv(1, MSG_DONTWAIT)
                continue
            label = socket.pair.label(tuple(ancillary))
            if not size and (socket.shut_in or (label == WAKE and not ancillary)):
                return b"", WAKE, 0  # the end; what only wakes has a label
            if label.origin is not None:
                data = bytes(_view[:size])
                if not self._flags & MSG_PEEK:
                    self._taken.append((data, label))
                return data, label, 0
            # It has only woken the program, for an error that has been told by now.
            socket.woken()
            if self._flags & MSG_PEEK:
                app.recv(1, MSG_DONTWAIT)
