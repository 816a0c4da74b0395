"""Letting a program go: its sockets become the kernel's, and what is under way is finished first.

Facts, and what they mean for us:

- A socket without a connection has one of the kernel's behind it, with all that was set on it, and
  a listener one that listens: that is put in place of the program's end, as in handing back
  (handback/handing.py), and the call that we were asked for is then done by the kernel.
- A call gives only its own process the kernel's socket; others that have it, too, get it from that
  one, at a call of theirs.
- A connection that has come in, or is under way, may be anywhere in the handlers: it goes on until
  it is over, or its time is.  Those that wait to be accepted are first in their listener's queue.
- A thread that waits in poll(2) or accept(2) holds the socket that it began with.
"""

from __future__ import annotations

import socket as sockets
from contextlib import suppress
from errno import ECONNRESET
from typing import TYPE_CHECKING

from tesla_trace.io.datagram_bottom import DatagramBottom
from tesla_trace.io.endpoint import fitting
from tesla_trace.kernel import proc
from tesla_trace.kernel.replace import replace
from tesla_trace.kernel.thread import borrow_from_anyone
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.arguments.words import error, signed
from tesla_trace.syscalls.datagram.socket import DatagramSocket
from tesla_trace.syscalls.handback.handing import dress
from tesla_trace.syscalls.stream.socket import Socket
from tesla_trace.syscalls.stream.state import State

if TYPE_CHECKING:
    from tesla_trace.syscalls.program_socket import ProgramSocket
    from tesla_trace.syscalls.session import Session

MOVING, MAKING = ("setns", "unshare"), ("epoll_create", "epoll_create1")
NATIVE = ("socket", "pidfd_getfd", "ptrace", *MOVING, *MAKING)
"""Calls that are about no socket yet: they are the kernel's from now on."""

ACCEPTING = ("accept", "accept4")

WAITING = ("poll", "ppoll", "select", "pselect6", "pselect6_time64", "ppoll_time64", *ACCEPTING)
"""Calls that hold on to sockets while they wait."""


