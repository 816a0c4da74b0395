"""What connect(2), bind(2), shutdown(2) and the like mean on a datagram socket."""

from __future__ import annotations

import errno
import socket as sockets

from tesla_trace.address import Address
from tesla_trace.io.endpoint import fitting
from tesla_trace.kernel import sockaddr
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.addresses import local_address, remote_address
from tesla_trace.syscalls.arguments.words import (
    error,
    read_sockaddr,
    room_for_sockaddr,
    signed,
    write_sockaddr,
)
from tesla_trace.syscalls.datagram.socket import DatagramSocket
from tesla_trace.syscalls.session import Session


def connect(_: Session, stop: Stop, socket: DatagramSocket) -> None:
    """Choose the peer, or have none any more."""
    data = read_sockaddr(stop, stop.args[1], stop.args[2])
    if len(data) < 2:
        raise error(errno.EINVAL)
    if sockaddr.family(data) == sockets.AF_UNSPEC:
        socket.dissolve(stop)
    else:
        socket.connect(stop, _peer(socket.domain, data))
    stop.reply(0)


def _peer(domain: int, data: bytes) -> Address:
    """The address in `data`; an IPv6 socket takes an IPv4 one, too (__ip6_datagram_connect())."""
    if domain == sockets.AF_INET6 and sockaddr.family(data) == sockets.AF_INET:
        return fitting(sockaddr.unpack(data), domain)
    return remote_address(domain, data)


def bind(session: Session, stop: Stop, socket: DatagramSocket) -> None:
    """Bind the socket that goes to the network."""
    address = local_address(socket.domain, read_sockaddr(stop, stop.args[1], stop.args[2]))
    rights = session.acting.rights(stop, socket.guise.namespace)
    try:
        with rights:
            socket.bind(stop, address)
    except OSError as wrong:
        if wrong.errno != errno.EADDRINUSE:
            raise
        session.copies.give_back()
        session.loop.serve_exceptions()  # perhaps the program has just closed what is in the way
        session.loop.turn(0)
        with rights:
            socket.bind(stop, address)
    stop.reply(0)


def getsockname(_: Session, stop: Stop, socket: DatagramSocket) -> None:
    """The local address."""
    _write_name(stop, sockaddr.pack(socket.control.getsockname(), socket.domain))


def getpeername(_: Session, stop: Stop, socket: DatagramSocket) -> None:
    """The peer's address."""
    if socket.peer is None:
        raise error(errno.ENOTCONN)
    _write_name(stop, sockaddr.pack(socket.peer, socket.domain))


def shutdown(_: Session, stop: Stop, socket: DatagramSocket) -> None:
    """End a direction; who waits for a datagram is told."""
    how = signed(stop.args[1])
    if how not in (sockets.SHUT_RD, sockets.SHUT_WR, sockets.SHUT_RDWR):
        raise error(errno.EINVAL)
    if socket.peer is None:
        raise error(errno.ENOTCONN)
    socket.shut(how != sockets.SHUT_WR, how != sockets.SHUT_RD)
    stop.reply(0)


def refuse(_: Session, stop: Stop, socket: DatagramSocket) -> None:
    """Say that this is nothing for datagrams."""
    stop.fail(errno.EOPNOTSUPP)


def _write_name(stop: Stop, packed: bytes) -> None:
    _, address, length, *_ = stop.args
    write_sockaddr(stop, address, length, room_for_sockaddr(stop, length), packed)
    stop.reply()
