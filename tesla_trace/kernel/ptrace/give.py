"""Giving a thread of the program a copy of a descriptor of ours.

Facts, and what they mean for us:

- Descriptors come to another process by SCM_RIGHTS, as the lowest number that is free; so first a
  socket is made in the thread that takes the number, by which what is to be there comes, and which
  is then replaced by it.  Other threads may make and close descriptors of theirs meanwhile, but
  they never have this number.
- A datagram socket that has a name of its own can send to itself: so we send, through our copy of
  it, wherever the program's network is, and nothing is left over when it has been replaced.
- That takes one number more for a moment.  Where the limit is too near, it is raised for that
  moment; where that is not allowed, the call fails with EMFILE one descriptor early.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import struct
from collections.abc import Iterator

from tesla_trace.kernel import memory
from tesla_trace.kernel.libc import pidfd_getfd
from tesla_trace.kernel.ptrace.inject import Injection

SOL_SOCKET, SCM_RIGHTS = 1, 1
MSG_DONTWAIT, MSG_CMSG_CLOEXEC = 0x40, 0x40000000
ROOM = 96
"""Bytes for a struct msghdr, and a struct cmsghdr with one descriptor."""


def give(on: Injection, pidfd: int, fd: int, *, cloexec: bool, at: int | None) -> int:
    """Have the thread have a copy of our `fd`, as the lowest free number or in place of `at`.

    Args:
        pidfd: of the thread.

    Raises:
        OSError: EMFILE, it may have no more.
        Gone: it has died.
    """
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    carrier = on.call("socket", socket.AF_UNIX, kind, 0)
    try:
        _send(pidfd, carrier, fd)
        try:
            got = _receive(on, carrier)
        except OSError as wrong:
            if wrong.errno != errno.EMFILE:
                raise
            _send(pidfd, carrier, fd)
            with _one_more(on.thread):
                got = _receive(on, carrier)
    except OSError:
        on.call("close", carrier)
        raise
    try:
        return on.call("dup3", got, carrier if at is None else at, os.O_CLOEXEC if cloexec else 0)
    except OSError:
        at = carrier
        raise
    finally:
        on.call("close", got)
        if at is not None:
            on.call("close", carrier)


def _send(pidfd: int, carrier: int, fd: int) -> None:
    with socket.socket(fileno=pidfd_getfd(pidfd, carrier)) as copy:
        name = copy.getsockname()
        if not name:
            copy.bind("")
            name = copy.getsockname()
        rights = [(SOL_SOCKET, SCM_RIGHTS, struct.pack("=i", fd))]
        copy.sendmsg([b"!"], rights, MSG_DONTWAIT, name)  # Python 3.11's send_fds loses the name


def _receive(on: Injection, carrier: int) -> int:
    """The number that what was sent has got."""
    word = "Q" if on.layout.word == 8 else "I"
    message, control = struct.Struct(f"=7{word}"), struct.Struct(f"={word}iii")
    at = on.room(ROOM)
    beyond = at + message.size
    asked = message.pack(0, 0, 0, 0, beyond, control.size, 0)
    memory.write(on.thread, at, asked + bytes(control.size))  # nothing is written if none fits
    on.call("recvmsg", carrier, at, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
    size, level, kind, number = control.unpack(memory.read(on.thread, beyond, control.size))
    if (size, level, kind) != (control.size, SOL_SOCKET, SCM_RIGHTS):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return int(number)


@contextlib.contextmanager
def _one_more(thread: int) -> Iterator[None]:
    """Let the process have one descriptor more than it may.

    Raises:
        OSError: EMFILE, that is not ours to say.
    """
    try:
        soft, hard = resource.prlimit(thread, resource.RLIMIT_NOFILE)
        resource.prlimit(thread, resource.RLIMIT_NOFILE, (soft + 1, max(soft + 1, hard)))
    except (OSError, ValueError):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
    try:
        yield
    finally:
        resource.prlimit(thread, resource.RLIMIT_NOFILE, (soft, hard))
