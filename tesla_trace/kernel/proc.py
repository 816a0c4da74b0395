"""What /proc says of a thread.

Files are read by os.open and os.read: `open` asks seven questions about each before it reads it,
and a connect looks at five.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from functools import cache

ALONE = 3
"""Links of /proc/PID/task where there is one thread: they are counted as subfolders are."""

LOOKS, MOMENT = 5, 0.002
"""How often a thread is looked at that may be stopped for a moment only; seconds in between."""

PIECE = 4096
"""Bytes that the kernel gives of a file at a time, if it is made of lines."""


def read(path: str, *, all: bool = True) -> bytes:
    """A file.

    Args:
        all: to its end, however much that is.

    Raises:
        OSError: ENOENT or ESRCH, what it is about is gone.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(file, 2 * PIECE)
        if not all or len(data) < PIECE // 2:  # a longer one gives pieces that are nearly full
            return data
        while more := os.read(file, 2 * PIECE):
            data += more
        return data
    finally:
        os.close(file)


def status(thread: int) -> dict[str, str]:
    """The fields of /proc/TID/status, as text.

    Raises:
        OSError: ENOENT or ESRCH, there is no such thread.
    """
    lines = read(f"/proc/{thread}/status").decode(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def process(thread: int) -> int:
    """The process that the thread belongs to.

    Raises:
        OSError: as `status`.
    """
    return int(status(thread)["Tgid"])


def state(thread: int) -> str:
    """The letter of the state that the thread is in, as `ps` shows it; empty if it is gone."""
    try:
        return chr(read(f"/proc/{thread}/stat").rpartition(b")")[2][1])
    except (OSError, IndexError):
        return ""


def started(process: int) -> int:
    """When it was started, in ticks of the clock since the machine was.

    Raises:
        OSError: ENOENT or ESRCH, there is no such process.
    """
    return birth(process)[1]


def birth(thread: int) -> tuple[int, int]:
    """The parent of the thread's process, and when the thread was started, in ticks of the clock.

    With its number, that tells a thread from any that has had the number before.

    Raises:
        OSError: ENOENT or ESRCH, there is no such thread.
    """
    fields = read(f"/proc/{thread}/stat").rpartition(b")")[2].split()
    return int(fields[1]), int(fields[19])


def is_stopped(process: int) -> bool:
    """Whether a signal has stopped the process; False if it is gone.

    One that is traced is in state t then, as it is for a moment at each call that is trapped.
    """
    found = state(process)
    for _ in range(LOOKS):
        if found != "t":
            break
        time.sleep(MOMENT)
        found = state(process)
    return found in ("T", "t")


def name(thread: int) -> str:
    """The thread's name, as `ps -o comm` shows it; empty if it is gone."""
    try:
        return read(f"/proc/{thread}/comm").decode(errors="replace").rstrip("\n")
    except OSError:
        return ""


def pidfd(thread: int, fd: int) -> int | None:
    """The process that a pidfd of the thread is of; None if it is not one, or that is gone."""
    number = int(_fdinfo(thread, fd).get("Pid", "-1"))
    return number if number > 0 else None


def call(thread: int) -> int:
    """The number of the system call that the thread is in; -1 if it is in none, or gone."""
    try:
        with open(f"/proc/{thread}/syscall", "rb") as file:
            return int(file.read().split()[0])
    except (OSError, ValueError, IndexError):  # `running`
        return -1


def makes_epoll(thread: int) -> bool:
    """Whether the thread is in a call that makes an epoll descriptor, as far as is known."""
    try:
        word = read(f"/proc/{thread}/syscall").split()[0]
    except OSError:
        return False
    return word == b"running" or int(word) in _making_epoll()


@cache
def _making_epoll() -> frozenset[int]:
    from tesla_trace.kernel.arches import arches  # libseccomp may be missing

    found = set()
    for arch in arches():
        found |= {arch.number("epoll_create"), arch.number("epoll_create1")}
    return frozenset(each for each in found if each is not None)


def number_in(thread: int, process: int) -> int | None:
    """The number, for us, of what is `process` for the thread; None in another pid namespace."""
    try:
        same = os.readlink(f"/proc/{thread}/ns/pid") == os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
    return process if same else None


def threads(process: int) -> list[int]:
    """The threads of a process; none if it is gone."""
    try:
        if os.stat(f"/proc/{process}/task").st_nlink == ALONE:
            return [process]
        return [int(each) for each in os.listdir(f"/proc/{process}/task")]
    except OSError:
        return []


def descendants(process: int) -> list[int]:
    """The processes below a process, by /proc/PID/task/TID/children."""
    found: list[int] = []
    rest = [process]
    while rest:
        below = children(rest.pop())
        found += below
        rest += below
    return found


def children(process: int) -> list[int]:
    """The children of a process; none if it is gone."""
    found: list[int] = []
    for thread in threads(process):
        try:
            found += map(int, read(f"/proc/{process}/task/{thread}/children").split())
        except OSError:
            continue
    return found


def socket_name(fd: int) -> bytes:
    """What our descriptor, a socket, is called in /proc/PID/fd: its identity for everybody."""
    return b"socket:[%d]" % os.fstat(fd).st_ino


def files(thread: int) -> Iterator[tuple[int, str]]:
    """The descriptors of a thread, and what each is; none if it is gone."""
    try:
        folder = os.open(f"/proc/{thread}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for name in _listed(folder):
            try:
                yield int(name), os.readlink(name, dir_fd=folder)
            except OSError:
                continue
    finally:
        os.close(folder)


def _listed(folder: int) -> list[str]:
    """What is in an open folder; nothing if whom it is about is gone by now."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def flags(thread: int, fd: int) -> int:
    """The open(2) flags of a descriptor of the thread; 0 if there is none."""
    return int(_fdinfo(thread, fd).get("flags", "0"), 8)


def closes_on_exec(thread: int, fd: int) -> bool:
    """Whether a descriptor of the thread has FD_CLOEXEC; False if there is none."""
    return bool(flags(thread, fd) & os.O_CLOEXEC)


def has_room(thread: int) -> bool:
    """Whether the thread may have one more descriptor; True if that cannot be said.

    The size of /proc/TID/fd is their number from Linux 6.2, and 0 before.
    """
    try:
        most = resource.prlimit(thread, resource.RLIMIT_NOFILE)[0]
        return os.stat(f"/proc/{thread}/fd").st_size < most
    except OSError:
        return True


def _fdinfo(thread: int, fd: int) -> dict[str, str]:
    try:
        first = read(f"/proc/{thread}/fdinfo/{fd}", all=False)  # an epoll's has a line for each
    except OSError:
        return {}
    lines = first.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
