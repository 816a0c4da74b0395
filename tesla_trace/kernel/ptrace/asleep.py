"""A call that is held for long, as the wait in the kernel that it would be natively.

Facts, and what they mean for us:

- A thread that is stopped by ptrace sees no signal but SIGKILL, and is seen as stopped (state t).
  So a call that is held is made one that waits for ever, ppoll(2) of nothing: the thread sleeps, is
  seen to, and wakes up for whatever it would wake up for.
- A signal stops it for us before it is delivered.  One that does something ends the call: then the
  registers are made those of the call itself.  One that does nothing leaves it asleep: ppoll begins
  again by itself, as it does when the process was stopped and is continued.
- A filter of the program's own may have something against ppoll.  So a thread that is under others
  than ours stays stopped, and is looked at now and then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from tesla_trace.kernel import proc
from tesla_trace.kernel.arches import arches
from tesla_trace.kernel.pending import STOPS
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.registers import layout
from tesla_trace.kernel.ptrace.tracee import Tracee

NOTHING = (0, 0, 0, 0, 0, 0)


class Roused(NamedTuple):
    """Why a thread has woken up."""

    ended: int | None = None
    """Its wait status: it has died."""
    signal: int = 0
    """The signal that it stopped for."""
    replaced: bool = False
    """It is gone: see `inject.Injection`."""


def fall_asleep(tracee: Tracee, audit: int) -> bytes:
    """Let a thread that stopped where its call begins sleep until `rouse`.

    Returns:
        Its registers as they were; none where it stays stopped.
    """
    with suppress(OSError, KeyError, ValueError):
        if int(proc.status(tracee.thread).get("Seccomp_filters", "0")) > tracee.filters:
            return b""
        number = _waiting(audit)
        before = requests.registers(tracee.thread)
        places = layout(audit, len(before))
        words = places.unpack(before)
        places.with_call(words, number, NOTHING)
        requests.set_registers(tracee.thread, places.pack(words))
        if places.begun is None:
            requests.set_call(tracee.thread, number)
        requests.resume(tracee.thread)
        return before
    return b""


@cache
def _waiting(audit: int) -> int:
    number = next(each for each in arches() if each.audit == audit).number("ppoll")
    if number is None:
        raise KeyError(audit)
    return number


def rouse(tracee: Tracee, event: Callable[[int], int]) -> Roused | None:
    """Stop a thread that is asleep; None if it is gone, and that is still to be heard.

    Args:
        event: gives the next wait status of a thread.
    """
    try:
        requests.interrupt(tracee.thread)
    except ProcessLookupError:
        return None
    status = event(tracee.thread)
    if not os.WIFSTOPPED(status):
        return Roused(ended=status)
    number = os.WSTOPSIG(status)
    if requests.event(status) == requests.EVENT_EXEC:
        return Roused(replaced=True)
    if requests.event(status) or number == requests.SIGTRAP_AT_CALL:
        # In a stop of its process it sees that one again, once it goes on: we have asked for one.
        if number in STOPS:
            requests.interrupt(tracee.thread)
        return Roused()
    return Roused(signal=number)
