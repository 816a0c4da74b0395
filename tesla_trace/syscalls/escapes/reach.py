"""Calls that reach out of the program: to other namespaces, and to processes that are not its own.

What happens to the descriptors of a process of the program is ours to see; what it takes from
another is not, nor what it makes that do.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import pidfd_getfd
from tesla_trace.kernel.namespaces import CLONE_NEWNET, CLONE_NEWUSER
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.words import signed
from tesla_trace.syscalls.escapes.strangers import is_network_socket
from tesla_trace.syscalls.escapes.ways import WAYS

if TYPE_CHECKING:
    from tesla_trace.syscalls.session import Session

MOVES = (CLONE_NEWNET, CLONE_NEWUSER)
"""Flags of unshare(2) that change where sockets are made, and with what rights."""

ATTACHES = (16, 0x4206)
"""PTRACE_ATTACH, PTRACE_SEIZE"""


def move(session: Session, stop: Stop) -> None:
    """setns(2), unshare(2): the thread's sockets are to be looked at anew."""
    stop.moving()
    stop.proceed()


def watch(session: Session, stop: Stop) -> None:
    """epoll_create(2): what the thread registers there would stay behind with a descriptor."""
    stop.making_epoll()
    stop.proceed()


def take(session: Session, stop: Stop) -> None:
    """pidfd_getfd(2): count a socket, and let nothing be taken where nothing may pass.

    There it is taken by us, for what a pidfd means may change before the kernel looks.
    """
    there = proc.pidfd(stop.thread, signed(stop.args[0]))
    if session.closed:
        if there is not None and there in session.members:
            return _take(session, stop, there)
        session.uncovered(stop, WAYS["taken"])
    if there is not None and there not in session.members:
        if _is_socket(there, signed(stop.args[1])):
            session.uncovered(stop, WAYS["taken"])
    stop.proceed()


def _take(session: Session, stop: Stop, process: int) -> None:
    """Take a descriptor of a process of the program, with the rights of the caller."""
    with session.acting.rights(stop, None):
        pidfd = os.pidfd_open(process)
        try:
            copy = pidfd_getfd(pidfd, signed(stop.args[1]))
        finally:
            os.close(pidfd)
    try:
        stop.give(copy, cloexec=True)
    finally:
        os.close(copy)


def attach(session: Session, stop: Stop) -> None:
    """ptrace(2) of another process: it does what the tracer wants."""
    there = proc.number_in(stop.thread, signed(stop.args[1]))
    outside = there is None or there not in session.members
    if outside and not session.members.enclose(stop.thread):
        session.uncovered(stop, WAYS["traced"])
    stop.proceed()


def _is_socket(process: int, fd: int) -> bool:
    with suppress(OSError):
        pidfd = os.pidfd_open(process)
        try:
            copy = pidfd_getfd(pidfd, fd)
        finally:
            os.close(pidfd)
        try:
            return is_network_socket(copy)
        finally:
            os.close(copy)
    return False
