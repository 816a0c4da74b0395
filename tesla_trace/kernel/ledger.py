"""What a supervisor owes the program, where another process can read it: calls without an answer.

Facts: a call that was received can be answered by whoever has the listener and knows its number
(SEND); nobody can receive it a second time, and the kernel lists none.  When the receiver dies, and
somebody else has the listener, the call waits on.  The numbers of one listener count upwards from a
random one; ID_VALID says which are received and not answered, in 3 µs.

What it means for us: the notifications are written to a file in memory, as the kernel gives them.
The first place has the one received last, whose answer is at most a moment away; when the next is
received and it still waits, it moves to a place of its own.  Between receiving and writing one may
be lost: its number is one of the next.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import Protocol

PLACE = 80
"""sizeof(struct seccomp_notif)"""

PLACES = 1 << 16
"""Calls that may wait at a time.  Pages that were never written take no memory."""

CROWD = 64
"""Calls of which some may be gone without an answer: their threads were killed."""


class Owed(Protocol):
    """A call that waits for its answer."""

    place: int
    """Where it is written, 0 if only as the last one."""

    def waiting(self) -> bool:
        """Whether it still does."""


class Ledger:
    """The calls that one trap has received and not answered."""

    def __init__(self) -> None:
        self.file = os.memfd_create("tesla_trace calls", os.MFD_CLOEXEC)
        os.ftruncate(self.file, PLACE * PLACES)
        self._map = memoryview(mmap.mmap(self.file, PLACE * PLACES))
        self.last = self._map[:PLACE]
        """The notification received last."""
        self._kept: dict[int, Owed] = {}
        self._free: list[int] = []
        self._crowd = CROWD

    def keep(self, call: Owed) -> None:
        """The call received last is not answered yet, and another is about to be received."""
        if len(self._kept) >= self._crowd:
            for gone in [each for each in self._kept.values() if not each.waiting()]:
                self.drop(gone)
            self._crowd = max(CROWD, 2 * len(self._kept))
        place = self._free.pop() if self._free else len(self._kept) + 1
        if place < PLACES:
            self._kept[place] = call
            self._map[place * PLACE : (place + 1) * PLACE] = self.last
            call.place = place

    def drop(self, call: Owed) -> None:
        """The call has been answered, or is gone."""
        place, call.place = call.place, 0
        if self._kept.pop(place, None) is not None:
            self._map[place * PLACE : (place + 1) * PLACE] = bytes(PLACE)
            self._free.append(place)

    def close(self) -> None:
        """Let go of it; nothing is owed any more."""
        self._kept.clear()
        self.last.release()
        self._map.release()
        os.close(self.file)


def owed(file: int) -> list[bytes]:
    """The notifications in a ledger, the one received last first; some may be answered by now."""
    found = [os.pread(file, PLACE, 0)]
    offset = PLACE
    with contextlib.suppress(OSError):  # ENXIO: nothing was written from there on
        while True:
            offset = os.lseek(file, offset, os.SEEK_DATA) // PLACE * PLACE
            block = os.pread(file, PLACE * (mmap.PAGESIZE // PLACE + 1), offset)
            if not block:
                break
            pieces = (block[at : at + PLACE] for at in range(0, len(block), PLACE))
            found += (piece for piece in pieces if any(piece))
            offset += len(block)
    return [each for each in found if any(each)]
