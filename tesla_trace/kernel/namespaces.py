"""Network namespaces: which one a thread is in, and making sockets there (namespaces(7)).

Facts: a socket belongs to the network namespace that its maker was in, for ever.  To enter one
takes CAP_SYS_ADMIN both in our own user namespace and in the one that owns it.  An open file of a
namespace keeps it, and its interfaces, in being.

What it means for us: a socket for a thread that has changed its namespace is made there; the file
is held by the sockets that need it, and by nobody else.
"""

from __future__ import annotations

import fcntl
import os
import weakref

from tesla_trace.kernel.libc import check, libc, number_of

CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000
NS_GET_USERNS = 0xB701


class Namespace:
    """A network namespace; `with` it, we are there.

    Args:
        file: of it; ours to close.
        home: a file of the namespace to come back to.
    """

    def __init__(self, file: int, home: int) -> None:
        self._home = home
        self._file = file
        weakref.finalize(self, os.close, file)
        self.owner = _owner(file)
        """The user namespace whose capabilities count in it, as /proc/PID/ns/user says it."""

    def __enter__(self) -> None:
        """Go there."""
        _enter(self._file)

    def __exit__(self, *raised: object) -> None:
        """Come back."""
        try:
            _enter(self._home)
        except OSError:  # where sockets of others would be made, no more must be
            os._exit(125)


def of(process: int | str) -> int:
    """An open file of the network namespace that a thread is in.

    Raises:
        OSError: EACCES, it is not ours to know; ENOENT or ESRCH, the thread is gone.
    """
    return os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(file: int) -> None:
    check(libc.syscall(number_of("setns"), file, CLONE_NEWNET))


def _owner(file: int) -> str:
    try:
        user = fcntl.ioctl(file, NS_GET_USERNS)
    except OSError:  # EPERM: it is above ours
        return ""
    try:
        return f"user:[{os.fstat(user).st_ino}]"
    finally:
        os.close(user)
