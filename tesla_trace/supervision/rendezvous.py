"""Where those who are attached to a process can be spoken to, by its number.

Facts: an abstract AF_UNIX address belongs to nobody's files and ends with its socket; anybody in
the network namespace may take a name, or speak to it, and SO_PEERCRED tells who did.  The number of
a process is used again, with another time of its start.

What it means for us: both sides look whom they speak to, and only root and the same user count.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable

from tesla_trace.io.loop import Loop
from tesla_trace.kernel import proc

DETACH = b"detach"

ROOM = 64 * 1024
"""Bytes of a message at the most."""

PATIENCE = 5.0
"""Seconds in which who is there takes what is said."""

_PEER = struct.Struct("iII")
"""struct ucred"""


class Nobody(Exception):
    """Nobody is attached to the process, or nobody that we trust; the text is for the user."""


def address(process: int) -> bytes:
    """The name of the place.

    Raises:
        OSError: there is no such process.
    """
    return b"\0tesla_trace/%d/%d" % (process, proc.started(process))


class Rendezvous:
    """The end of who is attached.

    Args:
        asked: told what somebody wants, and the connection to answer by, which it closes.

    Raises:
        OSError: the place is taken; the process has ended.
    """

    def __init__(
        self, loop: Loop, process: int, asked: Callable[[bytes, socket.socket], None]
    ) -> None:
        self._asked = asked
        self._loop = loop
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind(address(process))
            self._socket.listen()
        except BaseException:
            self._socket.close()
            raise
        self._hearing = loop.on_readable(self._socket.fileno(), self._knocked)

    def _knocked(self) -> None:
        try:
            end, _ = self._socket.accept()
        except OSError:
            return
        if not _is_trusted(end):
            return end.close()
        end.setblocking(False)

        def told() -> None:
            hearing.close()
            try:
                word = end.recv(ROOM)
            except OSError:
                word = b""
            self._asked(word, end)

        hearing = self._loop.on_readable(end.fileno(), told)

    def close(self) -> None:
        """Be there no more."""
        self._hearing.close()
        self._socket.close()


def ask(process: int, word: bytes) -> socket.socket:
    """Say something to who is attached to a process; the connection, to hear the answer.

    Raises:
        Nobody: there is nobody.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end.settimeout(PATIENCE)  # whoever took the name may never accept
    try:
        end.connect(address(process))
        if not _is_trusted(end):
            raise Nobody(f"somebody else's process says that it is attached to {process}")
        end.send(word)
    except OSError:
        end.close()
        raise Nobody(f"no tesla_trace of ours is attached to {process}") from None
    except BaseException:
        end.close()
        raise
    end.settimeout(None)  # an answer may take as long as the connections do
    return end


def _is_trusted(end: socket.socket) -> bool:
    _, uid, _ = _PEER.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return uid in (0, os.geteuid())
