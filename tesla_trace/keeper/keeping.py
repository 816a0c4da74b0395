"""Answering the trapped calls of a program whose supervisor has died.

Facts, besides those of `kernel.ledger`: a call that the dead one was about to answer may have its
descriptor already; it is answered once more.  What is received at the same moment has a number a
little above that of the last one in the ledger, for calls that a signal has taken away meanwhile
have had numbers too.

The listener hangs up a moment before the parent of the last process hears of its end.  Calls that
are to be told later are over by then, and the listener's number may soon be another file's.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tesla_trace.keeper.answers import ANSWERS, OnCrash
from tesla_trace.keeper.patience import Patience
from tesla_trace.kernel.ledger import owed
from tesla_trace.kernel.notified import NotifyStop
from tesla_trace.kernel.notify import NotifyTrap
from tesla_trace.kernel.trap import Gone

Calls = Mapping[int, Mapping[int, str]]
"""By the audit architecture, the name of each trapped call's number."""

NEXT = 1024
"""Numbers above the last known one that are tried: 3 µs each."""

_ID = struct.Struct("=Q")


class Kept(NamedTuple):
    """A trap that somebody serves, or used to."""

    listener: int
    ledger: int
    """The file of its ledger; -1: nobody has received anything."""
    calls: Calls

    def close(self) -> None:
        """Nobody is left whose calls come by it."""
        os.close(self.listener)
        if self.ledger >= 0:
            os.close(self.ledger)


class Keeping:
    """Answers the calls that come by all of the traps, until no process is left.

    Args:
        poll: where the traps are to be registered.
    """

    def __init__(self, policy: OnCrash, poll: select.poll) -> None:
        self._policy = policy
        self._answer = ANSWERS[policy]
        self._traps: dict[int, tuple[NotifyTrap, Patience]] = {}
        self._poll = poll

    @property
    def over(self) -> bool:
        """Whether no process is left."""
        return not self._traps

    def take_over(self, kept: Kept) -> None:
        """Answer what waits, and from now on whatever comes."""
        trap, patience = NotifyTrap(kept.listener, kept.calls), Patience(time.monotonic)
        self._traps[kept.listener] = trap, patience
        self._poll.register(kept.listener, select.POLLIN)
        if kept.ledger < 0:
            return
        told = owed(kept.ledger)
        os.close(kept.ledger)
        for each in told:
            self._serve(trap.received(each), patience)
        if told:
            self._serve_unseen(trap, _ID.unpack_from(told[0])[0])

    def _serve_unseen(self, trap: NotifyTrap, last: int) -> None:
        """Answer the call that was received and not written down, if there is one."""
        for number in range(last + 1, last + 1 + NEXT):
            stop = trap.unseen(_ID.pack(number % 2**64))
            if stop is not None:
                if self._policy is OnCrash.OPEN:
                    stop.proceed()
                else:
                    stop.fail(errno.ENETDOWN)
                break

    def _serve(self, stop: NotifyStop | None, patience: Patience) -> None:
        if stop is None or not stop.waiting():
            return
        try:
            self._answer(stop, patience.fail)
        except Gone:
            pass
        except Exception:  # never let through because something went wrong
            stop.fail(errno.ENETDOWN)

    def wait(self) -> float | None:
        """Milliseconds after which `serve` is to be called, whatever happens; None for never."""
        waits = [patience.wait() for _, patience in self._traps.values()]
        late = min((each for each in waits if each is not None), default=None)
        return None if late is None else 1000 * late + 1

    def serve(self, ready: Iterable[tuple[int, int]]) -> None:
        """Answer what these descriptors have that polled so, and what is late."""
        for fd, _ in ready:
            if fd in self._traps:
                trap, patience = self._traps[fd]
                try:
                    self._serve(trap.next(), patience)
                except EOFError:
                    self._poll.unregister(fd)
                    del self._traps[fd]
                    trap.close()
        for _, patience in self._traps.values():
            patience.tell()


def keep(all_kept: Iterable[Kept], policy: OnCrash) -> None:
    """Answer the calls of all these traps until no process is left: a whole process's work.

    All signals are to be blocked.
    """
    poll = select.poll()
    keeping = Keeping(policy, poll)
    for kept in all_kept:
        keeping.take_over(kept)
    while not keeping.over:
        keeping.serve(poll.poll(keeping.wait()))
