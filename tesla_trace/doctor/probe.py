"""What a probe is, and what several of them need.

An attempt is for a process of its own: some put themselves under a filter, and some may hang.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tesla_trace.kernel.libc import PR_SET_PDEATHSIG, prctl

CAN_TRACE = "docker or podman run --cap-add=SYS_PTRACE"
UNCONFINED = "docker or podman run --security-opt seccomp=unconfined"

SECCOMP, OUTER, PTRACE = "seccomp", "outer", "ptrace"
WAYS = {
    OUTER: "the tesla_trace around us relays their calls",
    SECCOMP: "their calls are trapped by seccomp",
    PTRACE: "their calls are trapped by ptrace",
}
"""Ways of trapping, the one that is tried first before the others."""
EVERY = tuple(WAYS)


@dataclass(frozen=True)
class Probe:
    """One thing that is tried.

    Args:
        attempt: runs in a child process; returns what else there is to say, or raises.
        needed: the ways of trapping that cannot be had without it.
        cost: what its absence costs.
        remedy: what to do about that.
    """

    name: str
    attempt: Callable[[], str | None]
    needed: tuple[str, ...]
    cost: str
    remedy: str


class Absent(Exception):
    """What was looked for is not there; the text says more."""


@contextmanager
def child(do: Callable[[], object] = signal.pause) -> Iterator[int]:
    """A child that does something, and dies with us."""
    pid = os.fork()
    if pid == 0:
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            do()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def thread_of_ours() -> Iterator[int]:
    """Another thread of ours; gives its number."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        yield thread.native_id
    finally:
        over.set()
        thread.join()
