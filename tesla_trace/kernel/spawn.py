"""Starting the program under a filter, and getting hold of the listener.

Facts: seccomp(2) with NEW_LISTENER gives the descriptor to the one that installs the filter, which
is the child that becomes the program.  To pass it on by a call that the filter traps would wait for
ever; so its *number* goes through a pipe, and pidfd_getfd(2) does the rest.  The child waits until
that is done, for its exec closes the listener.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn, Protocol, TypeVar

from tesla_trace.kernel import landlock
from tesla_trace.kernel.libc import (
    PR_SET_NO_NEW_PRIVS,
    check,
    libc,
    number_of,
    pidfd_getfd,
    prctl,
)
from tesla_trace.kernel.signals import Signals

SECCOMP_SET_MODE_FILTER = 1
FLAG_NEW_LISTENER = 1 << 3
FLAG_WAIT_KILLABLE_RECV = 1 << 5

OUTER = "TESLA_TRACE_OUTER"
"""In the environment of a program: the abstract name of its tracer's socket, see relay.py."""

INSTRUCTION = 8
"""sizeof(struct sock_filter)"""

_Said = struct.Struct("=cqi")
"""What the child says on its pipe: a letter, a number, an errno."""


T = TypeVar("T")


class Entry(Protocol[T]):
    """How a program comes to be trapped, between fork and exec."""

    def enter(self) -> int:
        """In the child: put it under a filter; gives a number that is handed to `take`.

        Raises:
            OSError: it cannot be.
        """

    def take(self, pid: int, number: int) -> T:
        """In the parent, while the child waits: get hold of what traps it.

        Raises:
            OSError: that cannot be.
        """

    def see_through(self, taken: T) -> None:
        """In the parent: the child executes the program now."""


class FilterError(Exception):
    """The filter could not be installed."""

    def __init__(self, error: int) -> None:
        super().__init__(os.strerror(error))
        self.errno = error


class OuterError(Exception):
    """The tracer around us does not relay; the text says why."""


class ExecError(Exception):
    """The program could not be executed: `status` as a shell would give it, `errno` why."""

    def __init__(self, path: str, error: int) -> None:
        super().__init__(f"{path}: {'not found' if error == errno.ENOENT else os.strerror(error)}")
        self.status = 127 if error == errno.ENOENT else 126
        self.errno = error


