"""bind(2), getsockname(2) and getpeername(2)."""

from __future__ import annotations

import errno

from tesla_trace.address import Address
from tesla_trace.kernel import sockaddr
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.addresses import local_address
from tesla_trace.syscalls.arguments.words import (
    error,
    read_sockaddr,
    room_for_sockaddr,
    signed,
    write_sockaddr,
)
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream.socket import Socket
from tesla_trace.syscalls.stream.state import State


def bind(session: Session, stop: Stop, socket: Socket) -> None:
    """Bind the socket that goes to the network."""
    fd = signed(stop.args[0])
    address = local_address(socket.domain, read_sockaddr(stop, stop.args[1], stop.args[2]))
    if socket.state is State.FAILED:
        socket.state = State.FRESH
    if socket.state is not State.FRESH:
        raise error(errno.EINVAL)
    if socket.pair.closed:
        socket.repair(stop, fd)
    if socket.bottom.bound is not None:
        raise error(errno.EINVAL)
    rights, bottom = session.acting.rights(stop, socket.guise.namespace), socket.bottom
    try:
        with rights:
            bottom.bind(address)
    except OSError as wrong:
        if wrong.errno != errno.EADDRINUSE:
            raise
        session.loop.serve_exceptions()  # perhaps the program has just closed what is in the way
        with rights:
            bottom.bind(address)
    stop.reply(0)


def getsockname(_: Session, stop: Stop, socket: Socket) -> None:
    """The local address."""
    _name(stop, socket, "getsockname")


def getpeername(_: Session, stop: Stop, socket: Socket) -> None:
    """The peer's address."""
    _name(stop, socket, "getpeername")


def _name(stop: Stop, socket: Socket, which: str) -> None:
    packed = socket.names.get(which)
    if packed is None or socket.state is not State.CONNECTED:
        if which == "getpeername" and socket.state is not State.CONNECTED:
            raise error(errno.ENOTCONN)
        packed = sockaddr.pack(_ask(socket, which), socket.domain)
        if socket.state is State.CONNECTED:
            socket.names[which] = packed
    _, address, length, *_ = stop.args
    write_sockaddr(stop, address, length, room_for_sockaddr(stop, length), packed)
    stop.reply()


def _ask(socket: Socket, which: str) -> Address:
    if socket.state is State.OVER and socket.before is not None:
        return socket.before.getsockname()
    address: Address = getattr(socket.control, which)()
    return address
