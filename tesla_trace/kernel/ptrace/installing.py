"""Putting a process that runs under a filter, and getting hold of the listener.

Facts, and what they mean for us:

- seccomp(2) with TSYNC puts all threads of a process under the filter at once; so one of them is
  stopped, and made to call it.  With TSYNC the result may be a thread's number, not with
  TSYNC_ESRCH, which says ESRCH where a thread has a filter that the others have not.
- Without CAP_SYS_ADMIN it takes the promise of PR_SET_NO_NEW_PRIVS, which is for ever: sudo works
  no more in such a process.  So it is given only where the kernel asks for it.
- The program of the filter takes 1.5 KiB and more of the process's memory.  Below the stack pointer
  there may be a few hundred bytes only (a goroutine, an alternate signal stack).  On the stack that
  the kernel made there is room; else it gets pages of its own, for as long as it is stopped.
- At each step the stopped thread waits for a CPU, and then we do: some milliseconds on a
  busy machine.  So where we may, both have a real-time priority for as long as it takes.
- Other threads run on, and may make a call that is trapped before anybody serves it: they wait.
  What we do meanwhile goes by numbers and memory of the stopped thread, and waits for nobody.
- A process that becomes another program meanwhile (execve(2) of another thread) is tried again.  A
  thread that is about to go so may not be traced (EPERM) already.  Between the calls of ours a
  listener may go with the old program: then a second filter, asked first, takes the place of the
  one that has none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from collections.abc import Iterator

from tesla_trace.kernel import memory, proc
from tesla_trace.kernel.arches import arches
from tesla_trace.kernel.libc import PR_SET_NO_NEW_PRIVS, pidfd_getfd
from tesla_trace.kernel.ptrace.inject import Injection
from tesla_trace.kernel.ptrace.registers import LAYOUTS
from tesla_trace.kernel.ptrace.stopping import soonest, stopped
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

TRIES, PAUSE = 50, 0.001
"""How often, and after how many seconds, one that becomes another program is tried again."""

PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS = 3, 0x22

SPARE = 4096
"""Bytes of the stack that are left below what is written there."""


def install_in(process: int, bpf: bytes) -> int:
    """Put every thread of a process under the filter.

    Returns:
        The listener; close-on-exec.

    Raises:
        PermissionError: it is not ours to trace.
        TimeoutError: none of its threads has stopped.
        OSError: ESRCH, it has ended; as seccomp(2), mmap(2).
    """
    for again in range(TRIES - 1):
        try:
            return _install_once(process, bpf)
        except OSError as wrong:
            gone = isinstance(wrong, ProcessLookupError | PermissionError)
            ours = again and wrong.errno == errno.EBUSY  # a listener that is about to go
            if not gone and not ours and wrong.errno != errno.EFAULT:
                raise
        if not proc.state(process):
            break
        time.sleep(PAUSE)
    return _install_once(process, bpf)


def _install_once(process: int, bpf: bytes) -> int:
    got: list[int] = []
    try:
        places, thread = Places(process), soonest(process)
        pidfd = open_pidfd(thread)
        try:
            with (
                _hurrying(0),
                _hurrying(thread),
                stopped(thread, PATIENCE, places.call) as held,
            ):
                with held as injection:
                    _install(injection, places, pidfd, bpf, got)
        finally:
            os.close(pidfd)
    except (Gone, OSError) as wrong:  # the filter outlives the program that it was put under
        if not got and isinstance(wrong, Gone | FileNotFoundError):
            raise ProcessLookupError from None
        if not got:
            raise
    return got[0]


class Places:
    """Where things are in a process, by /proc/PID/maps: looked for before it is stopped."""

    def __init__(self, process: int) -> None:
        self.stack = range(0)
        """The stack that the kernel made."""
        self.call = 0
        """An instruction by which it makes calls, if it has the vdso."""
        with open(f"/proc/{process}/maps", "rb") as maps:
            for line in maps:
                if line.endswith((b"[stack]\n", b"[vdso]\n")):
                    start, end = (int(each, 16) for each in line.split(maxsplit=1)[0].split(b"-"))
                    if line.endswith(b"[stack]\n"):
                        self.stack = range(start, end)
                    else:
                        self.call = self._found(process, start, end)

    @staticmethod
    def _found(process: int, start: int, end: int) -> int:
        at = memory.read(process, start, end - start).find(_native_call())
        return start + at if at >= 0 else 0


def _install(injection: Injection, places: Places, pidfd: int, bpf: bytes, got: list[int]) -> None:
    """Get the listener, which is ours whatever happens then."""
    narrow = injection.layout.word == 4
    head = struct.pack("=HxxI" if narrow else "=H6xQ", len(bpf) // INSTRUCTION, 0)
    with _memory(injection, places, len(head) + len(bpf)) as page:
        head = struct.pack(
            "=HxxI" if narrow else "=H6xQ", len(bpf) // INSTRUCTION, page + len(head)
        )
        memory.write(injection.thread, page, head + bpf)
        words = ("seccomp", SECCOMP_SET_MODE_FILTER, FLAGS, page)
        try:
            try:
                fd = injection.call(*words)
            except PermissionError:
                injection.call("prctl", PR_SET_NO_NEW_PRIVS, 1)
                fd = injection.call(*words)
        except ProcessLookupError:
            raise OSError(errno.ENOTSUP, "a thread has a filter that others have not") from None
        try:
            got.append(pidfd_getfd(pidfd, fd))
        finally:
            injection.call("close", fd)


@contextlib.contextmanager
def _memory(injection: Injection, places: Places, size: int) -> Iterator[int]:
    """The address of so many bytes, which nobody else uses."""
    room = injection.room(size)
    if places.stack.start + SPARE < room < places.stack.stop - size:
        yield room
        return
    call = "mmap2" if injection.layout.word == 4 else "mmap"
    page = injection.call(call, 0, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0)
    page &= injection.layout.mask
    try:
        yield page
    finally:
        injection.call("munmap", page, size)


@contextlib.contextmanager
def _hurrying(thread: int) -> Iterator[None]:
    """Let a thread wait for no CPU, where we may; 0 for ourselves."""
    try:
        policy, before = os.sched_getscheduler(thread), os.sched_getparam(thread)
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it has ended
            os.sched_setscheduler(thread, policy, before)


def _native_call() -> bytes:
    return next(each for each in LAYOUTS if each.audit == arches()[0].audit).calls[0]