class _Fprog(ctypes.Structure):
    _fields_ = (("size", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(bpf: bytes, *, listen: bool = True) -> int:
    """Put this thread, and what it becomes, under the filter.

    Returns:
        The listener, close-on-exec; 0 without one.

    Raises:
        OSError: EBUSY, there is a listener already; EINVAL, the kernel is too old; others as
            seccomp(2).
    """
    program = _Fprog(len(bpf) // INSTRUCTION, bpf)

    def load(flags: int) -> int:
        words = SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(program)
        return check(libc.syscall(number_of("seccomp"), *words))

    def load_as_may_be(flags: int) -> int:
        try:
            return load(flags)
        except PermissionError:  # EACCES: without CAP_SYS_ADMIN it takes a promise, for ever
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            return load(flags)

    if not listen:
        return load_as_may_be(0)
    try:
        return load_as_may_be(FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV)
    except OSError as wrong:
        if wrong.errno != errno.EINVAL:  # Linux before 5.19: any signal takes calls away
            raise
        return load_as_may_be(FLAG_NEW_LISTENER)


def outer() -> str:
    """The name of the socket of a tracer around us; empty where the environment says none."""
    return os.fsdecode(initial_environment().get(OUTER.encode(), b""))


def initial_environment() -> dict[bytes, bytes]:
    """The environment this process was started with.

    Python adds LC_CTYPE to its own where the locale is "C" (PEP 538), which is not for the program.
    """
    with open("/proc/self/environ", "rb") as file:
        words = file.read().split(b"\0")
    return dict(word.split(b"=", 1) for word in words if b"=" in word[1:])


class Notified:
    """A program whose trapped calls notify us; see `Entry`.

    Args:
        trapped: told its number and the listener when its calls are trapped, and before it makes
            any.
    """

    def __init__(self, bpf: bytes, trapped: Callable[[int, int], object]) -> None:
        self._bpf = bpf
        self._trapped = trapped

    def enter(self) -> int:
        """See `Entry`."""
        return install(self._bpf)

    def take(self, pid: int, number: int) -> int:
        """The listener."""
        pidfd = os.pidfd_open(pid)
        try:
            listener = pidfd_getfd(pidfd, number)
        finally:
            os.close(pidfd)
        self._trapped(pid, listener)
        return listener

    def see_through(self, taken: int) -> None:
        """It needs nobody."""


def spawn(
    argv: list[str],
    entry: Entry[T],
    signals: Signals,
    group: int,
    files: tuple[int, int],
    places: Mapping[int, int] = MappingProxyType({}),
    rules: int | None = None,
    outer: str = "",
) -> tuple[int, T]:
    """Start `argv`, trapped, in the process group `group`; gives its number, and what traps it.

    Args:
        signals: to be put back as they were.
        files: the program's RLIMIT_NOFILE, soft and hard.
        places: descriptors of the program that are to be copies of these of ours.
        rules: of Landlock, for the program to be under.
        outer: the name of our socket, for the program's environment.

    Raises:
        FilterError, ExecError: nothing has been started.
    """
    paths = _candidates(argv[0])
    said, say = os.pipe()
    heard, hear = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for place, ours in places.items():
                os.dup2(ours, place)
            if rules is not None:
                landlock.restrict(rules)
            _become(argv, paths, entry, signals, group, files, say, heard, outer)
        except OSError as error:
            os.write(say, _Said.pack(b"f", 0, error.errno))
        finally:
            os._exit(127)
    os.close(say)
    os.close(heard)
    try:
        taken = _taken(entry, pid, said)
        os.write(hear, b"go")
        entry.see_through(taken)
        if failed := os.read(said, _Said.size):  # otherwise closed by exec
            raise ExecError(argv[0], _Said.unpack(failed)[2])
    except BaseException:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        raise
    finally:
        os.close(said)
        os.close(hear)
    return pid, taken


def _taken(entry: Entry[T], pid: int, said: int) -> T:
    what, number, error = _Said.unpack(os.read(said, _Said.size) or _Said.pack(b"f", 0, errno.EIO))
    if what == b"f":
        raise FilterError(error)
    try:
        return entry.take(pid, number)
    except BaseException as wrong:
        os.kill(pid, signal.SIGKILL)  # it waits for our word
        if isinstance(wrong, OSError):
            raise FilterError(wrong.errno or 0) from wrong
        raise


def _become(
    argv: list[str],
    paths: Sequence[str],
    entry: Entry[T],
    signals: Signals,
    group: int,
    files: tuple[int, int],
    say: int,
    heard: int,
    outer: str,
) -> NoReturn:
    os.setpgid(0, group)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    environment = initial_environment()
    if outer:
        environment[OUTER.encode()] = outer.encode()
    os.write(say, _Said.pack(b"l", entry.enter(), 0))
    if os.read(heard, 2) != b"go":
        os._exit(127)
    signals.restore()
    error = errno.ENOENT
    for path in paths:
        found = _execute(path, argv, environment)
        if found not in (errno.ENOENT, errno.ENOTDIR):
            error = found
            if found != errno.EACCES:  # a later one in PATH may be allowed, as for a shell
                break
    os.write(say, _Said.pack(b"e", 0, error))
    os._exit(127)


def _execute(path: str, argv: list[str], environment: dict[bytes, bytes]) -> int:
    """Execute, or tell the errno."""
    try:
        os.execve(path, argv, environment)
    except OSError as wrong:
        if wrong.errno != errno.ENOEXEC:
            return wrong.errno or 0
    try:  # a script without #!, as execvp(3)
        os.execve("/bin/sh", ["sh", path, *argv[1:]], environment)
    except OSError as wrong:
        return wrong.errno or 0


def _candidates(program: str) -> list[str]:
    """Where to look for the program: as it is if it has a slash, else in each folder of PATH."""
    if "/" in program:
        return [program]
    path = os.fsdecode(initial_environment().get(b"PATH", os.fsencode(os.defpath)))
    return [os.path.join(folder or ".", program) for folder in path.split(":")]
