"""The AF_UNIX socketpair that stands in for a program's socket.

Facts about such a pair, and what they mean for us:

- It is writable at once, so a program would believe that its non-blocking connect is done.  So its
  end is filled until it takes no more; poll(2) and epoll(7) then report nothing, edge-triggered
  too.  Taking exactly that much out makes it writable.
- Closing the other end instead wakes whoever waits, and only then frees what was unread, so that
  the program's end is writable: it may look in between, where it runs on another CPU.  Of 219 KB a
  fifth did, of 64 KB one in 400.  So most of it is taken out before; of the kernel's limit for the
  end a quarter makes it writable, and must stay until the close.
- A process reads ECONNRESET, after the data that is there already, when the other end is closed
  with something unread in it.  So to reset, one byte is sent through a copy of the program's
  end, for nobody to read.
- A copy of the program's end hides its close.  None is kept.
- Between the program and its network there is room for a pair's buffers and our queues, some 700
  KiB each way: a program that makes its socket's buffers small, so as to see the network's pace or
  its peer's end sooner, would not.  So what it says of its socket's buffers holds for these, too.
- A pair has a connection from birth, and a socket that the program makes has none.  An AF_UNIX
  socket without one polls as TCP's does, and refuses data; only then is it joined with an end of
  ours: syscalls/ends/alone.py.  Sockets that are accepted are pairs from birth, and so is each
  where that cannot be had; the pair of a listener is then filled for ever, for it is never
  writable.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import select
import socket
import sys
from termios import FIONREAD, TIOCOUTQ
from typing import ClassVar

from tesla_trace.io import urgent
from tesla_trace.io.loop import ABSENT, Loop

KEPT = {
    socket.SO_RCVTIMEO: 16,
    socket.SO_SNDTIMEO: 16,
    socket.SO_RCVLOWAT: 4,
    socket.SO_OOBINLINE: 4,
}
"""The options that the program's end keeps, and the sizes of their values."""

FULL = 256 * 1024
"""Bytes that wait for the program, or the network, when a stop is asked for, unless the program
wants less; half of it ends the stop."""

FILLER = bytes(64 * 1024)
STAYS = 0.3
"""Of the filler, what keeps the program's end unwritable, and a little more."""

SPOILER = bytes(1)
TOKEN = bytes(1)
"""Of a connection that waits: as natively, an edge-triggered epoll has an event for each."""


