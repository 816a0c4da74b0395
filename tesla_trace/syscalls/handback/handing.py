"""Handing back: the program gets the kernel's own socket in place of its end of a pair.

Facts, and what they mean for us:

- Replacing a descriptor does nothing to other references to what it was: in another process, on
  its way by SCM_RIGHTS, in a call that waits on it in another thread.  Of the last of them our end
  tells by hanging up; of an end that was never joined inotify does.  So we replace and look, and
  where somebody still has the old one, all is put back as it was.
- A call that waits holds the file, and no descriptor leads to it: it could not be put back.  What
  a thread writes to the old one and then to the new one could change places; it could close the
  descriptor, and open another file there; and for a moment the socket is registered with no
  epoll.  So we look what the other threads do, and leave it for another time unless all of them
  sleep elsewhere.
- A signal that takes the call away lets the thread run, and use what is being replaced: so where
  any may, only what comes in is handed over, in the answer itself.
- The real socket has what was set on it.  What the program's end kept is taken over, as is
  O_NONBLOCK; SIGIO (O_ASYNC, F_SETOWN) cannot be, for it is sent with the rights of who asked.
- EPOLL_CTL_ADD adds EPOLLERR and EPOLLHUP, which a registration that has fired (EPOLLONESHOT) is
  without.  Such a socket is left as it is.
"""

from __future__ import annotations

import fcntl
import os
import socket as sockets
from contextlib import suppress
from typing import TYPE_CHECKING

from tesla_trace.io.bottom import Bottom
from tesla_trace.io.datapath import Datapath
from tesla_trace.io.pair import KEPT, Pair
from tesla_trace.io.top import Top
from tesla_trace.kernel import landlock, proc
from tesla_trace.kernel.registrations import Registration, TooMany, find, move
from tesla_trace.kernel.replace import replace
from tesla_trace.kernel.thread import borrow_from_anyone
from tesla_trace.kernel.trap import Stop
from tesla_trace.kernel.waits import may_be_used
from tesla_trace.syscalls.arguments.words import pack_int
from tesla_trace.syscalls.handback.handed import Handed

if TYPE_CHECKING:
    from tesla_trace.syscalls.program_socket import ProgramSocket
    from tesla_trace.syscalls.session import Session
    from tesla_trace.syscalls.stream.socket import Socket

TRIES = 4
"""How often it is tried with a flow: what was in the way once, mostly stays."""

PAUSE = 1.0
"""Seconds in which no epoll is read that has very many registrations: it takes some 10 ms."""

_PEEK_OFF = 42
_F_GETOWN_EX = 16
_NOBODY = bytes(8)

_EVENTS = 0xFFFFFF
"""The bits of a registration that are events; the rest say how to tell of them."""

_OURS = {
    sockets.SO_RCVTIMEO: bytes(16),
    sockets.SO_SNDTIMEO: bytes(16),
    sockets.SO_RCVLOWAT: pack_int(1),
    sockets.SO_OOBINLINE: pack_int(1),
    sockets.SO_LINGER: bytes(8),
}
"""What matters to us of the options that `dress` sets."""


