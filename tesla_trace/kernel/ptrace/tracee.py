"""One thread that is traced: where it stands, and how it goes on.

Facts, and what they mean for us:

- A filter that says RET_TRACE stops the thread once, where the call begins; resumed, it stops again
  at its next such call only.  Without a filter each call stops twice, where it begins and where it
  ends.
- A thread that stops so sees no signal but SIGKILL until it is resumed.
- Whether an interrupted call is made again the kernel decides by its result and its number when it
  next looks for signals.  A call that was skipped has no number by then.  So to have one end as by
  a signal, it is skipped, and where it ends both are set.  That the kernel looks, be there a signal
  or not, is made sure by one more stop (PTRACE_INTERRUPT): so nobody ever sees errno 512.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tesla_trace.kernel.arches import arches
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.registers import LAYOUTS, Layout, layout

if TYPE_CHECKING:
    from tesla_trace.kernel.ptrace.stop import PtraceStop

ERESTARTSYS = 512


class Poked(NamedTuple):
    """Where struct user has what is set for every call, on machines on which that can be poked."""

    begun: int
    result: int
    mask: int


def _poked() -> Poked | None:
    machine = arches()[0]
    places = next((each for each in LAYOUTS if each.audit == machine.audit), None)
    if places is None or places.begun is None:
        return None
    word = places.word
    return Poked(places.begun * word, places.result * word, places.mask)


POKED = _poked()
"""Of 32-bit programs too, for it is the tracer's struct: two requests where all registers take
longer to read, change and write."""
BEGUN, RESULT, MASK = POKED or Poked(0, 0, 0)


class Tracee:
    """A thread of the program.

    Args:
        everywhere: it stops at every call, rather than where a filter says so.
        filters: how many filters it is under at most, if none is its own.
    """

    __slots__ = ("at_end", "everywhere", "filters", "listening", "passing", "stop", "thread")

    def __init__(self, thread: int, *, everywhere: bool, filters: int = 0) -> None:
        self.thread = thread
        self.filters = filters
        self.everywhere = everywhere
        self.stop: PtraceStop | None = None
        """The stop that waits for its answer."""
        self.listening = False
        """Whether it is in a stop of its whole process."""
        self.passing = False
        """Whether it is to make the call that it is about to begin."""
        self.at_end: Callable[[], None] | None = None
        """What is to be done where its present call ends."""

    def go(self, signal: int = 0) -> None:
        """Let it go on to where it is to stop."""
        try:
            if self.everywhere or self.at_end is not None:
                requests.resume_to_call(self.thread, signal)
            else:
                requests.resume(self.thread, signal)
        except ProcessLookupError:  # killed: wait(2) tells
            pass

    def listen(self) -> None:
        """Leave it in the stop of its process."""
        self.listening = True
        with contextlib.suppress(ProcessLookupError):
            requests.listen(self.thread)

    def restore(self, data: bytes) -> None:
        """Have these registers, as at the end of a call."""
        with contextlib.suppress(ProcessLookupError):
            requests.set_registers(self.thread, data)

    def answer(self, audit: int, value: int, *, over: bool, signal: int = 0) -> None:
        """The call that it stopped at gives `value`, and it goes on.

        Args:
            audit: the set of calls that it is of.
            over: the call has ended by now, rather than not begun.
            signal: what it has stopped for.
        """
        self.stop = None
        try:
            if POKED is not None:
                requests.poke(self.thread, BEGUN, MASK)
                requests.poke(self.thread, RESULT, value & MASK)
            else:
                self._set_result(audit, value, over=over)
        except ProcessLookupError:
            pass
        self.go(signal)

    def _set_result(self, audit: int, value: int, *, over: bool) -> None:
        data = requests.registers(self.thread)
        places = layout(audit, len(data))
        words = places.unpack(data)
        places.with_result(words, value)
        places.skipped(words)
        requests.set_registers(self.thread, places.pack(words))
        if not over and places.begun is None:
            requests.set_call(self.thread, -1)

    def begin_again(self, audit: int, number: int, *, over: bool, signal: int = 0) -> None:
        """The call ends as by a signal."""
        if over:
            self._interrupted(audit, number, signal)
        else:
            self.at_end = lambda: self._interrupted(audit, number, signal)
            self.answer(audit, -ERESTARTSYS, over=False)

    def _interrupted(self, audit: int, number: int, signal: int) -> None:
        self.stop = None
        with contextlib.suppress(ProcessLookupError):
            data = requests.registers(self.thread)
            places: Layout = layout(audit, len(data))
            words = places.unpack(data)
            places.with_result(words, -ERESTARTSYS)
            if places.begun is not None:
                words[places.begun] = number
            requests.set_registers(self.thread, places.pack(words))
            if places.begun is None:
                requests.set_call(self.thread, number)
            requests.interrupt(self.thread)
        self.go(signal)