@functools.cache
def default_size() -> int:
    """What SO_SNDBUF must be set to for the size that it has at first (the kernel doubles it)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as new:
        return new.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2


class Pair:
    """A pair, of which we keep the master end and the program gets the app end."""

    TYPE: ClassVar[int] = socket.SOCK_STREAM

    nameless: ClassVar[bool] = True
    """Whether what the program receives comes from nowhere, as TCP's data does."""

    master: socket.socket
    """Our end, once they are `joined`."""

    def __init__(self, loop: Loop) -> None:
        app, master = socket.socketpair(socket.AF_UNIX, self.TYPE)
        self._set_up(loop, app)
        self._join(master)

    def _set_up(self, loop: Loop, app: socket.socket) -> None:
        self.app: socket.socket | None = app
        """The program's end, until `given` to it."""
        self.file = b"socket:[%d]" % os.fstat(app.fileno()).st_ino
        """What the program's end is called in /proc/PID/fd: the identity of the socket."""
        self.watch = loop.watch(ABSENT)
        self.joined = False
        """Whether there are both ends."""
        self.closed = False
        self.has_settings = False
        """Whether the program has set options that its end keeps."""
        self.filled = 0
        """Bytes of filler that the master end has not read."""
        self.full = FULL
        """Bytes that the program has not taken when a stop is asked for."""

    def _join(self, master: socket.socket) -> None:
        self.master = master
        if master.gettimeout() != 0:
            master.setblocking(False)
        urgent.prepare(master)
        self.watch.attach(master.fileno())
        self.watch.expect_exceptions()
        self.joined = True

    # ---- what an end that was alone does otherwise ----

    def join(self, app: socket.socket) -> None:
        """Be a pair, if it is not one yet; `app` is a copy of the program's end.

        Raises:
            OSError: it cannot be.
        """

    def listen(self, app: socket.socket) -> None:
        """Be never writable, as a socket that listens."""
        self.fill(app)

    def put_token(self) -> None:
        """Make the program's end readable once more.

        Raises:
            OSError: it is full of tokens.
        """
        self.master.send(TOKEN, socket.MSG_NOSIGNAL)

    def take_token(self, app: socket.socket) -> None:
        """Take one out again, through a copy of the program's end.

        Raises:
            OSError: there is none.
        """
        app.recv(len(TOKEN), socket.MSG_DONTWAIT)

    # ---- the program's end ----

    def given(self) -> None:
        """The program has its end now, or will never have it."""
        if self.app is not None:
            self.app.close()
            self.app = None

    def fill(self, app: socket.socket) -> None:
        """Make the program's end unwritable, through a copy of it."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.filled += app.send(FILLER, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def empty(self) -> None:
        """Make it writable again, leaving what came behind the filler."""
        with contextlib.suppress(BlockingIOError):
            while self.filled:
                self.filled -= len(self.master.recv(self.filled)) or self.filled

    def hang_up(self) -> None:
        """Close our end of one that is filled: the program's is readable, writable and hung up."""
        most = self.filled - int(self.filled * STAYS)
        with contextlib.suppress(OSError):
            while most > 0 and (taken := len(self.master.recv(min(most, len(FILLER))))):
                most -= taken
        self.close()

    def idle(self) -> bool:
        """Whether no byte is on its way between the ends, not even filler."""
        if not self.joined:
            return True
        return not (self.filled or _queued(self.master, FIONREAD) or _queued(self.master, TIOCOUTQ))

    def gone(self) -> bool:
        """Whether nobody has the program's end any more."""
        poll = select.poll()
        poll.register(self.master, 0)
        return any(state & select.POLLHUP for _, state in poll.poll(0))

    def left_over(self) -> bytes:
        """What the program wrote before it was gone."""
        data = bytearray()
        with contextlib.suppress(OSError):
            while piece := self.master.recv(len(FILLER)):
                data += piece
        return bytes(data)

    def left_unread(self) -> bool:
        """Whether the program, having closed, had not read all that we sent."""
        try:
            self.master.recv(1)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    def end(self) -> None:
        """The program reads the end of the stream."""
        with contextlib.suppress(OSError):
            self.master.shutdown(socket.SHUT_WR)

    def refuse(self) -> None:
        """What the program writes fails with EPIPE."""
        with contextlib.suppress(OSError):
            self.master.shutdown(socket.SHUT_RD)

    def take_after(self, old: socket.socket) -> None:
        """Make the program's end, which it has not got yet, behave as another one."""
        assert self.app is not None
        self.has_settings = True
        os.set_blocking(self.app.fileno(), os.get_blocking(old.fileno()))
        for option, size in KEPT.items():
            with contextlib.suppress(OSError):
                value = old.getsockopt(socket.SOL_SOCKET, option, size)
                self.app.setsockopt(socket.SOL_SOCKET, option, value)

    def resize(self, app: socket.socket, sizes: dict[int, int]) -> None:
        """Hold no more than this, by SO_SNDBUF and SO_RCVBUF; grow beyond the default we do not."""
        for option, end in ((socket.SO_SNDBUF, app), (socket.SO_RCVBUF, self.master)):
            if option in sizes:
                size = min(sizes[option], default_size())
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        self.full = min(FULL, sizes.get(socket.SO_RCVBUF, FULL))

    @staticmethod
    def spoil(app: socket.socket) -> None:
        """Make the close of the master end a reset, through a copy of the program's end."""
        with contextlib.suppress(OSError):
            app.send(SPOILER, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def close(self) -> None:
        """Close our end.  The program's, if it was not given yet, still can be."""
        if not self.closed:
            self.closed = True
            self.watch.close()
            if self.joined:
                self.master.close()


def _queued(end: socket.socket, request: int) -> int:
    """Bytes that wait to be read here (FIONREAD), or what those that we sent take up (TIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(end, request, bytes(4)), sys.byteorder)
