"""One connection of a runtime, until it has told of a process, or has not.

Facts (unix(7)): whoever connects is known by SO_PEERCRED, whatever it says; its number is 0 where
it is in no pid namespace that we see.  Descriptors come with a byte of the data, and are ours from
then on, whether we want them or not.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

from tesla_trace.io.loop import Loop
from tesla_trace.kernel.notified import IOCTL_ID_VALID
from tesla_trace.oci.state import LISTENER, Malformed, Reader, State

PATIENCE = 5.0
"""Seconds in which it must have said all."""

PIECE = 16 * 1024
"""Bytes read at a time."""

MOST = 16
"""Descriptors that may come; more are none."""

_PEER = struct.Struct("iII")
"""struct ucred"""


class Peer(NamedTuple):
    """Who is at the other end."""

    pid: int
    uid: int

    def __str__(self) -> str:
        """For the log."""
        return f"process {self.pid} of user {self.uid}"


Heard = Callable[[State, int], None]
"""Told of a process and its listener, which belongs to whom it is told."""

Refused = Callable[[str], None]
"""Told who is not heard, and why."""


class Hearing:
    """Hears one of them out.

    Args:
        connection: ours to close.
        over: called once, whatever became of it.
    """

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        heard: Heard,
        refused: Refused,
        over: Callable[[Hearing], None],
    ) -> None:
        self._connection = connection
        self._heard, self._refused, self._over = heard, refused, over
        self._reader = Reader()
        self._fds: list[int] = []
        connection.setblocking(False)
        self._watch = loop.on_readable(connection.fileno(), self._hear)
        self._alarm = loop.at(loop.now() + PATIENCE, self._late)
        self.peer = peer_of(connection)

    def refuse(self, why: str) -> None:
        """Hear no more of it."""
        self._refused(f"{self.peer}: {why}")
        self.close()

    def close(self) -> None:
        """Let go of what is left."""
        self._alarm.cancel()
        self._watch.close()
        self._connection.close()
        for fd in self._fds:
            os.close(fd)
        self._fds = []
        self._over(self)

    def _late(self) -> None:
        self.refuse(f"nothing that makes sense in {PATIENCE:g} s")

    def _hear(self) -> None:
        try:
            data = self._receive()
            if not data:
                raise Malformed("hung up before all was said")
            state = self._reader.feed(data)
            if state is None:
                return
            listener = self._listener(state)
        except (Malformed, OSError) as wrong:
            return self.refuse(str(wrong))
        self._fds.remove(listener)
        try:
            self._heard(state, listener)
        finally:
            self.close()

    def _receive(self) -> bytes:
        room = socket.CMSG_SPACE(MOST * array.array("i").itemsize)
        data, beside, flags, _ = self._connection.recvmsg(PIECE, room, socket.MSG_CMSG_CLOEXEC)
        for level, type, piece in beside:
            if (level, type) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(piece[: len(piece) - len(piece) % fds.itemsize])
                self._fds += fds
        if flags & socket.MSG_CTRUNC or len(self._fds) > MOST:
            raise Malformed(f"more than {MOST} descriptors")
        return data

    def _listener(self, state: State) -> int:
        """The one descriptor that is the listener."""
        if len(state.fds) != len(self._fds):
            raise Malformed(f"{len(state.fds)} descriptors named, {len(self._fds)} sent")
        found = [fd for name, fd in zip(state.fds, self._fds, strict=True) if name == LISTENER]
        if len(found) != 1:
            raise Malformed(f"{len(found) or 'no'} descriptors called {LISTENER}")
        if not is_listener(found[0]):
            raise Malformed(f"{LISTENER} is no seccomp listener")
        return found[0]


def peer_of(connection: socket.socket) -> Peer:
    """Who has connected."""
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, uid, _ = _PEER.unpack(said)
    return Peer(pid, uid)


def is_listener(fd: int) -> bool:
    """Whether a descriptor is that of a seccomp listener: it knows what the number of a call is."""
    try:
        fcntl.ioctl(fd, IOCTL_ID_VALID, bytes(8))
    except OSError as wrong:
        return wrong.errno == errno.ENOENT
    return True
