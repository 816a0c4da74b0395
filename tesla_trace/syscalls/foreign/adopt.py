"""TCP sockets of the kernel that the program came by without socket(2), when it connects them.

It inherited them (socket activation, a shell), or somebody outside sent them (SCM_RIGHTS).

Facts: such a socket is known by its inode, as ours are.  Other processes may hold it too, and what
they write goes where it is connected to, past all handlers.  SO_REUSEADDR of two sockets, as it is
at that moment, lets both be bound to one port, while neither listens.

What it means for us: we do not connect that socket, but one of our own with the same options and
local address, and the program gets a pair as for any other.  Duplicates in the same process are
replaced with it; in another one of the program at its next trapped call; until then, and outside,
they mean the kernel's socket, which stays unconnected.  It is never left to the kernel to connect,
for by the time it looks the descriptor and the address may be others.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket as sockets
import sys
from collections.abc import Iterable
from contextlib import closing, suppress

from tesla_trace.address import shown
from tesla_trace.flow import numeric
from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import check, libc
from tesla_trace.kernel.replace import replace
from tesla_trace.kernel.thread import Thread
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.acting import OURS, Guise
from tesla_trace.syscalls.arguments.words import error, pack_int
from tesla_trace.syscalls.escapes.ways import WAYS, Way
from tesla_trace.syscalls.options.carried import CARRIED, HALVED
from tesla_trace.syscalls.options.sockopt import stored
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream.beside import beside
from tesla_trace.syscalls.stream.socket import Socket

CLOSE, LISTEN, SYN_SENT = 7, 10, 2
"""States in struct tcp_info's first byte (net/tcp_states.h)."""

SO_NETNS_COOKIE = 71

LEFT_ALONE = "left alone, for it was there before us"

ROOM = 256
"""Bytes of an option's value."""


def count_connections(session: Session, process: int) -> None:
    """Say which connections a process has that were there before us."""
    for fd, name in proc.files(process):
        if name.startswith("socket:["):
            with suppress(OSError), closing(Thread(process)) as thread:
                with sockets.socket(fileno=thread.borrow(fd, name.encode())) as found:
                    if is_tcp(found) and tcp_state(found) not in (CLOSE, LISTEN):
                        peer = shown(found.getpeername())
                        session.say_once(f"descriptor {fd}, a connection to {peer}: {LEFT_ALONE}")


def look(session: Session, stop: Stop, fd: int) -> sockets.socket | None:
    """A copy, to be closed soon, of a TCP socket of the kernel.

    Returns:
        None if it is another kind of socket, which is left to the kernel.

    Raises:
        OSError: EBADF, ENOTSOCK; EPROTONOSUPPORT, a kind that would bypass a handler.
    """
    try:
        file = stop.file(fd)
    except PermissionError:
        if session.closed or not session.acting.others(stop):
            raise
        return None
    if file is None:
        raise error(errno.EBADF)
    if not file.startswith(b"socket:["):
        raise error(errno.EBADF if proc.flags(stop.thread, fd) & os.O_PATH else errno.ENOTSOCK)
    copy = sockets.socket(fileno=stop.borrow(fd, file))
    if is_tcp(copy) and session.stack.serves(sockets.SOCK_STREAM):
        return copy
    if _is_stream(copy):
        if session.stack.refuses(None):
            copy.close()
            session.say_once("an inherited socket: refused, for it would bypass a handler")
            raise error(errno.EPROTONOSUPPORT)
        session.say_once(f"a socket of protocol {copy.proto}: {LEFT_ALONE}")
    copy.close()
    return None


def adopt(session: Session, stop: Stop, fd: int, found: sockets.socket) -> Socket:
    """Put a socket of ours in the place of one that is about to be connected.

    Raises:
        OSError: EISCONN or EALREADY, it is past that; others where ours cannot be made the same.
    """
    state = tcp_state(found)
    if state == SYN_SENT:
        raise error(errno.EALREADY)
    if state != CLOSE:
        session.say_once(f"a connection that the program did not make: {LEFT_ALONE}")
        raise error(errno.EISCONN)
    file = proc.socket_name(found.fileno())
    guise = session.acting.of(stop)
    assert isinstance(guise, Guise)  # see is_elsewhere
    socket = _stand_in(session, found, guise)
    try:
        assert socket.pair.app is not None
        replace(stop, fd, file, found.fileno(), socket.pair.app.fileno())
    except BaseException:
        socket.left()
        raise
    socket.pair.given()
    socket.seen = stop, fd
    session.replaced(file, socket)
    return socket


