"""The event loop: descriptors, timers, and the trap.

Facts, and what they mean for us (measured, one CPU shared with the program):

- A program that makes one trapped call after the other is served 2 µs faster by poll(2) of two
  descriptors, the trap's and the epoll's, than through epoll(7); a program that moves bytes is
  served one system call sooner if the trap is in the epoll too.  Both ways see the same, so the
  loop takes the one that would have been better for the last few turns.
- The registration of a flow that lives for 100 µs changes several times, often within a turn.  So
  the kernel is told what has become of it once, before the next wait; only a watch that is closed
  leaves at once, for its descriptor's number may pass to another file.
- A close is not trapped; it is seen as a hang-up of the descriptor at our end.  A program that
  closes a socket and at once binds its address again must find it free: so in each turn the trap
  comes last.
- A hang-up is all there is to watch for while a flow may not be read, and an urgent byte comes
  before what is to be read: both are told once, edge-triggered, by an epoll of their own inside the
  first, which is served before all else.
- epoll_wait(2) and poll(2) wait for whole milliseconds, which is too late for a flow that is to go
  at a rate.  So they wait for the whole ones, and the rest is waited for by select(2).
- `selectors` does the same as `select.epoll` in three times the time, 4 µs more for each change and
  each turn.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter

_EXCEPTIONS = (
    (select.EPOLLIN, attrgetter("readable")),
    (select.EPOLLPRI, attrgetter("urgent")),
    (select.EPOLLHUP | select.EPOLLERR, attrgetter("hung_up")),
)
"""What the exceptions are, and whom they concern, in this order."""

# Plain numbers: the arithmetic is done for every event.
READ, WRITE = int(select.EPOLLIN), int(select.EPOLLOUT)

SPIN = 50e-6
"""Seconds that we look without sleeping, where the last thing came as soon: to wake a CPU that has
gone to sleep takes about as long, and an answer over loopback is often there before."""

ABSENT = -1
"""The descriptor of a watch that has none yet."""

ENOUGH = 4
"""Turns in a row of one kind after which the loop waits in the way that suits them."""

MILLISECOND = 1e-3
FD_SETSIZE = 1024
"""Descriptors that select(2) can wait for are below it."""

Call = Callable[[], object]
Failed = Callable[[Exception], object]


def _nothing() -> object: ...


LONGEST = 24 * 3600.0
"""Seconds waited at a time: epoll_wait(2) has no number for more than 24 days of milliseconds."""


def _whole(timeout: float, *fds: int) -> float:
    """Seconds that epoll_wait(2) can wait for; of less than a millisecond, all is waited for here.

    Args:
        fds: what is waited for, too.
    """
    if max(fds) >= FD_SETSIZE:
        return timeout
    if timeout >= MILLISECOND:
        return (int(timeout * 1000) - 0.5) * MILLISECOND  # it is rounded up
    select.select(fds, (), (), timeout)
    return 0


class Alarm:
    """A call that is to come."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Call | None = call

    def cancel(self) -> None:
        """Never call; nothing happens if that is too late."""
        self.call = None


class Watch:
    """One descriptor that the loop watches.

    It starts out watched for nothing; `close` before the descriptor is closed.
    """

    __slots__ = (
        "_expecting",
        "_loop",
        "_mask",
        "_registered",
        "failed",
        "fd",
        "hung_up",
        "readable",
        "urgent",
        "writable",
    )

    def __init__(self, loop: Loop, fd: int) -> None:
        self._loop = loop
        self._mask = 0
        self._registered = 0
        """What of the mask the kernel has been told."""
        self._expecting = False
        self.fd = fd
        self.readable = self.writable = self.hung_up = self.urgent = _nothing
        self.failed: Failed = loop.failed

    def call(
        self,
        readable: Call,
        writable: Call,
        hung_up: Call,
        urgent: Call,
        failed: Failed | None = None,
    ) -> None:
        """Whom to call from now on.

        Args:
            failed: told of what one of them raises; without it, the loop's.
        """
        self.readable, self.writable = readable, writable
        self.hung_up, self.urgent = hung_up, urgent
        self.failed = failed or self._loop.failed

    def attach(self, fd: int) -> None:
        """The descriptor is there only now: it was `ABSENT`."""
        self.fd = fd

    def want(self, event: int, wanted: bool) -> None:
        """Be told of `event`, READ or WRITE, as long as it holds; or not."""
        mask = self._mask | event if wanted else self._mask & ~event
        if mask != self._mask:
            if self._mask == self._registered:
                self._loop.changed.append(self)
            self._mask = mask

    def settle(self) -> None:
        """Tell the kernel what is wanted by now."""
        mask, before = self._mask, self._registered
        if mask == before:
            return
        if not before:
            self._loop.epoll.register(self.fd, mask)
            self._loop.watched[self.fd] = self
        elif mask:
            self._loop.epoll.modify(self.fd, mask)
        else:
            self._loop.epoll.unregister(self.fd)
            del self._loop.watched[self.fd]
        self._registered = mask

    def expect_exceptions(self) -> None:
        """Call `hung_up` once if the other side goes away, and `urgent` for an urgent byte."""
        if not self._expecting:
            self._expecting = True
            self._loop.expecting[self.fd] = self
            self._loop.exceptions.register(self.fd, select.EPOLLPRI | select.EPOLLET)

    def expect_input(self) -> None:
        """Call `readable` as soon as an exception would be told of: before all else."""
        self._expecting = True
        self._loop.expecting[self.fd] = self
        self._loop.exceptions.register(self.fd, select.EPOLLIN)

    def wants(self, event: int) -> bool:
        """Whether `event` is wanted now."""
        return bool(self._mask & event)

    def close(self) -> None:
        """Watch no more."""
        self._mask = 0
        self.settle()
        if self._expecting:
            self._expecting = False
            del self._loop.expecting[self.fd]
            self._loop.exceptions.unregister(self.fd)


