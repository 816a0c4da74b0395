"""Making threads of a process that runs do something: be traced, begin a call again, make one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from tesla_trace.kernel import proc
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.inject import Injection
from tesla_trace.kernel.ptrace.stopping import (
    SOON,
    await_stop,
    begin_again,
    hearing_of_children,
    is_ours,
    living,
    numbers,
    soonest,
    stopped,
)
from tesla_trace.kernel.trap import Gone

FOLLOWED = requests.FOLLOW | requests.SYSGOOD | requests.O_TRACESECCOMP

WAITS_TO_ACCEPT = ("accept", "accept4")


def trace(process: int) -> None:
    """Trace every thread of a process from now on, with a stop at each call.

    Raises:
        PermissionError: it is not ours to trace.
        OSError: ESRCH, it has ended.
    """
    seen: set[int] = set()
    while new := [each for each in living(process) if each not in seen]:
        for thread in new:
            seen.add(thread)
            try:
                _trace(thread)
            except PermissionError:
                if not is_ours(thread):  # it may have been started since by one that is
                    raise
            except (OSError, Gone):  # it has ended, or will stop, and be let go, later
                continue
    if not seen:
        raise ProcessLookupError


def _trace(thread: int) -> None:
    requests.seize(thread, FOLLOWED)
    with hearing_of_children():
        requests.interrupt(thread)
        await_stop(thread, SOON)
    begin_again(Injection(thread))
    requests.resume_to_call(thread)


def nudge(process: int, calls: tuple[str, ...] = WAITS_TO_ACCEPT) -> None:
    """Have the threads of a process that wait in such a call begin it again, under the filter."""
    waiting = numbers(calls)
    for thread in proc.threads(process):
        if proc.call(thread) in waiting:
            with contextlib.suppress(OSError, Gone), stopped(thread):
                pass


def have_called(
    process: int, call: str, all_args: Iterable[tuple[int, ...]], meanwhile: Callable[[], object]
) -> None:
    """Have a thread of a process make calls, which may be trapped.

    Args:
        all_args: of each call; what comes of it does not matter.
        meanwhile: serves what is trapped, and comes back soon.

    Raises:
        OSError: as `install_in`.
    """
    try:
        with stopped(soonest(process)) as thread, _Meanwhile(thread, meanwhile) as injection:
            for args in all_args:
                with contextlib.suppress(OSError):
                    injection.call(call, *args)
    except (Gone, FileNotFoundError):
        raise ProcessLookupError from None


class _Meanwhile(Injection):
    """Serves others while a call has not come to its end."""

    def __init__(self, thread: Injection, meanwhile: Callable[[], object]) -> None:
        super().__init__(thread.thread)
        self._meanwhile = meanwhile

    def _waited(self) -> int:
        while True:
            found, status = os.waitpid(self.thread, os.WNOHANG | requests.WALL)
            if found:
                return status
            self._meanwhile()
