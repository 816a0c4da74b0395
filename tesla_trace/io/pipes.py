"""Pipes through which the kernel moves bytes from socket to socket: splice(2).

Facts (Linux 6.18), and what they mean for us:

- A pipe of the usual 64 KiB makes it slower than copying; one of 1 MiB makes it twice as fast.
- All pipes of a user without CAP_SYS_RESOURCE together hold 64 MiB (fs.pipe-user-pages-soft); from
  there on none grows, and new ones hold two pages: the program's, too, where it is the same user's.
  So we hold few, and a flow has one only while there are bytes in it.
- From an AF_UNIX stream, splice stops in front of an urgent byte, but passes it by if it comes
  first.  From TCP it says EAGAIN there, and 0 once the peer's end has come, with the byte and all
  that is behind it unread.  So at the mark we do not splice; and neither EAGAIN nor 0 tells us
  anything but to read.
- A pipe has a slot for each piece that was sent, however small: it may be full with 256 bytes in
  it, which is EAGAIN as well.  And a piece may be of 32 KiB: it may take eight times its size.
- An error of a socket is told once, to splice as to recv and send: it must not be lost here.
- There is no MSG_NOSIGNAL: SIGPIPE comes with EPIPE.  Python ignores it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable

F_SETPIPE_SZ = 1031
"""fcntl(2); Python 3.10 has the name, where it was built for it."""

SIZES = 1024 * 1024, 512 * 1024, 256 * 1024
"""Bytes that a pipe is to hold, the first that we get."""

MOST = 32
"""Pipes at a time: half of what a user may have."""

IDLE = 8
"""Pipes kept while nobody uses them."""

UNABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM})
"""What splice fails with where it cannot be used at all: an old kernel, a sandbox."""

FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Pipe:
    """One pipe, on loan."""

    __slots__ = ("_into", "_out_of", "_pipes", "_room", "holds")

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes
        self._out_of, self._into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.holds = 0
        """Bytes in it."""
        for self._room in SIZES:
            with contextlib.suppress(PermissionError):
                fcntl.fcntl(self._into, F_SETPIPE_SZ, self._room)
                return
        self.close()
        raise OSError(errno.EPERM, "a large pipe is refused")

    def fill(self, source: int) -> int:
        """Take what a socket has, no more than is to be held; 0 if there is nothing to take so.

        Raises:
            OSError: the socket's.
        """
        room = self._room - self.holds
        if not room:
            return 0
        try:
            taken = os.splice(source, self._into, room, flags=FLAGS)
        except BlockingIOError:
            return 0
        except OSError as wrong:
            if wrong.errno not in UNABLE:
                raise
            self._pipes.refuse(wrong)
            return 0
        self.holds += taken
        return taken

    def pour(self, sink: int) -> int:
        """Give a socket what it takes.

        Raises:
            BlockingIOError: nothing.
            OSError: the socket's.
        """
        try:
            poured = os.splice(self._out_of, sink, self.holds, flags=FLAGS)
        except OSError as wrong:
            if wrong.errno in UNABLE:
                self._pipes.refuse(wrong)
            raise
        self.holds -= poured
        self._pipes.moved += poured
        return poured

    def read(self) -> bytes:
        """All that is in it."""
        data = b""
        while self.holds:
            data += (piece := os.read(self._out_of, self.holds))
            self.holds -= len(piece)
        return data

    def let_go(self) -> None:
        """Give it back; what is in it is lost."""
        if self.holds or len(self._pipes.idle) == IDLE:
            self.holds = 0
            self._pipes.made -= 1
            self.close()
        else:
            self._pipes.idle.append(self)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._out_of)
        os.close(self._into)


class Pipes:
    """The pipes that there are.

    Args:
        say: writes a line to the log, once.
        eager: splice whenever it can be done, and not only where it is faster.
    """

    def __init__(self, say: Callable[[str], None], *, eager: bool = False) -> None:
        self._say = say
        self.eager = eager
        self.made = 0
        self.idle: list[Pipe] = []
        self.moved = 0
        """Bytes that went this way."""
        self._refused = False

    def take(self) -> Pipe | None:
        """An empty pipe; None if there is none left."""
        if self._refused:
            return None
        if self.idle:
            return self.idle.pop()
        if self.made == MOST:
            return None
        try:
            pipe = Pipe(self)
        except OSError as wrong:
            self._say(f"no pipe for splice(2): {wrong.strerror}; we copy where there is none")
            return None
        self.made += 1
        return pipe

    def refuse(self, wrong: OSError) -> None:
        """It cannot be done here: no more pipes."""
        self._refused = True
        self._say(f"splice(2): {wrong.strerror}; we copy instead")

    def close(self) -> None:
        """Close those that nobody uses."""
        while self.idle:
            self.made -= 1
            self.idle.pop().close()