class Parting:
    """Lets the program of a session go, from now on."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._returned: dict[bytes, bytes] = {}
        """What the kernel's socket is called that came in place of which of ours."""
        session.parting = self
        session.spare.drop()
        for listener in self._listeners():
            self._stop_taking(listener)
        for lent in session.lent.values():
            lent.leave()

    # ---- what is still there ----

    def flows(self) -> int:
        """Connections that are under way through the handlers."""
        return sum(isinstance(each, Socket) and _is_under_way(each) for each in self._all())

    def left(self) -> list[bytes]:
        """What the sockets are called that the program has from us, and can have replaced now."""
        return [each.pair.file for each in self._all() if self._can_be_returned(each)]

    def places(self, process: int) -> list[int]:
        """The descriptors of a process that are such sockets, or were replaced elsewhere."""
        files = {each.decode() for each in (*self.left(), *self._returned)}
        return [fd for fd, name in proc.files(process) if name in files]

    def reset(self) -> None:
        """Wait for no connection any more."""
        for socket in self._all():
            if isinstance(socket, Socket):
                if socket.backlog is not None:
                    socket.backlog.reset()
                elif socket.top is not None and _is_under_way(socket):
                    with suppress(OSError):
                        socket.top.lose(error(ECONNRESET))

    # ---- calls ----

    def serve(self, stop: Stop) -> bool:
        """Do a call as the program is to have it from now on.

        Returns:
            False if it is to be done as before.

        Raises:
            OSError: the kernel's socket cannot be had.
        """
        if stop.call in NATIVE:
            if stop.call in MOVING:
                stop.moving()
            elif stop.call in MAKING:
                stop.making_epoll()
            stop.proceed()
            return True
        fd = signed(stop.args[0])
        file = self._file(stop, fd)
        socket = None if file is None else self._session.ours(file)
        if isinstance(socket, Socket | DatagramSocket):
            if not self._can_be_returned(socket):
                return False
            self._return(socket, stop, fd)
        elif file in self._returned:
            self._return_elsewhere(file, stop, fd)
        elif file is not None and stop.call in ACCEPTING:
            lent = self._session.lent.get(file)
            if lent is not None and lent.kept:
                return False
        stop.proceed()
        return True

    @staticmethod
    def _file(stop: Stop, fd: int) -> bytes | None:
        try:
            return stop.file(fd)
        except OSError:  # not ours to look into, and so nothing of ours
            return None

    def _all(self) -> list[ProgramSocket]:
        return self._session.all_sockets()

    def _listeners(self) -> list[Socket]:
        return [each for each in self._all() if isinstance(each, Socket) and each.backlog]

    def _can_be_returned(self, socket: ProgramSocket) -> bool:
        if isinstance(socket, DatagramSocket):
            return not socket.waited_on
        assert isinstance(socket, Socket)
        if socket.backlog is not None:
            return not socket.backlog.has_some
        return socket.state is State.FRESH or socket.state is State.FAILED and not socket.error

    # ---- giving back ----

    def _stop_taking(self, listener: Socket) -> None:
        """Leave connections to the kernel, and with them the calls that wait for one."""
        if listener.top is not None:
            listener.top.may_avail(False)
        if listener.backlog is None:
            return
        waiting = list(listener.backlog.waiting)
        listener.backlog.waiting.clear()
        for stop in waiting:
            self._session.held.release(stop)
            try:
                if not self.serve(stop):
                    stop.restart()
            except Gone:
                continue
            except OSError as wrong:
                stop.fail(wrong.errno or ECONNRESET)

    def _return(self, socket: ProgramSocket, stop: Stop, fd: int) -> None:
        """Put the kernel's socket in the place of one of ours."""
        file, real = socket.pair.file, self._real(socket)
        with socket.borrowed(stop, fd) as app:
            dress(socket, real, app)
            self._returned[file] = proc.socket_name(real.fileno())
            try:
                replace(stop, fd, file, app.fileno(), real.fileno())
            except BaseException:
                del self._returned[file]
                raise
        self._session.forget(socket)
        socket.pair.watch.hung_up = _nothing
        self._part(socket)
        socket.pair.close()

    @staticmethod
    def _part(socket: ProgramSocket) -> None:
        """Let go of the network's end, which the program has by now."""
        if isinstance(socket, DatagramSocket):
            return (socket.top or socket.bottom).abort()
        assert isinstance(socket, Socket)
        top, socket.backlog = socket.top, None
        socket.bottom.give_away()
        if top is None:
            socket.bottom.close()
        else:
            top.graph.run(top.close)

    def _real(self, socket: ProgramSocket) -> sockets.socket:
        """The kernel's socket that is to be the program's.

        Raises:
            OSError: there can be none.
        """
        if isinstance(socket, Socket):
            return socket.bottom.real
        assert isinstance(socket, DatagramSocket)
        if (bottom := socket.bottom).closed or _peer(
            bottom
        ) != socket.peer:  # it goes through a proxy, say
            socket.renew()
            if socket.peer is not None:
                socket.bottom.real.connect(fitting(socket.peer, socket.domain))
        return socket.bottom.real

    def _return_elsewhere(self, file: bytes, stop: Stop, fd: int) -> None:
        """Give a process the kernel's socket that another one has got."""
        with suppress(OSError):  # nobody has it any more
            with sockets.socket(fileno=stop.borrow(fd, file)) as old:
                there = borrow_from_anyone(self._returned[file], self._session.members)
                with sockets.socket(fileno=there) as real:
                    replace(stop, fd, file, old.fileno(), real.fileno())


def _is_under_way(socket: Socket) -> bool:
    return socket.state in (State.CONNECTING, State.CONNECTED)


def _peer(bottom: DatagramBottom) -> object:
    try:
        return bottom.real.getpeername()
    except OSError:
        return None


def _nothing() -> None: ...
