"""What is tried of sockets and their kin."""

from __future__ import annotations

import ctypes
import os
import socket

from tesla_trace.doctor.probe import Absent
from tesla_trace.kernel import landlock
from tesla_trace.kernel.libc import check, libc

IO_URING_SETUP = 425


def no_connects() -> None:
    """Make rules that forbid connects."""
    os.close(landlock.no_connects())


def urgent_byte() -> None:
    """Send an urgent byte through a pair."""
    one, other = socket.socketpair()
    one.send(b"!", socket.MSG_OOB)
    if other.recv(1, socket.MSG_OOB) != b"!":
        raise Absent("it does not arrive")


def ring() -> str:
    """Make a ring of io_uring."""
    check(libc.syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(120)))
    return "refused to programs that run under us; they do without"
