"""Keeping a program from asking without end.

A server that has lost its listener, or a client without a network, may try again at once, for ever:
natively accept(2) would wait, and connect(2) takes its time.  So who is told of a failure time and
again is told later.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable

from tesla_trace.kernel.trap import Stop

AT_ONCE = 16
"""Failures of a thread that are told at once, each within `REST` of the one before."""

REST = 1.0
"""Seconds after which a thread counts as one that has not failed."""

DELAY = 0.1
"""Seconds that each further one takes: nine calls a second, and how late a signal is noticed."""

REMEMBERED = 1024
"""Threads whose failures are counted."""


class Patience:
    """Tells threads that their calls failed.

    Args:
        clock: tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: OrderedDict[int, tuple[int, float]] = OrderedDict()
        self._late: list[tuple[float, int, Stop, int]] = []
        self._order = itertools.count()

    def fail(self, stop: Stop, number: int) -> None:
        """The call fails with this errno, now or later."""
        now = self._clock()
        count, last = self._failed.pop(stop.thread, (0, now))
        count = count + 1 if now - last < REST else 1
        self._failed[stop.thread] = count, now
        if len(self._failed) > REMEMBERED:
            self._failed.popitem(last=False)
        if count <= AT_ONCE:
            stop.fail(number)
        else:
            heapq.heappush(self._late, (now + DELAY, next(self._order), stop, number))

    def wait(self) -> float | None:
        """Seconds until somebody is to be told; None if nobody is."""
        return max(0.0, self._late[0][0] - self._clock()) if self._late else None

    def tell(self) -> None:
        """Tell those whose time has come."""
        while self._late and self._late[0][0] <= self._clock():
            _, _, stop, number = heapq.heappop(self._late)
            stop.fail(number)