def adopt_before_start(session: Session, fds: Iterable[int]) -> dict[int, Socket]:
    """Sockets of ours for those of our descriptors that the program could connect; by descriptor.

    Where nothing may pass it never gets those.  For a call on something else that is let through
    looks its descriptor up once more, and another thread may by then have put one of them there.
    """
    made: dict[int, Socket] = {}
    by_file: dict[bytes, Socket] = {}
    for fd in fds if session.closed else ():
        with suppress(OSError), sockets.socket(fileno=os.dup(fd)) as found:
            if is_tcp(found) and tcp_state(found) == CLOSE:
                file = proc.socket_name(found.fileno())
                if file not in by_file:
                    by_file[file] = _stand_in(session, found, OURS)
                made[fd] = by_file[file]
    return made


def _stand_in(session: Session, found: sockets.socket, guise: Guise) -> Socket:
    """A socket of ours with the options and the address of one of the kernel's."""
    with guise:
        real = sockets.socket(found.family, sockets.SOCK_STREAM, found.proto)
    socket = Socket(session, found.family, real, found.proto, guise)
    try:
        _take_after(socket, found)
    except BaseException as wrong:
        socket.left()
        if isinstance(wrong, OSError):
            session.say_once(f"an inherited socket cannot be connected: {wrong.strerror}")
        raise
    return socket


def is_elsewhere(session: Session, stop: Stop, found: sockets.socket) -> bool:
    """Whether it is of another network namespace than its program, and so left to the kernel.

    Raises:
        OSError: EAFNOSUPPORT, a handler would be bypassed so.
    """
    guise = session.acting.of(stop)
    if isinstance(guise, Way):
        if session.closed:
            raise error(guise.errno)
        return True  # it has been counted
    with guise, sockets.socket(sockets.AF_UNIX) as any_socket:
        here = _network(any_socket)
    if _network(found) != here:
        session.uncovered(stop, WAYS["closed namespace"])
        return True
    return False


def dissolve(found: sockets.socket, data: bytes) -> None:
    """connect(2) with AF_UNSPEC, on a socket that is the kernel's."""
    check(libc.connect(found.fileno(), ctypes.c_char_p(data), len(data)))


def tcp_state(found: sockets.socket) -> int:
    """The state that its connection is in."""
    return found.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, 1)[0]


def backlog_of(listener: sockets.socket) -> int:
    """What listen(2) was told: tcpi_sacked of one that listens."""
    info = listener.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, 32)
    return int.from_bytes(info[28:32], sys.byteorder)


def _take_after(socket: Socket, found: sockets.socket) -> None:
    socket.pair.take_after(found)
    socket.stored = stored(found)
    for level, option in CARRIED:
        try:
            value = found.getsockopt(level, option, ROOM)
            fresh = socket.bottom.getsockopt(level, option, ROOM)
        except OSError:  # not of this family
            continue
        if value != fresh:
            if (level, option) in HALVED:
                value = pack_int(int.from_bytes(value, sys.byteorder) // 2)
            socket.bottom.setsockopt(level, option, value)
    address = found.getsockname()
    host = numeric(address[0])
    if address[1] or host is not None and not host.is_unspecified:
        socket.original = found.dup()
        with beside(found, socket.bottom.real):
            socket.bottom.bind(address)


def _is_stream(found: sockets.socket) -> bool:
    inet = found.family in (sockets.AF_INET, sockets.AF_INET6)
    return inet and found.type == sockets.SOCK_STREAM


def is_tcp(found: sockets.socket) -> bool:
    """Whether it is a socket of TCP."""
    return _is_stream(found) and found.proto == sockets.IPPROTO_TCP


def _network(socket: sockets.socket) -> bytes:
    return socket.getsockopt(sockets.SOL_SOCKET, SO_NETNS_COOKIE, 8)
