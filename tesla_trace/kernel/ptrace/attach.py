"""Putting a process that runs under a filter, and getting hold of the listener.

Facts, and what they mean for us:

- seccomp(2) with TSYNC puts all threads of a process under the filter at once; so one of them is
  stopped, and made to call it.  With TSYNC the result may be a thread's number, not with
  TSYNC_ESRCH.
- Without CAP_SYS_ADMIN it takes the promise of PR_SET_NO_NEW_PRIVS, which is for ever: sudo works
  no more in such a process.  So it is given only where the kernel asks for it.
- The program of the filter takes 1.5 KiB and more of the process's memory.  Below the stack pointer
  there may be a few hundred bytes only (a goroutine, an alternate signal stack).  On the stack that
  the kernel made there is room; else it gets pages of its own, for as long as it is stopped.
- At each step the stopped thread waits for a CPU, and then we do: some milliseconds on a
  busy machine.  So where we may, both have a real-time priority for as long as it takes.
- Other threads run on, and may make a call that is trapped before anybody serves it: they wait.
  What we do meanwhile goes by numbers and memory of the stopped thread, and waits for nobody.
- Some calls end with EINTR when their thread is stopped, though no signal is there for it
  (signal(7)): programs do not expect it.  With -ERESTARTNOHAND in its place the kernel makes the
  call again, but gives EINTR where a handler of the program's is to run.
- A thread that waits in the kernel for its child of vfork(2), for a disk or NFS, does not stop
  before that is over.
- When another thread calls execve(2), the first thread is gone without a word, and the other one,
  which nobody traces, has its number: a wait for that number that sleeps is never woken.  So no
  wait of ours sleeps on; and the process, which is another program now, is tried again.  A thread
  that is about to go so may not be traced (EPERM) already.  Between
  the calls of ours a listener may go with the old program: then a second filter, asked first,
  takes the place of the one that has none.
- Where a thread has a filter that the others have not, TSYNC_ESRCH says ESRCH.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from tesla_trace.kernel import memory, proc
from tesla_trace.kernel.arches import arches
from tesla_trace.kernel.libc import PR_SET_NO_NEW_PRIVS, pidfd_getfd
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.inject import Injection
from tesla_trace.kernel.ptrace.registers import LAYOUTS
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

FOLLOWED = requests.FOLLOW | requests.SYSGOOD | requests.O_TRACESECCOMP

PATIENCE = 2.0
"""Seconds in which one of the threads is to stop."""

SOON = 0.2
"""Seconds in which one is to, where it can be tried again."""

ROUSED = 0.02
"""Seconds after which a wait looks whether there is still something to wait for."""

TRIES, PAUSE = 50, 0.001
"""How often, and after how many seconds, one that becomes another program is tried again."""

PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS = 3, 0x22

EINTR, EFAULT, ERESTARTNOHAND = 4, 14, 514

GONE = ("Z", "X", "")

AGAIN = (
    "epoll_wait epoll_pwait epoll_pwait2 accept accept4 recvfrom recvmsg recvmmsg semop semtimedop"
    " rt_sigtimedwait"
).split()
"""Calls that end with EINTR when their thread is stopped, and have done nothing by then."""

SPARE = 4096
"""Bytes of the stack that are left below what is written there."""

WAITS_TO_ACCEPT = ("accept", "accept4")


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
            if not gone and not ours and wrong.errno != EFAULT:
                raise
        if not proc.state(process):
            break
        time.sleep(PAUSE)
    return _install_once(process, bpf)


def _install_once(process: int, bpf: bytes) -> int:
    got: list[int] = []
    try:
        places, thread = Places(process), _soonest(process)
        pidfd = open_pidfd(thread)
        try:
            with (
                _hurrying(0),
                _hurrying(thread),
                _stopped(thread, PATIENCE, places.call) as stopped,
            ):
                with stopped as injection:
                    _install(injection, places, pidfd, bpf, got)
        finally:
            os.close(pidfd)
    except (Gone, OSError) as wrong:  # the filter outlives the program that it was put under
        if not got and isinstance(wrong, Gone | FileNotFoundError):
            raise ProcessLookupError from None
        if not got:
            raise
    return got[0]


def trace(process: int) -> None:
    """Trace every thread of a process from now on, with a stop at each call.

    Raises:
        PermissionError: it is not ours to trace.
        OSError: ESRCH, it has ended.
    """
    seen: set[int] = set()
    while new := [each for each in _living(process) if each not in seen]:
        for thread in new:
            seen.add(thread)
            try:
                _trace(thread)
            except PermissionError:
                if not _is_ours(thread):  # it may have been started since by one that is
                    raise
            except (OSError, Gone):  # it has ended, or will stop, and be let go, later
                continue
    if not seen:
        raise ProcessLookupError


def _trace(thread: int) -> None:
    requests.seize(thread, FOLLOWED)
    with _hearing_of_children():
        requests.interrupt(thread)
        _await_stop(thread, SOON)
    _begin_again(Injection(thread))
    requests.resume_to_call(thread)


def _is_ours(thread: int) -> bool:
    try:
        return proc.status(thread).get("TracerPid") == str(os.getpid())
    except OSError:
        return True


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
        with _stopped(_soonest(process)) as thread, _Meanwhile(thread, meanwhile) as injection:
            for args in all_args:
                with contextlib.suppress(OSError):
                    injection.call(call, *args)
    except (Gone, FileNotFoundError):
        raise ProcessLookupError from None


class _Roused(Injection):
    """Does not sleep on when its thread has gone without a word."""

    def _waited(self) -> int:
        with _hearing_of_children():
            while True:
                found, status = os.waitpid(self.thread, os.WNOHANG | requests.WALL)
                if found:
                    return status
                late = signal.sigtimedwait([signal.SIGCHLD], ROUSED) is None
                if late and not _is_ours(self.thread):
                    raise Gone  # and a child of ours, or it would be ECHILD


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


def _living(process: int) -> list[int]:
    return [each for each in proc.threads(process) if proc.state(each) not in GONE]


def _soonest(process: int) -> int:
    """The thread of a process that will stop soonest.

    Raises:
        ProcessLookupError: there is none.
    """
    threads = _living(process)
    if not threads:
        raise ProcessLookupError
    return min(threads, key=lambda each: proc.state(each) == "D")


@contextlib.contextmanager
def _stopped(thread: int, patience: float = SOON, call: int = 0) -> Iterator[Injection]:
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
    with _hearing_of_children():
        requests.interrupt(thread)
        _await_stop(thread, patience)
    try:
        injection = _Roused(thread, instruction=call)
        _begin_again(injection)
        yield injection
    finally:
        with contextlib.suppress(ProcessLookupError):
            requests.detach(thread)


@contextlib.contextmanager
def _hearing_of_children() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _await_stop(thread: int, patience: float) -> None:
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


def _begin_again(injection: Injection) -> None:
    """Have a call that has been ended by our stop begin again: see the facts."""
    layout, words = injection.layout, injection.words
    if layout.begun is None or layout.returned(words) != -EINTR:
        return
    if words[layout.begun] in _numbers(tuple(AGAIN)) and layout.audit == arches()[0].audit:
        layout.with_result(words, -ERESTARTNOHAND)
        requests.set_registers(injection.thread, layout.pack(words))


def _native_call() -> bytes:
    return next(each for each in LAYOUTS if each.audit == arches()[0].audit).calls[0]


@cache
def _numbers(calls: tuple[str, ...]) -> frozenset[int]:
    """Of calls that this machine's own programs make."""
    found = (arches()[0].number(call) for call in calls)
    return frozenset(each for each in found if each is not None)
