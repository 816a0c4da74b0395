"""The ends of ours that a program still has, when nobody is at their other ends any more.

Facts, of AF_UNIX sockets whose other end was closed:

- A stream reads what is there, and then its end, or ECONNRESET; poll(2) says so.  So a program sees
  a connection that broke.
- One that listens stays as it is, and nobody can connect to it.  After shutdown(2) poll(2) says IN
  and HUP of it, always, and a program that serves it would not rest.
- SOCK_SEQPACKET, which stands for datagrams, reads as an empty message, for ever.
- One that was never connected can be what the program wants of it as little: connect(2) to an
  address of TCP is EINVAL.
- A SOCK_DGRAM socket of AF_UNIX without a peer polls as one that can be written, and is never
  readable.

What it means for us: at the next trapped call that needs more than a broken connection the program
gets another file in its place, its registrations with epoll(7) included: a new socket of the
kernel, or, for what listened, one that is quiet for ever.
"""

from __future__ import annotations

import errno
import os
import socket as sockets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tesla_trace.io.pair import KEPT
from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import pidfd_getfd
from tesla_trace.kernel.replace import replace
from tesla_trace.kernel.rights import Own
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.ends.mark import Mark, mark, marked


class StandIn:
    """A program's end of ours.

    Args:
        end: a copy of it.
        file: what it is called in /proc/PID/fd.
    """

    def __init__(self, stop: Stop, fd: int, file: bytes, end: sockets.socket, of: Mark) -> None:
        self.of = of
        self._stop, self._fd, self._file, self._end = stop, fd, file, end

    @property
    def connected(self) -> bool:
        """Whether it ever had another end."""
        try:
            self._end.getpeername()
        except OSError:
            return False
        return True

    @property
    def blocks(self) -> bool:
        """Whether calls on it wait."""
        return os.get_blocking(self._end.fileno())

    @property
    def listens(self) -> bool:
        """Whether it is, or came in the place of, one that listens."""
        option = self._end.getsockopt(sockets.SOL_SOCKET, sockets.SO_ACCEPTCONN)
        return self.of.listened or bool(option)

    def renew(self) -> None:
        """Let the program have a new socket of the kernel instead.

        Raises:
            OSError: ENETDOWN: it would not have the program's rights, or not be where the program
                is; as socket(2), and as `Stop.inject`.
        """
        _check_ours(self._stop)
        kind = sockets.SOCK_STREAM if self.of.stream else sockets.SOCK_DGRAM
        with sockets.socket(self.of.domain, kind) as new:
            for option, size in KEPT.items():
                with suppress(OSError):
                    value = self._end.getsockopt(sockets.SOL_SOCKET, option, size)
                    new.setsockopt(sockets.SOL_SOCKET, option, value)
            self._replace(new)

    def hush(self) -> None:
        """Let the program have one instead that is never ready.

        Raises:
            OSError: as `Stop.inject`.
        """
        if self._end.type != sockets.SOCK_DGRAM:
            with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM) as quiet:
                mark(quiet, self.of._replace(listened=self.of.stream))
                self._replace(quiet)

    def _replace(self, new: sockets.socket) -> None:
        os.set_blocking(new.fileno(), os.get_blocking(self._end.fileno()))
        replace(self._stop, self._fd, self._file, self._end.fileno(), new.fileno())


@contextmanager
def socket_of(stop: Stop, fd: int) -> Iterator[tuple[sockets.socket | None, StandIn | None]]:
    """A copy of a socket of the caller's, and that as an end of ours if it is one.

    Both are None where the descriptor is no socket.

    Raises:
        OSError: EBADF, or it is not ours to know what the descriptor is.
        Gone: the call is over.
    """
    file = stop.file(fd)
    if file is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if not file.startswith(b"socket:["):
        yield None, None
        return
    with sockets.socket(fileno=stop.borrow(fd, file)) as copy:
        of = marked(copy)
        yield copy, None if of is None else StandIn(stop, fd, file, copy, of)


def _check_ours(stop: Stop) -> None:
    """Whether a socket that we make would be as one that the caller makes."""
    ids, user, network = stop.standing()
    own = tuple(os.readlink(f"/proc/self/ns/{each}") for each in ("user", "net"))
    if (user, network) != own or ids != Own().ids:
        raise OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN))


def wake_servers() -> None:
    """Let those who wait on sockets of ours that listen find that these do no more.

    They learn why by the accept(2) that they make then.
    """
    done: set[bytes] = set()
    for process in proc.descendants(os.getpid()):
        with suppress(OSError):
            pidfd = os.pidfd_open(process)
            try:
                for fd, name in proc.files(process):
                    if name.startswith("socket:[") and name.encode() not in done:
                        done.add(name.encode())
                        with suppress(OSError):
                            _stop_listening(pidfd_getfd(pidfd, fd))
            finally:
                os.close(pidfd)


def _stop_listening(copy: int) -> None:
    with sockets.socket(fileno=copy) as end:
        if end.getsockopt(sockets.SOL_SOCKET, sockets.SO_ACCEPTCONN) and marked(end):
            end.shutdown(sockets.SHUT_RDWR)
