"""Stopping a thread of a process that runs, for a moment.

Facts, and what they mean for us:

- Some calls end with EINTR when their thread is stopped, though no signal is there for it
  (signal(7)): programs do not expect it.  With -ERESTARTNOHAND in its place the kernel makes the
  call again, but gives EINTR where a handler of the program's is to run.
- A thread that waits in the kernel for its child of vfork(2), for a disk or NFS, does not stop
  before that is over.
- When another thread calls execve(2), the first thread is gone without a word, and the other one,
  which nobody traces, has its number: a wait for that number that sleeps is never woken.  So no
  wait of ours sleeps on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from functools import cache

from tesla_trace.kernel import proc
from tesla_trace.kernel.arches import arches
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.inject import Injection
from tesla_trace.kernel.trap import Gone

SOON = 0.2
"""Seconds in which a thread is to stop, where it can be tried again."""

ROUSED = 0.02
"""Seconds after which a wait looks whether there is still something to wait for."""

EINTR, ERESTARTNOHAND = 4, 514

GONE = ("Z", "X", "")

AGAIN = (
    "epoll_wait epoll_pwait epoll_pwait2 accept accept4 recvfrom recvmsg recvmmsg semop semtimedop"
    " rt_sigtimedwait"
).split()
"""Calls that end with EINTR when their thread is stopped, and have done nothing by then."""


@contextlib.contextmanager
def stopped(thread: int, patience: float = SOON, call: int = 0) -> Iterator[Injection]:
    """Stop a thread, and let it go on as if nothing had been.

    Args:
        call: where an instruction is that makes a call, if that is known.

    Raises:
        PermissionError: it is not ours to trace.
        TimeoutError: it has not stopped.
        OSError: ESRCH, it has ended.
        Gone: likewise.
    """
    requests.seize(thread, requests.SYSGOOD)
    with hearing_of_children():
        requests.interrupt(thread)
        await_stop(thread, patience)
    try:
        injection = _Roused(thread, instruction=call)
        begin_again(injection)
        yield injection
    finally:
        with contextlib.suppress(ProcessLookupError):
            requests.detach(thread)


@contextlib.contextmanager
def hearing_of_children() -> Iterator[None]:
    """Have SIGCHLD wait until it is asked for."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def await_stop(thread: int, patience: float) -> None:
    """Wait until a thread that was interrupted has stopped.

    Raises:
        ProcessLookupError: it has ended.
        TimeoutError: it has not stopped in so many seconds.
    """
    end = time.monotonic() + patience
    while True:
        try:
            found, status = os.waitpid(thread, os.WNOHANG | requests.WALL)
        except ChildProcessError:  # another thread has its number
            raise ProcessLookupError from None
        if found:
            if not os.WIFSTOPPED(status):
                raise ProcessLookupError
            if requests.event(status) == requests.EVENT_STOP:
                return
            requests.resume(thread, os.WSTOPSIG(status))  # a signal that came first
        elif (rest := end - time.monotonic()) <= 0:
            raise TimeoutError
        else:
            signal.sigtimedwait([signal.SIGCHLD], rest)


def begin_again(injection: Injection) -> None:
    """Have a call that has been ended by our stop begin again: see the facts."""
    layout, words = injection.layout, injection.words
    if layout.begun is None or layout.returned(words) != -EINTR:
        return
    if words[layout.begun] in numbers(tuple(AGAIN)) and layout.audit == arches()[0].audit:
        layout.with_result(words, -ERESTARTNOHAND)
        requests.set_registers(injection.thread, layout.pack(words))


def living(process: int) -> list[int]:
    """The threads of a process that have not ended."""
    return [each for each in proc.threads(process) if proc.state(each) not in GONE]


def soonest(process: int) -> int:
    """The thread of a process that will stop soonest.

    Raises:
        ProcessLookupError: there is none.
    """
    threads = living(process)
    if not threads:
        raise ProcessLookupError
    return min(threads, key=lambda each: proc.state(each) == "D")


def is_ours(thread: int) -> bool:
    """Whether a thread is traced by us, or has ended."""
    try:
        return proc.status(thread).get("TracerPid") == str(os.getpid())
    except OSError:
        return True


def let_go() -> None:
    """Let threads go on that have stopped too late, when nobody waited for it any more."""
    with contextlib.suppress(ChildProcessError):
        while (changed := os.waitpid(-1, os.WNOHANG | requests.WALL))[0]:
            thread, status = changed
            if os.WIFSTOPPED(status):
                with contextlib.suppress(OSError):
                    requests.detach(thread, 0 if requests.event(status) else os.WSTOPSIG(status))


class _Roused(Injection):
    """Does not sleep on when its thread has gone without a word."""

    def _waited(self) -> int:
        with hearing_of_children():
            while True:
                found, status = os.waitpid(self.thread, os.WNOHANG | requests.WALL)
                if found:
                    return status
                late = signal.sigtimedwait([signal.SIGCHLD], ROUSED) is None
                if late and not is_ours(self.thread):
                    raise Gone  # and a child of ours, or it would be ECHILD


@cache
def numbers(calls: tuple[str, ...]) -> frozenset[int]:
    """Of calls that this machine's own programs make."""
    found = (arches()[0].number(call) for call in calls)
    return frozenset(each for each in found if each is not None)
