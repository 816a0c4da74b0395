"""What a supervisor tells its keeper: by which traps the program's calls come.

Both ends are forks of one interpreter and nobody else has one, so messages are as `marshal` makes
them: json takes 2 ms to import, in a start that somebody waits for.
"""

from __future__ import annotations

import array
import marshal
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from tesla_trace.keeper.keeping import Calls, Kept

MOST_FILES = 64
"""Descriptors that go with a message."""

MSG_CMSG_CLOEXEC = 0x40000000

ROOM = 64 * 1024
"""Bytes of a message at the most: a hundred names of calls, for each of two architectures."""


class KeeperEnd:
    """The supervisor's end of the channel."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def keep(
        self, listener: int, calls: Calls, *, ledger: int = -1, program: int = 0, stay: bool = False
    ) -> None:
        """Have the calls of this trap answered when we are dead.

        Args:
            listener, ledger: the keeper gets copies; without a listener somebody else answers the
                calls.
            program: the process whose end is to be the front's, if there is one.
            stay: the front is to wait until every process is gone.
        """
        numbers = {arch: dict(each) for arch, each in calls.items()}
        told = marshal.dumps({"calls": numbers, "program": program, "stay": stay})
        files = [each for each in (listener, ledger) if min(each, listener) >= 0]
        with suppress(OSError):  # it has been killed, and nobody keeps
            socket.send_fds(self._channel, [told], files)

    def ended(self, status: int) -> None:
        """The program has ended with this wait status, and we have reaped it."""
        self._say({"status": status})

    def hold(self, ends: Sequence[int]) -> None:
        """Keep copies of these, no more than `MOST_FILES`, until they hang up."""
        with suppress(OSError):
            told = marshal.dumps({"ends": len(ends)})
            socket.send_fds(self._channel, [told], ends, socket.MSG_DONTWAIT)

    def stopped(self, stops: int) -> None:
        """The program has stopped, as often as this by now."""
        self._say({"stops": stops})

    def _say(self, words: dict[str, int]) -> None:
        with suppress(OSError):
            self._channel.send(marshal.dumps(words))


class Told(NamedTuple):
    """One message, as the keeper reads it."""

    kept: Kept | None
    program: int = 0
    stay: bool = False
    status: int | None = None
    stops: int | None = None
    ends: Sequence[int] = ()


def hear(channel: socket.socket) -> Told | None:
    """The next message; None if there will be no more.

    Raises:
        BlockingIOError: there is none now.
    """
    files = array.array("i")
    room = socket.CMSG_SPACE(MOST_FILES * files.itemsize)
    flags = socket.MSG_DONTWAIT | MSG_CMSG_CLOEXEC  # which recv_fds of Python 3.11 forgets
    data, ancillary, _, _ = channel.recvmsg(ROOM, room, flags)
    for _, _, some in ancillary:
        files.frombytes(some[: len(some) - len(some) % files.itemsize])
    if not data:
        return None
    words = marshal.loads(data)
    if "ends" in words:
        return Told(None, ends=files)
    if not files:
        return Told(
            None,
            words.get("program", 0),
            words.get("stay", False),
            words.get("status"),
            words.get("stops"),
        )
    kept = Kept(files[0], files[1] if len(files) > 1 else -1, words["calls"])
    return Told(kept, words["program"], words["stay"])
