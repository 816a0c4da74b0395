"""accept(2) that does not wait, on a listener that is not ours alone.

Facts: O_NONBLOCK and SO_RCVTIMEO belong to the listener itself; set for a moment, they would make
another process's accept fail that means to wait.  accept4(2) has no flag for its own waiting, and
between poll(2) and accept somebody else may take the connection.  A signal ends an accept that
waits, and does not keep one from taking what is there.

What it means for us: while we are in accept, a timer ticks.  Who loses a race waits for one tick.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
from functools import cache

from tesla_trace.kernel.libc import check, libc, sigset

TICK = 0.001
"""Seconds that a lost race costs."""

ROOM = 128
"""sizeof(struct sockaddr_storage)"""

_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def accept_at_once(listener: int) -> tuple[int, bytes]:
    """Take a connection from a listener that may be a blocking one.

    Returns:
        A descriptor, non-blocking and close-on-exec, and the peer's address.

    Raises:
        BlockingIOError: no connection waits.
        OSError: as accept(2).
    """
    if fcntl.fcntl(listener, fcntl.F_GETFL) & os.O_NONBLOCK:
        return _accept(listener)
    ready = select.poll()
    ready.register(listener, select.POLLIN)
    if not ready.poll(0):
        raise _would_block()
    alarm, before = _alarm(), sigset(())
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    libc.pthread_sigmask(signal.SIG_UNBLOCK, alarm, before)
    try:
        return _accept(listener)
    except InterruptedError:
        raise _would_block() from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        libc.pthread_sigmask(signal.SIG_SETMASK, before, None)


def _accept(listener: int) -> tuple[int, bytes]:
    room, size = ctypes.create_string_buffer(ROOM), ctypes.c_uint(ROOM)
    fd = check(libc.accept4(listener, room, ctypes.byref(size), _FLAGS))
    return fd, room.raw[: size.value]


@cache
def _alarm() -> ctypes.Array[ctypes.c_ulong]:
    """The set of the one signal, which from now on ends a call and does nothing else."""
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    return sigset((signal.SIGALRM,))


def _would_block() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
