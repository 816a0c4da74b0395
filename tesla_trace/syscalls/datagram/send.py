"""sendto(2), sendmsg(2) and sendmmsg(2) on datagram sockets, wherever they say whereto."""

from __future__ import annotations

import errno
import os
import socket as sockets
import sys
from collections.abc import Callable
from contextlib import suppress

from tesla_trace.address import Address
from tesla_trace.io.datagram import with_ancillary
from tesla_trace.io.datagram_pair import PAYLOAD
from tesla_trace.kernel import sockaddr
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.arguments.flags import MSG_DONTWAIT, MSG_MORE, MSG_OOB
from tesla_trace.syscalls.arguments.layout import layout_of
from tesla_trace.syscalls.arguments.vectors import Message, gather, read_control, read_message
from tesla_trace.syscalls.arguments.words import error, pack_int, read_sockaddr, signed
from tesla_trace.syscalls.datagram.socket import DatagramSocket
from tesla_trace.syscalls.held import Waiting, time_limit
from tesla_trace.syscalls.session import Session

VLEN_MAX = 1024
"""Messages of one sendmmsg(2) or recvmmsg(2) (UIO_MAXIOV)."""

UDP_MAX_SEGMENTS = 128
"""Datagrams that one call may be cut into (linux/udp.h)."""

UDP_SEGMENT = 103
"""A control message: cut the datagram into several of this size (linux/udp.h)."""

Act = Callable[[], bool]
"""Sends; False if there is no room now."""


def sendto(session: Session, stop: Stop, socket: DatagramSocket) -> None:
    """Send one datagram to an address, or to the peer."""
    _, buffer, size, flags, name, length = stop.args
    message = Message(name, signed(length), [(buffer, size)], 0, 0, 0)
    _Sending(session, stop, socket, signed(flags)).one(message)


def sendmsg(session: Session, stop: Stop, socket: DatagramSocket) -> None:
    """The same, with everything in one structure."""
    message = read_message(stop, layout_of(stop), stop.args[1])
    _Sending(session, stop, socket, signed(stop.args[2])).one(message)


def sendmmsg(session: Session, stop: Stop, socket: DatagramSocket) -> None:
    """Several datagrams, each of which is told how much of it was sent."""
    count = min(stop.args[2] & 0xFFFFFFFF, VLEN_MAX)
    _Sending(session, stop, socket, signed(stop.args[3])).several(stop.args[1], count)


class _Sending:
    """A call that sends, which may have to wait for room."""

    def __init__(self, session: Session, stop: Stop, socket: DatagramSocket, flags: int) -> None:
        self._session = session
        self._stop = stop
        self._socket = socket
        self._flags = flags
        self._layout = layout_of(stop)
        self._done = 0

    def one(self, message: Message) -> None:
        """Send a message, and say how many bytes it had."""
        act, size = self._read(message)
        self._try(lambda: act() and self._answer(size))

    def several(self, headers: int, count: int) -> None:
        """Send as many as can be; of the error of a later one nobody hears, as natively."""

        waits: list[tuple[Act, int]] = []  # the one that there was no room for

        def act() -> bool:
            while self._done < count:
                at = headers + self._done * self._layout.mmsghdr
                try:
                    if not waits:
                        waits.append(self._read(read_message(self._stop, self._layout, at)))
                    send, size = waits[0]
                    if not send():
                        return bool(self._done) and self._answer(self._done)
                    waits.clear()
                    self._stop.write(at + self._layout.length, pack_int(size))
                except OSError:
                    if not self._done:
                        raise
                    break
                self._done += 1
            return self._answer(self._done)

        self._try(act)

    def _answer(self, value: int) -> bool:
        self._stop.reply(value)
        return True

    def _try(self, act: Act) -> None:
        if act():
            return
        app = self._session.copies.end(self._socket, self._stop)
        if self._flags & MSG_DONTWAIT or not os.get_blocking(app.fileno()):
            raise error(errno.EAGAIN)
        limit = time_limit(app, sockets.SO_SNDTIMEO)

        def again() -> bool:
            try:
                if not act():
                    return False
            except Gone:
                pass
            except OSError as wrong:
                self._stop.fail(wrong.errno or errno.EIO)
            self._session.held.release(self._stop)
            self._session.copies.look_soon()
            return True

        def drop(_: Stop) -> None:
            with suppress(ValueError):
                self._socket.senders.remove(again)
            self._session.copies.look_soon()

        self._socket.senders.append(again)
        self._session.held.hold(Waiting(self._stop, limit, errno.EAGAIN, drop))

    def _read(self, message: Message) -> tuple[Act, int]:
        """How to send a message, and the bytes that it has.

        Raises:
            OSError: it cannot be sent, in the order of udp_sendmsg().
        """
        socket, stop = self._socket, self._stop
        if message.size > 0xFFFF:
            raise error(errno.EMSGSIZE)
        if self._flags & MSG_OOB:
            raise error(errno.EOPNOTSUPP)
        to = None
        if message.name and message.name_size:
            to = destination(socket.domain, read_sockaddr(stop, message.name, message.name_size))
        if to is None and socket.peer is None:
            raise error(errno.EDESTADDRREQ)
        if socket.error:
            raise error(socket.take_error())
        ancillary = read_control(stop, self._layout, message)
        data = gather(stop, message.pieces, 0xFFFF)
        size = len(data)
        data = socket.uncorked(data)
        if len(data) > PAYLOAD[socket.domain]:
            raise error(errno.EMSGSIZE)
        if self._flags & MSG_MORE:
            socket.corked += data
            return (lambda: True), size
        pieces = [data]
        for level, kind, value in ancillary:
            if (level, kind) == (sockets.IPPROTO_UDP, UDP_SEGMENT) and len(value) >= 2:
                step = int.from_bytes(value[:2], sys.byteorder) or len(data) or 1
                if len(data) > step * UDP_MAX_SEGMENTS:
                    raise error(errno.EINVAL)
                pieces = [data[at : at + step] for at in range(0, len(data), step)]
        rest = tuple(each for each in ancillary if each[0] != sockets.IPPROTO_UDP)
        if rest:
            pieces = [with_ancillary(each, rest) for each in pieces]

        def act() -> bool:
            while pieces:
                if not socket.send(stop, pieces[0], to):
                    return False
                pieces.pop(0)
            return True

        return act, size


def destination(domain: int, data: bytes) -> Address | None:
    """Where to send to, checked as the protocol of `domain` does; None is the peer.

    Raises:
        OSError: EINVAL, EAFNOSUPPORT.
    """
    family = sockaddr.family(data)
    if len(data) < 2:
        raise error(errno.EINVAL)
    if family == sockets.AF_UNSPEC:
        if domain == sockets.AF_INET6:
            return None
        data = sockets.AF_INET.to_bytes(2, sys.byteorder) + data[2:]
    elif domain == sockets.AF_INET and family != sockets.AF_INET:
        raise error(errno.EAFNOSUPPORT if len(data) >= sockaddr.IN_SIZE else errno.EINVAL)
    elif family not in (sockets.AF_INET, sockets.AF_INET6):
        raise error(errno.EINVAL)
    address = sockaddr.unpack(data)
    if not address[1]:
        raise error(errno.EINVAL)
    return address
