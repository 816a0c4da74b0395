"""Calls that wait for something: a blocking connect or accept.

Why they are looked at now and then: the facts in kernel/pending.py.
"""

from __future__ import annotations

import socket as sockets
import struct
import time
from collections.abc import Callable
from errno import EINTR

from tesla_trace.io.loop import Alarm, Loop
from tesla_trace.kernel.trap import Stop

GLANCE = 0.02
"""Seconds between looks: the delay of a Ctrl-Z.  A look at one call takes some 50 µs."""


SHARE = 0.05
"""Of our time, what the looks may take: with many calls there is longer between them.  Only what
we work counts: on a busy machine others have the CPU for some milliseconds of a look, and a Ctrl-Z
would have to wait for twenty times as long."""

_TIMEVAL = struct.Struct("ll")


def time_limit(app: sockets.socket, option: int) -> float:
    """SO_RCVTIMEO or SO_SNDTIMEO, which the pair keeps, in seconds; 0 for none."""
    seconds, micro = _TIMEVAL.unpack(app.getsockopt(sockets.SOL_SOCKET, option, _TIMEVAL.size))
    return float(seconds + micro / 1e6)


def _nothing(stop: Stop) -> None: ...


class Waiting:
    """A call that waits.

    Args:
        limit: seconds that it may wait; 0 for ever.
        late: the errno that it fails with then.
        dropped: told of a call that goes away without what it waited for; True if it has answered
            it.
        retry: tried at each look; True when it has answered the call.
    """

    def __init__(
        self,
        stop: Stop,
        limit: float,
        late: int,
        dropped: Callable[[Stop], object] = _nothing,
        retry: Callable[[], bool] | None = None,
    ) -> None:
        self.stop = stop
        self.limit = limit
        self.late = late
        self.dropped = dropped
        self.retry = retry
        self.alarm: Alarm | None = None
        """Rings when the time is over."""


class Held:
    """All calls that wait.

    Args:
        worked: seconds for which we have had a CPU.
    """

    def __init__(self, loop: Loop, worked: Callable[[], float] = time.thread_time) -> None:
        self._loop = loop
        self._worked = worked
        self._all: dict[Stop, Waiting] = {}
        self._by_thread: dict[int, Stop] = {}
        self._alarm: Alarm | None = None

    def hold(self, waiting: Waiting) -> None:
        """Let a call wait until `release`, its deadline, or a signal."""
        self._all[waiting.stop] = waiting
        self._by_thread[waiting.stop.thread] = waiting.stop
        waiting.stop.held()
        if waiting.limit:
            late = self._loop.now() + waiting.limit
            waiting.alarm = self._loop.at(late, lambda: self._expire(waiting))
        if self._alarm is None:
            self._alarm = self._loop.at(self._loop.now() + GLANCE, self._look)

    def release(self, stop: Stop) -> None:
        """The call is about to be answered."""
        waiting = self._all.pop(stop, None)
        if waiting is not None:
            if self._by_thread.get(stop.thread) is stop:
                del self._by_thread[stop.thread]
            if waiting.alarm is not None:
                waiting.alarm.cancel()

    def calls(self, thread: int) -> None:
        """A thread makes a call: it does not wait in another any more."""
        stop = self._by_thread.get(thread)
        if stop is not None:
            self._drop(self._all[stop])

    def drop_gone(self) -> None:
        """Let those calls go whose callers are gone: what trapped them is about to close."""
        for stop, waiting in list(self._all.items()):
            if not stop.waiting():
                self._drop(waiting)

    def clear(self) -> None:
        """Nobody is left to be answered."""
        for stop in list(self._all):
            self.release(stop)

    def _drop(self, waiting: Waiting) -> bool:
        """Let a call go; whether it has been answered."""
        self.release(waiting.stop)
        return waiting.dropped(waiting.stop) is True

    def _expire(self, waiting: Waiting) -> None:
        """Its time is over."""
        if not self._drop(waiting):
            waiting.stop.fail(waiting.late)

    def _look(self) -> None:
        begun = self._worked()
        for stop, waiting in list(self._all.items()):
            if not stop.waiting():
                self._drop(waiting)
            elif waiting.retry is not None and waiting.retry():
                self.release(stop)
            elif stop.interrupted():
                if self._drop(waiting):
                    continue
                if waiting.limit:  # EINTR even under SA_RESTART, where there is a time limit
                    stop.fail(EINTR)
                else:
                    stop.restart()
        patience = max(GLANCE, (self._worked() - begun) / SHARE)
        again = self._loop.now() + patience
        self._alarm = self._loop.at(again, self._look) if self._all else None