class Loop:
    """Calls back when descriptors are ready and when times have come; see `flow.Clock`.

    Args:
        failed: told of what a callback raises, which is a bug; the others go on.
    """

    def __init__(self, failed: Failed) -> None:
        self.failed = failed
        self.epoll = select.epoll()
        self.watched: dict[int, Watch] = {}
        """By descriptor, who is to be told of what `epoll` says."""
        self.changed: list[Watch] = []
        """Watches that want something else than the kernel knows."""
        self.exceptions = select.epoll()
        self.expecting: dict[int, Watch] = {}
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._soon: deque[Alarm] = deque()
        self._idle: deque[Call] = deque()
        self._order = itertools.count()
        self._running = False
        self._traps: dict[int, Call] = {}
        self._only_trap: int | None = None
        """The trap's descriptor, where there is just one."""
        self._only: tuple[int, ...] = ()
        self._poll = select.poll()
        self._poll.register(self.epoll.fileno(), select.POLLIN)
        self._trap_first = False
        self._spins = False
        self._runs = 0
        """Turns in a row that the other way of waiting would have been better for."""
        self._exceptional = self.exceptions.fileno()
        self.on_readable(self._exceptional, self.serve_exceptions)

    # ---- Clock ----

    def now(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return time.monotonic()

    def at(self, when: float, call: Call) -> Alarm:
        """Call `call` once, on the first turn after this one with `now() >= when`."""
        alarm = Alarm(call)
        if when <= time.monotonic():
            self._soon.append(alarm)
        else:
            heapq.heappush(self._alarms, (when, next(self._order), alarm))
        return alarm

    def when_idle(self, call: Call) -> None:
        """Call `call` once, when nothing else is to be done; one such call in a turn."""
        self._idle.append(call)

    # ---- descriptors ----

    def watch(self, fd: int) -> Watch:
        """Watch `fd`, for nothing to begin with."""
        return Watch(self, fd)

    def on_readable(self, fd: int, readable: Call) -> Watch:
        """Call `readable` whenever `fd` can be read."""
        watch = Watch(self, fd)
        watch.readable = readable
        watch.want(READ, True)
        return watch

    def watch_trap(self, fd: int, trapped: Call) -> None:
        """Call `trapped` when `fd` is readable, after all else that is ready."""
        self._put_trap_last()
        self._traps[fd] = trapped
        self.epoll.register(fd, READ)
        self._count_traps()

    def forget_trap(self, fd: int) -> None:
        """Watch that trap no more."""
        if fd in self._traps:
            self._put_trap_last()
            del self._traps[fd]
            self.epoll.unregister(fd)
            self._count_traps()

    def _count_traps(self) -> None:
        """Only one that is alone is worth a way of waiting of its own."""
        if self._only_trap is not None:
            self._poll.unregister(self._only_trap)
        self._only = tuple(self._traps) if len(self._traps) == 1 else ()
        self._only_trap = self._only[0] if self._only else None
        if self._only_trap is not None:
            self._poll.register(self._only_trap, select.POLLIN)

    def serve_exceptions(self) -> None:
        """Tell of what has hung up by now, and of urgent bytes."""
        for fd, state in self.exceptions.poll(0):
            for bit, which in _EXCEPTIONS:
                if state & bit and (watch := self.expecting.get(fd)):
                    try:
                        which(watch)()
                    except Exception as wrong:
                        watch.failed(wrong)

    # ---- running ----

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        while self._running:
            self.turn(self._patience())

    def stop(self) -> None:
        """End `run` after this turn."""
        self._running = False

    def turn(self, timeout: float | None) -> None:
        """Wait for something to happen, for `timeout` seconds at the most, and serve it."""
        if self.changed:
            self._settle()
        if self._trap_first:
            trapped: Sequence[int] = self._turn_for_trap(timeout)
        else:
            events = self._wait(timeout)
            trapped = self._serve(events)
            self._runs = self._runs + 1 if trapped and len(events) == 1 else 0
            if self._runs >= ENOUGH and self._only_trap is not None:
                self._put_trap_first()
        if self._soon or self._alarms and self._alarms[0][0] <= time.monotonic():
            self._ring()
        for fd in trapped:
            call = self._traps.get(fd)
            if call is not None:
                try:
                    call()
                except Exception as wrong:
                    self.failed(wrong)

    def _settle(self) -> None:
        changed, self.changed = self.changed, []
        for watch in changed:
            try:
                watch.settle()
            except OSError as wrong:
                self.failed(wrong)

    def _wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """What is ready; we look without sleeping for a moment, if that paid the last time."""
        poll = self.epoll.poll
        if self._idle and timeout != 0:
            if events := poll(0):
                return events
            self._idle_away()
        begun = time.monotonic()
        if self._spins and timeout != 0:
            while time.monotonic() - begun < SPIN:
                if events := poll(0):
                    return events
                os.sched_yield()  # whoever wants this CPU has it
        if timeout:
            timeout = _whole(timeout, self.epoll.fileno())
        events = poll(timeout)
        self._spins = time.monotonic() - begun < SPIN
        return events

    def _idle_away(self) -> None:
        if self._idle:
            try:
                self._idle.popleft()()
            except Exception as wrong:
                self.failed(wrong)

    def _turn_for_trap(self, timeout: float | None) -> Sequence[int]:
        ready = self._poll.poll(0) if self._idle else []
        if not ready:
            self._idle_away()
            if timeout:
                timeout = _whole(timeout, self.epoll.fileno(), *self._only)
            ready = self._poll.poll(None if timeout is None else timeout * 1000)
        if len(ready) == 1 and ready[0][0] == self._only_trap:
            self._runs = 0
            return self._only
        trapped: Sequence[int] = ()
        for fd, _ in ready:
            if fd == self._only_trap:
                trapped = self._only
            else:
                self._serve(self.epoll.poll(0))
        self._runs = 0 if trapped else self._runs + 1
        if self._runs == ENOUGH:
            self._put_trap_last()
        return trapped

    def _put_trap_first(self) -> None:
        assert self._only_trap is not None
        self.epoll.unregister(self._only_trap)
        self._trap_first, self._runs = True, 0

    def _put_trap_last(self) -> None:
        if self._trap_first and self._only_trap is not None:
            self.epoll.register(self._only_trap, READ)
        self._trap_first, self._runs = False, 0

    def _serve(self, events: list[tuple[int, int]]) -> list[int]:
        trapped = []
        if len(events) > 1 and any(fd == self._exceptional for fd, _ in events):
            self.serve_exceptions()  # first: they say what is special about what is to be read
        for fd, state in events:
            if fd in self._traps:
                trapped.append(fd)
                continue
            watch = self.watched.get(fd)
            if watch is None:
                continue
            # What was ready may be wanted no more, by what was served before it; a hang-up and an
            # error are for whoever reads or writes.
            try:
                if state & ~WRITE and watch.wants(READ):
                    watch.readable()
                if state & ~READ and watch.wants(WRITE):
                    watch.writable()
            except Exception as wrong:
                watch.failed(wrong)
        return trapped

    def _patience(self) -> float | None:
        """Seconds until the next alarm; None for ever."""
        if self._soon:
            return 0
        while self._alarms and self._alarms[0][2].call is None:
            heapq.heappop(self._alarms)
        if not self._alarms:
            return None
        return min(max(0.0, self._alarms[0][0] - time.monotonic()), LONGEST)

    def _ring(self) -> None:
        due = list(self._soon)
        self._soon.clear()
        now = time.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            due.append(heapq.heappop(self._alarms)[2])
        for alarm in due:
            if alarm.call is not None:
                call, alarm.call = alarm.call, None
                try:
                    call()
                except Exception as wrong:
                    self.failed(wrong)
