"""What a thread may, and acting with no more than that.

Facts (credentials(7), capabilities(7)):

- The kernel keeps user, groups and capabilities per *thread*; the C library's setresuid(2) changes
  them in all threads, the bare system call in one.
- Changing only the effective user leaves the real and the saved one: with them comes the way back,
  and processes of the user that we act for can neither signal nor trace us meanwhile.  It clears
  the effective capabilities and leaves the permitted ones, from which they are taken back.
- A change of rights makes a process undumpable (prctl(2)), until that is set again.
- PIDFD_GET_INFO (Linux 6.13) with capget(2) takes 4 µs, reading /proc/TID/status 20.
- Capabilities count in the user namespace that they were got in, and in those below.

What it means for us: a socket that is made, bound or set up for a thread is so with its rights.
The owner of a socket (the uid in /proc/net/tcp, what iptables' owner match sees) is right, too.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from contextlib import suppress
from typing import NamedTuple, NoReturn

from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import check, libc, number_of, prctl

CAPABILITY_VERSION = 0x20080522
CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN = 1 << 6, 1 << 7, 1 << 21

PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4

PIDFD_GET_INFO = 0xC040FF0B
_INFO = struct.Struct("=20xI28xII4x")
"""struct pidfd_info: … tgid … fsuid, fsgid …"""
_info = bytearray(_INFO.size)

_header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION)
_data = (ctypes.c_uint32 * 6)()
_to_header, _to_data = (ctypes.c_void_p(ctypes.addressof(each)) for each in (_header, _data))
_capget = libc.capget
_SAME = ctypes.c_uint32(0xFFFFFFFF)


class Ids(NamedTuple):
    """Whose a thread is: what makes a difference to the sockets that it makes."""

    uid: int
    gid: int
    capabilities: int
    """The effective ones, a bit each."""


def of(thread: int, pidfd: int) -> tuple[int, Ids]:
    """The process that a thread belongs to, and whose it is.

    Args:
        pidfd: of the thread.

    Raises:
        OSError: ESRCH, it is gone.
    """
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, _info)
    except OSError as wrong:
        if wrong.errno not in (errno.ENOTTY, errno.EINVAL):
            raise
        fields = proc.status(thread)
        return int(fields["Tgid"]), Ids(
            int(fields["Uid"].split()[3]), int(fields["Gid"].split()[3]), int(fields["CapEff"], 16)
        )
    process, uid, gid = _INFO.unpack_from(_info)
    return process, Ids(uid, gid, capabilities(thread))


def capabilities(thread: int) -> int:
    """The effective capabilities of a thread, in its user namespace.

    Raises:
        OSError: ESRCH, it is gone.
    """
    _header[1] = thread
    if _capget(_to_header, _to_data):
        check(-1)
    return int(_data[0] | _data[3] << 32)


def groups(thread: int) -> tuple[int, ...]:
    """The supplementary groups of a thread.

    Raises:
        OSError: ENOENT or ESRCH, it is gone.
    """
    return tuple(map(int, proc.status(thread)["Groups"].split()))


class Own:
    """The rights of this thread as they are now, to come back to."""

    def __init__(self) -> None:
        self.uid, self.gid, self.groups = os.geteuid(), os.getegid(), tuple(os.getgroups())
        self.capabilities = capabilities(0)
        self._bits = tuple(_data)
        self.dumpable = libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)

    @property
    def ids(self) -> Ids:
        """Whose we are."""
        return Ids(self.uid, self.gid, self.capabilities)

    def may_be(self, ids: Ids) -> bool:
        """Whether we may take on that user and group."""
        may_set = CAP_SETUID | CAP_SETGID
        return self.capabilities & may_set == may_set or ids[:2] == (self.uid, self.gid)

    def have(self, effective: int) -> None:
        """Set our effective capabilities."""
        _, low, low_inherited, _, high, high_inherited = self._bits
        _header[1] = 0
        bits = (
            effective & low,
            low,
            low_inherited,
            effective >> 32 & high,
            high,
            high_inherited,
        )
        check(libc.capset(_header, (ctypes.c_uint32 * 6)(*bits)))

    def restore(self) -> None:
        """Be as at first.  Where that cannot be, we must not go on."""
        try:
            self.have(self.capabilities)
            if os.geteuid() != self.uid:
                _call("setresuid", _SAME, ctypes.c_uint32(self.uid), _SAME)
            if os.getegid() != self.gid:
                _call("setresgid", _SAME, ctypes.c_uint32(self.gid), _SAME)
            if self.capabilities & CAP_SETGID:
                _set_groups(self.groups)
            self.have(self.capabilities)
            prctl(PR_SET_DUMPABLE, self.dumpable)
        except OSError:
            _give_up()


class Rights:
    """The rights of some thread; `with` them, we have no others."""

    def __init__(
        self, own: Own, uid: int, gid: int, groups: tuple[int, ...], capabilities: int
    ) -> None:
        self.own = own
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.capabilities = capabilities

    def __enter__(self) -> None:
        """Take them on."""
        try:
            if self.own.capabilities & CAP_SETGID:
                _set_groups(self.groups)
            if self.gid != self.own.gid:
                _call("setresgid", _SAME, ctypes.c_uint32(self.gid), _SAME)
            if self.uid != self.own.uid:
                _call("setresuid", _SAME, ctypes.c_uint32(self.uid), _SAME)
            self.own.have(self.capabilities)
        except BaseException:
            self.own.restore()
            raise

    def __exit__(self, *raised: object) -> None:
        """Come back to our own."""
        self.own.restore()


def _call(name: str, *args: ctypes.c_uint32) -> None:
    check(libc.syscall(number_of(name), *args))


def _set_groups(groups: tuple[int, ...]) -> None:
    array = (ctypes.c_uint32 * len(groups))(*groups)
    check(libc.syscall(number_of("setgroups"), ctypes.c_size_t(len(groups)), array))


def _give_up() -> NoReturn:
    with suppress(OSError):
        os.write(2, b"tesla_trace: cannot come back to our own rights\n")
    os._exit(125)
