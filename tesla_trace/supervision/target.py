"""A process that is to be attached to: what it is, and why it cannot be."""

from __future__ import annotations

import os
from contextlib import suppress
from pwd import getpwuid
from typing import Protocol

from tesla_trace.flow import printable
from tesla_trace.kernel import proc
from tesla_trace.kernel.rights import capabilities

CAP_SYS_PTRACE = 1 << 19

PF_KTHREAD = 0x00200000
"""In the flags of /proc/PID/stat (linux/sched.h): it runs in the kernel only."""

YAMA = "sys/kernel/yama/ptrace_scope"

_SCOPES = {
    "1": "as root, or after `sysctl kernel.yama.ptrace_scope=0`",
    "2": "as root, or after `sysctl kernel.yama.ptrace_scope=0`",
}


class Unattachable(Exception):
    """It cannot be; the text is for the user."""


def label(process: int) -> str:
    """Its name and number, for the log."""
    return f"{printable(proc.name(process))} ({process})"


def check(process: int, ours: tuple[int, ...], root: str = "/proc") -> None:
    """See that nothing is known to be in the way.

    Args:
        ours: the processes that are tesla_trace itself.
        root: where proc(5) is.

    Raises:
        Unattachable: something is.
    """
    if process in ours:
        raise Unattachable(f"{process} is tesla_trace itself")
    try:
        status = _status(process, root)
    except OSError:
        raise Unattachable(f"there is no process {process}") from None
    if process == 1:
        raise Unattachable(
            "1 is init, of which all others come; attach to one of those, and to what runs in a"
            " container from outside of it, by the number that it has there"
        )
    name = f"{printable(status['Name'])} ({process})"
    if _flags(process, root) & PF_KTHREAD:
        raise Unattachable(f"{name} is a thread of the kernel, and makes no system calls")
    if status["State"][:1] in "ZX" and not _has_other_threads(process, root):
        raise Unattachable(f"{name} has ended already; its parent has not asked for its status yet")
    if tracer := int(status.get("TracerPid", "0")):
        by = _name(tracer, root)
        raise Unattachable(f"{name} is traced by {by} ({tracer}) already: end that first")
    if status.get("Seccomp") == "1":
        raise Unattachable(f"{name} has bound itself to read and write only (seccomp strict mode)")


def _has_other_threads(process: int, root: str) -> bool:
    """Whether some go on, the first one having ended (pthread_exit(3), execve(2) by another).

    One that has gone since it was listed may have taken the number of the first.
    """
    for each in _threads(process, root):
        try:
            if _status(each, root)["State"][:1] not in "ZX":
                return True
        except OSError:
            return True
    return False


def has_filter_of_its_own(process: int, root: str = "/proc") -> bool:
    """Whether it, or a thread of it, is under a filter that we are not under.

    Of what that does, nothing is known.

    Before Linux 5.9 the kernel does not tell how many there are.
    """
    ours = _filters(f"{os.getpid()}", root)
    return any(_filters(each, root) > ours for each in (f"{process}", *_threads(process, root)))


def _filters(thread: str, root: str) -> int:
    """How many filters it is under; none when it has ended."""
    try:
        return int(_status(thread, root).get("Seccomp_filters", "0"))
    except OSError:
        return 0


class Who(Protocol):
    """Somebody who is not allowed to trace a process."""

    uid: int
    may_trace: bool
    """Whether by CAP_SYS_PTRACE."""


class Ourselves:
    """Us."""

    def __init__(self) -> None:
        self.uid = os.geteuid()
        self.may_trace = bool(capabilities(0) & CAP_SYS_PTRACE)


def why_not_allowed(process: int, root: str = "/proc", who: Who | None = None) -> str:
    """Why we may not trace it, and what to do about that."""
    us = who or Ourselves()
    try:
        status = _status(process, root)
    except OSError:
        return f"{process} ended meanwhile"
    name = f"{printable(status['Name'])} ({process})"
    if int(status.get("TracerPid", "0")):
        return f"{name} is traced by another process since a moment ago: end that first"
    uid, effective = map(int, status["Uid"].split()[:2])
    if (uid, effective) != (us.uid, us.uid) and us.uid:
        whose = f"belongs to {_user(uid)}"
        if effective != uid:
            whose = f"runs with the rights of {_user(effective)} (a set-uid program)"
        return f"{name} {whose}: run tesla_trace as root"
    if us.uid and (scope := _scope(root)) in _SCOPES:
        how = _SCOPES[scope]
        return f"{name} is not below us, and Yama lets nobody else trace it: run this {how}"
    if _scope(root) == "3":
        return "tracing is switched off until the next boot (kernel.yama.ptrace_scope is 3)"
    if not us.may_trace:
        if us.uid:
            return (
                f"{name} keeps others from looking into it (prctl PR_SET_DUMPABLE), or has rights"
                " that we have not: run tesla_trace as root"
            )
        return (
            f"it takes CAP_SYS_PTRACE to trace {name} (in a container: --cap-add SYS_PTRACE);"
            " or run tesla_trace outside of the container"
        )
    return f"the kernel does not let us trace {name}: a rule of SELinux, AppArmor or the like"


def _threads(process: int, root: str) -> list[str]:
    """Its threads, as `_status` takes them; none when it has ended."""
    with suppress(OSError):
        return [f"{process}/task/{each}" for each in os.listdir(f"{root}/{process}/task")]
    return []


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()


def _status(process: int | str, root: str) -> dict[str, str]:
    lines = _read(f"{root}/{process}/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _flags(process: int, root: str) -> int:
    try:
        return int(_read(f"{root}/{process}/stat").rpartition(")")[2].split()[6])
    except (OSError, IndexError):
        return 0


def _name(process: int, root: str) -> str:
    try:
        return printable(_status(process, root)["Name"])
    except OSError:
        return "another process"


def _scope(root: str) -> str:
    try:
        return _read(f"{root}/{YAMA}").strip()
    except OSError:
        return "0"


def _user(uid: int) -> str:
    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
