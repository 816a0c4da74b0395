"""Listening AF_UNIX sockets of ours that nobody else can connect to.

Facts: a socket that is bound to a path is reached through any way to its inode, a descriptor of
O_PATH included, also when the path is gone.

What it means for us: it is bound in a folder that only we may enter, opened, and unlinked.
"""

from __future__ import annotations

import os
import socket as sockets
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tesla_trace.kernel.libc import check, libc

_TYPE = int(sockets.SOCK_STREAM | sockets.SOCK_NONBLOCK)
_FLAGS = int(sockets.SOCK_NONBLOCK | sockets.SOCK_CLOEXEC)

_PEER = struct.Struct("iII")
"""struct ucred"""

MOST = 4096
"""Connections that wait at the most (net.core.somaxconn)."""

FOLDERS = os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev/shm"
"""Where a folder may be made for a moment."""


@contextmanager
def _folder(places: Sequence[str]) -> Iterator[str]:
    """A folder of our own; its path is short enough for bind(2)."""
    for where in places:
        path = f"{where}/tesla_trace-{os.urandom(8).hex()}"
        try:
            os.mkdir(path, 0o700)
            break
        except OSError:
            if where is places[-1]:
                raise
    try:
        opened = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{opened}"
        finally:
            os.close(opened)
    finally:
        os.rmdir(path)


def open_privately(socket: sockets.socket, places: Sequence[str] = FOLDERS) -> int:
    """Let a socket listen; a descriptor by which it can be reached, and by nothing else.

    Raises:
        OSError: there is no place for it.
    """
    with _folder(places) as folder:
        path = f"{folder}/listener"
        socket.bind(path)
        try:
            socket.listen(MOST)
            return os.open(path, os.O_PATH | os.O_CLOEXEC)
        finally:
            os.unlink(path)


def knock(socket: sockets.socket, door: int) -> None:
    """Connect a socket to the one that `door` leads to.

    Raises:
        OSError: BlockingIOError, too many connections wait there.
    """
    socket.connect(f"/proc/self/fd/{door}")


class Meeting:
    """Where sockets of the program's are joined with ends of ours.

    Args:
        places: where a folder may be made for a moment.

    Raises:
        OSError: there is no place for it.
    """

    def __init__(self, places: Sequence[str] = FOLDERS) -> None:
        self._places = places
        self._me = os.getpid()
        self._open()

    def _open(self) -> None:
        self._listener = sockets.socket(sockets.AF_UNIX)
        try:
            self._door = open_privately(self._listener, self._places)
        except BaseException:
            self._listener.close()
            raise

    def join(self, app: sockets.socket) -> sockets.socket:
        """The other end of a socket that had none, non-blocking.

        Raises:
            OSError: it cannot be.
        """
        if self._listener.fileno() < 0:
            self._open()
        os.close(os.dup(self._door))  # EMFILE is better told now than when it is connected
        knock(app, self._door)
        try:
            return self._accept()
        except OSError:
            self.close()  # or the next one would be joined with what waits there
            raise

    def _accept(self) -> sockets.socket:
        while True:
            fd = check(libc.accept4(self._listener.fileno(), None, None, _FLAGS))
            end = sockets.socket(sockets.AF_UNIX, _TYPE, 0, fileno=fd)
            peer = end.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, _PEER.size)
            if _PEER.unpack(peer)[0] == self._me:
                return end
            end.close()  # of somebody who came by our descriptors in /proc

    def close(self) -> None:
        """Nobody is joined here until somebody is to be."""
        if self._listener.fileno() >= 0:
            self._listener.close()
            os.close(self._door)