class HandingBack:
    """Does it, where it can be done."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.why_not = ""
        """Why it is never to be done here, for the log."""
        self.done = False
        """Whether the program has been given a connection."""
        self._patient_from = 0.0

    def guard(self) -> int | None:
        """What keeps a program from connecting what it was handed: rules for `landlock.restrict`.

        None where there is no need, or no such thing; then nothing is handed back.
        """
        if not self._session.closed or not self.tries():
            return None
        try:
            return landlock.no_connects()
        except OSError as wrong:
            self.why_not = f"no Landlock for TCP here ({wrong.strerror}; it takes Linux 6.7)"
            return None

    @property
    def must_not_send(self) -> bool:
        """Whether no flags of a send may be read by the kernel after we have: they could connect
        what was handed back, and Landlock is not asked there."""
        return self.done and self._session.closed

    def tries(self) -> int:
        """How often to try with a flow that begins."""
        return TRIES if self._session.network.datapath is Datapath.AUTO else 0

    def hand_back(self, socket: Socket, stop: Stop, fd: int) -> Handed | None:
        """Give the calling thread the kernel's socket as `fd`, and wherever else it has this one.

        Returns:
            None where that cannot be done, or not now: all is as before.

        Raises:
            Gone: the caller is.
        """
        top, bottom = socket.top, socket.direct
        if top is None or bottom is None:
            return None
        if self._session.closed and stop.copied and not self.why_not:
            # The kernel reads such arguments again: flags that connect (MSG_FASTOPEN) may be there.
            self.why_not = "the program makes calls by socketcall(2)"
        if self.why_not:
            socket.tries = 0
            self._session.say_once(f"connections are not handed back: {self.why_not}")
            return None
        if stop.interruptible or not _lasts(socket, bottom):
            socket.tries = 0
            return None
        if not (top.quiet and bottom.quiet and socket.pair.idle()) or socket.receivers:
            return None
        socket.tries -= 1
        with suppress(OSError):
            return self._exchange(socket, top, bottom, stop, fd)
        return None

    def hand_over(self, socket: Socket, stop: Stop, *, cloexec: bool) -> int | None:
        """Have the call give the kernel's socket of a connection that has come in.

        Returns:
            The descriptor that it got; None where that cannot be done.

        Raises:
            OSError, Gone: as `Stop.give`.
        """
        top, bottom, app = socket.top, socket.direct, socket.pair.app
        if not socket.tries or self.why_not or top is None or bottom is None or app is None:
            return None
        if not (_lasts(socket, bottom) and top.quiet and bottom.quiet and socket.pair.idle()):
            return None
        socket.seen = stop, -1
        handed = self._handed(socket, top, bottom)
        if handed is None:
            return None
        if not dress(socket, bottom.real, app):
            self._session.forget_handed(handed)
            return None
        try:
            fd = stop.give(bottom.real.fileno(), cloexec=cloexec)
        except BaseException:
            self._session.forget_handed(handed)
            _undress(bottom.real)
            raise
        socket.pair.given()
        self._part(socket, bottom)
        return fd

    def _exchange(
        self, socket: Socket, top: Top, bottom: Bottom, stop: Stop, fd: int
    ) -> Handed | None:
        pair, socket.seen = socket.pair, (stop, fd)
        if may_be_used(stop, pair.file, self._session.members):
            return None
        handed = self._handed(socket, top, bottom)
        if handed is None:
            return None
        hung_up, pair.watch.hung_up = pair.watch.hung_up, _nothing
        done = False
        try:
            done = self._replaced(socket, bottom, stop, fd, handed)
        finally:
            if not done:
                pair.watch.hung_up = hung_up
                _undress(bottom.real)
                self._session.forget_handed(handed)
        if not done:
            return None
        self._part(socket, bottom)
        return handed

    def _replaced(
        self, socket: Socket, bottom: Bottom, stop: Stop, fd: int, handed: Handed
    ) -> bool:
        """Replace it, if then nobody has the program's end any more; else all is as it was."""
        pair, real = socket.pair, bottom.real
        with socket.borrowed(stop, fd) as app:
            found = self._registrations(stop, fd, app)
            if any(map(_has_fired, found)) or not dress(socket, real, app):
                return False
            stop.inject(real.fileno(), cloexec=stop.closes_on_exec(fd), at=fd)
            if pair.joined and (rest := pair.left_over()):
                bottom.write(rest)  # of a thread that has woken up since we looked
            move(stop.thread, found, app.fileno(), real.fileno())
        if pair.gone() or self._replaced_elsewhere(pair, stop, real):
            return True
        try:
            app = sockets.socket(fileno=borrow_from_anyone(pair.file, self._session.members))
        except OSError:  # a call of another thread has it, and ends; or it is on its way somewhere
            self._session.astray(pair.file, handed)
            return True
        with app:
            replace(stop, fd, handed.file, real.fileno(), app.fileno())
        socket.tries = 0
        return False

    def _registrations(self, stop: Stop, fd: int, app: sockets.socket) -> list[Registration]:
        """What epoll descriptors say of the program's end; raises as `registrations.find`."""
        now = self._session.loop.now()
        try:
            epolls, patiently = stop.epolls(), now >= self._patient_from
            return find(stop.thread, epolls, fd, app.fileno(), patiently=patiently)
        except TooMany:
            if patiently:
                self._patient_from = now + PAUSE
            raise

    @staticmethod
    def _replaced_elsewhere(pair: Pair, stop: Stop, real: sockets.socket) -> bool:
        """Replace other descriptors of the process, too; whether these were all."""
        name = pair.file.decode()
        other = next((fd for fd, found in proc.files(stop.thread) if found == name), None)
        if other is None:
            return False
        with suppress(OSError), sockets.socket(fileno=stop.borrow(other, pair.file)) as app:
            replace(stop, other, pair.file, app.fileno(), real.fileno())
        return pair.gone()

    def _handed(self, socket: Socket, top: Top, bottom: Bottom) -> Handed | None:
        handed = Handed(socket, top, bottom, proc.socket_name(bottom.real.fileno()))
        try:
            self._session.hand(handed, bottom.real.fileno())
        except OSError as wrong:
            self._session.say_once(f"a connection is not handed back: {wrong.strerror or wrong}")
            return None
        return handed

    def _part(self, socket: Socket, bottom: Bottom) -> None:
        self.done = True
        self._session.forget(socket)
        socket.pair.close()
        bottom.give_away()
        bottom.ctx.flow.datapath = "handed back"


def _nothing() -> None: ...


def _lasts(socket: Socket, bottom: Bottom) -> bool:
    """Whether the kernel's socket is what the program believes to have."""
    if bottom.real.family != socket.domain or socket.instead_of or socket.original is not None:
        return False
    return bottom.graph.bottoms == [bottom]


def dress(socket: ProgramSocket, real: sockets.socket, app: sockets.socket) -> bool:
    """Set on the kernel's socket what the program's end had; False if that cannot be."""
    flags = fcntl.fcntl(app, fcntl.F_GETFL)
    if flags & os.O_ASYNC or fcntl.fcntl(app, _F_GETOWN_EX, _NOBODY)[4:] != _NOBODY[4:]:
        return False
    if socket.pair.has_settings:
        if app.getsockopt(sockets.SOL_SOCKET, _PEEK_OFF) != -1:
            return False
        for option, size in KEPT.items():
            value = app.getsockopt(sockets.SOL_SOCKET, option, size)
            real.setsockopt(sockets.SOL_SOCKET, option, value)
    else:
        real.setsockopt(sockets.SOL_SOCKET, sockets.SO_OOBINLINE, 0)
    if linger := socket.stored.get((sockets.SOL_SOCKET, sockets.SO_LINGER)):
        real.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, linger)
    os.set_blocking(real.fileno(), not flags & os.O_NONBLOCK)
    return True


def _undress(real: sockets.socket) -> None:
    """Have it be as ours are again."""
    real.setblocking(False)
    for option, value in _OURS.items():
        real.setsockopt(sockets.SOL_SOCKET, option, value)


def _has_fired(each: Registration) -> bool:
    """Whether it was for one event (EPOLLONESHOT), which has come."""
    return not each.events & _EVENTS
