"""Putting a process that runs under a filter, and getting hold of the listener.

Facts, and what they mean for us:

- seccomp(2) with TSYNC puts all threads of a process under the filter at once; so one of them is
  stopped, and made to call it.  With TSYNC the result may be a thread's number, not with
  TSYNC_ESRCH.
- Without CAP_SYS_ADMIN it takes the promise of PR_SET_NO_NEW_PRIVS, which is for ever: sudo works
  no more in such a process.  So it is given only where the kernel asks for it.
- The program of the filter takes 1.5 KiB and more of the process's memory.  Below the stack pointer
  there may be a few hundred bytes (a goroutine, an alternate signal stack): so it gets a page of
  its own, for as long as it is stopped.
- Other threads run on, and may make a call that is trapped before anybody serves it: they wait.
  What we do meanwhile goes by numbers and memory of the stopped thread, and waits for nobody.
- Some calls end with EINTR when their thread is stopped, though no signal is there for it
  (signal(7)): programs do not expect it.  With -ERESTARTNOHAND in its place the kernel makes the
  call again, but gives EINTR where a handler of the program's is to run.
- A thread that waits in the kernel for its child of vfork(2), for a disk or NFS, does not stop
  before that is over.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from tesla_trace.kernel import memory, proc
from tesla_trace.kernel.arches import arches
from tesla_trace.kernel.libc import PR_SET_NO_NEW_PRIVS, pidfd_getfd
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.inject import Injection
from tesla_trace.kernel.spawn import (
    FLAG_NEW_LISTENER,
    FLAG_WAIT_KILLABLE_RECV,
    INSTRUCTION,
    SECCOMP_SET_MODE_FILTER,
)
from tesla_trace.kernel.thread import open_pidfd
from tesla_trace.kernel.trap import Gone

FLAG_TSYNC, FLAG_TSYNC_ESRCH = 1 << 0, 1 << 4
FLAGS = FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV | FLAG_TSYNC | FLAG_TSYNC_ESRCH

PATIENCE = 2.0
"""Seconds in which one of the threads is to stop."""

SOON = 0.2
"""Seconds in which one is to, where it can be tried again."""

SPIN = 0.0005
"""Seconds in which it nearly always does, and we look without a pause."""

PAUSE = 0.001
"""Seconds between two looks after that."""

PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS = 3, 0x22

EINTR, ERESTARTNOHAND = 4, 514

AGAIN = (
    "epoll_wait epoll_pwait epoll_pwait2 accept accept4 recvfrom recvmsg recvmmsg semop semtimedop"
    " rt_sigtimedwait"
).split()
"""Calls that end with EINTR when their thread is stopped, and have done nothing by then."""

WAITS_TO_ACCEPT = ("accept", "accept4")


def install_in(process: int, bpf: bytes) -> int:
    """Put every thread of a process under the filter.

    Returns:
        The listener; close-on-exec.

    Raises:
        PermissionError: it is not ours to trace.
        TimeoutError: none of its threads has stopped.
        OSError: ESRCH, it has ended; as seccomp(2), mmap(2).
    """
    try:
        with _one_stopped(process) as thread, thread as injection:
            pidfd = open_pidfd(injection.thread)
            try:
                return _install(injection, pidfd, bpf)
            finally:
                os.close(pidfd)
    except Gone:
        raise ProcessLookupError from None


def nudge(process: int, calls: tuple[str, ...] = WAITS_TO_ACCEPT) -> None:
    """Have the threads of a process that wait in such a call begin it again, under the filter."""
    numbers = _numbers(calls)
    for thread in proc.threads(process):
        if proc.call(thread) in numbers:
            with contextlib.suppress(OSError, Gone), _stopped(thread):
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
        with _one_stopped(process, SOON) as thread, _Meanwhile(thread, meanwhile) as injection:
            for args in all_args:
                with contextlib.suppress(OSError):
                    injection.call(call, *args)
    except Gone:
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


def let_go() -> None:
    """Let threads go on that have stopped too late, when nobody waited for it any more."""
    with contextlib.suppress(ChildProcessError):
        while (changed := os.waitpid(-1, os.WNOHANG | requests.WALL))[0]:
            thread, status = changed
            if os.WIFSTOPPED(status):
                with contextlib.suppress(OSError):
                    requests.detach(thread, 0 if requests.event(status) else os.WSTOPSIG(status))


def _install(injection: Injection, pidfd: int, bpf: bytes) -> int:
    narrow = injection.layout.word == 4
    head = struct.pack("=HxxI" if narrow else "=H6xQ", len(bpf) // INSTRUCTION, 0)
    size = len(head) + len(bpf)
    page = injection.call(
        "mmap2" if narrow else "mmap", 0, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0
    )
    page &= injection.layout.mask
    try:
        head = struct.pack(
            "=HxxI" if narrow else "=H6xQ", len(bpf) // INSTRUCTION, page + len(head)
        )
        memory.write(injection.thread, page, head + bpf)
        words = ("seccomp", SECCOMP_SET_MODE_FILTER, FLAGS, page)
        try:
            fd = injection.call(*words)
        except PermissionError:
            injection.call("prctl", PR_SET_NO_NEW_PRIVS, 1)
            fd = injection.call(*words)
        try:
            return pidfd_getfd(pidfd, fd)
        finally:
            injection.call("close", fd)
    finally:
        injection.call("munmap", page, size)


@contextlib.contextmanager
def _one_stopped(process: int, patience: float = PATIENCE) -> Iterator[Injection]:
    """Stop the thread of a process that will do so soonest."""
    threads = [each for each in proc.threads(process) if proc.state(each) not in ("Z", "X", "")]
    threads.sort(key=lambda each: proc.state(each) == "D")
    if not threads:
        raise ProcessLookupError
    with _stopped(threads[0], patience) as injection:
        yield injection


@contextlib.contextmanager
def _stopped(thread: int, patience: float = SOON) -> Iterator[Injection]:
    """Stop a thread, and let it go on as if nothing had been.

    Raises:
        PermissionError: it is not ours to trace.
        TimeoutError: it has not stopped.
        OSError: ESRCH, it has ended.
        Gone: likewise.
    """
    requests.seize(thread, requests.SYSGOOD)
    requests.interrupt(thread)
    _await_stop(thread, patience)
    try:
        injection = Injection(thread)
        _begin_again(injection)
        yield injection
    finally:
        with contextlib.suppress(ProcessLookupError):
            requests.detach(thread)


def _await_stop(thread: int, patience: float) -> None:
    patient, end = (time.monotonic() + seconds for seconds in (SPIN, patience))
    while True:
        found, status = os.waitpid(thread, os.WNOHANG | requests.WALL)
        if found:
            if not os.WIFSTOPPED(status):
                raise ProcessLookupError
            if requests.event(status) == requests.EVENT_STOP:
                return
            requests.resume(thread, os.WSTOPSIG(status))  # a signal that came first
        now = time.monotonic()
        if now > end:
            raise TimeoutError
        if now > patient:
            time.sleep(PAUSE)


def _begin_again(injection: Injection) -> None:
    """Have a call that has been ended by our stop begin again: see the facts."""
    layout, words = injection.layout, injection.words
    if layout.begun is None or layout.returned(words) != -EINTR:
        return
    if words[layout.begun] in _numbers(tuple(AGAIN)) and layout.audit == arches()[0].audit:
        layout.with_result(words, -ERESTARTNOHAND)
        requests.set_registers(injection.thread, layout.pack(words))


@cache
def _numbers(calls: tuple[str, ...]) -> frozenset[int]:
    """Of calls that this machine's own programs make."""
    found = (arches()[0].number(call) for call in calls)
    return frozenset(each for each in found if each is not None)
