"""What is tried on other processes, and threads."""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

from tesla_trace.doctor.probe import Absent, child, thread_of_ours
from tesla_trace.kernel.libc import check, libc, number_of, pidfd_getfd

SO_PEERPIDFD = 77


def takes_descriptor() -> None:
    """Take a descriptor from a child."""
    with child() as pid:
        os.close(pidfd_getfd(os.pidfd_open(pid), 0))


def reads_memory() -> None:
    """Read a child's memory."""
    from tesla_trace.kernel import memory

    here = ctypes.create_string_buffer(b"the same in a forked child")
    with child() as pid:
        if memory.read(pid, ctypes.addressof(here), len(here)) != here.raw:
            raise Absent("it reads as something else")


def traces() -> None:
    """Stop a child and ask what it is doing."""
    from tesla_trace.kernel.ptrace import requests

    with child() as pid:
        requests.seize(pid, requests.SYSGOOD)
        requests.interrupt(pid)
        os.waitpid(pid, requests.WALL)
        requests.call_info(pid)
        requests.detach(pid)


def attaches() -> str:
    """Trace a process that is not below the tracer."""
    seize = 0x4206
    told, tell = os.pipe()
    with child() as other:

        def attach() -> None:
            try:
                check(libc.syscall(number_of("ptrace"), seize, other, None, None))
                os.write(tell, b"\0")
            except OSError as wrong:
                os.write(tell, bytes([wrong.errno or 0]))

        with child(attach):
            (number,) = os.read(told, 1)
    if number:
        raise OSError(number, os.strerror(number))
    return "as root" if os.geteuid() == 0 else "processes of this user"


def names_peer() -> None:
    """Ask a socket for a pidfd of its peer."""
    one, other = socket.socketpair()
    with one, other:
        os.close(one.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD))


def yama() -> str:
    """Ask Yama how far it lets processes look into others."""
    try:
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except FileNotFoundError:
        return "no Yama"
    if scope >= 2:
        raise Absent(f"kernel.yama.ptrace_scope is {scope}")
    return f"kernel.yama.ptrace_scope is {scope}"


def pidfd_of_thread() -> None:
    """Open a pidfd of a thread that leads no process."""
    from tesla_trace.kernel.thread import PIDFD_THREAD

    with thread_of_ours() as number:
        os.close(os.pidfd_open(number, PIDFD_THREAD))
