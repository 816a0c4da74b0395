"""What becomes of a trapped call when nobody is there to serve it.

`native` lets the kernel do what it can: new sockets are the kernel's, those that had not got to a
connection become such, and the others behave as connections that broke.  `refused` lets nothing
reach the network: what is not known to end in this machine fails with ENETDOWN.  `killed` ends the
process that calls.
"""

from __future__ import annotations

import enum
import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from tesla_trace.keeper.standin import StandIn, socket_of
from tesla_trace.kernel import proc
from tesla_trace.kernel.members import Below
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls.arguments.flags import MSG_FASTOPEN
from tesla_trace.syscalls.arguments.words import signed
from tesla_trace.syscalls.escapes.ways import HARMLESS

Fail = Callable[[Stop, int], None]
Answer = Callable[[Stop, Fail], None]


class OnCrash(enum.Enum):
    """What becomes of the program when the supervisor has died."""

    OPEN = "open"
    CLOSED = "closed"
    KILL = "kill"


ELSEWHERE = frozenset({"setns", "unshare", "epoll_create", "epoll_create1"})
"""Calls that reach nothing by themselves."""

_ACCEPTING = frozenset({"accept", "accept4"})
REACHING = frozenset({"connect", "bind", "listen", *_ACCEPTING})
SENDING = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}
"""Which of the arguments are the flags."""
RECEIVING = frozenset({"recvfrom", "recvmsg", "recvmmsg", "recvmmsg_time64"})

_ANEW = frozenset({"connect", "bind", "getsockopt", "setsockopt", "getsockname", *SENDING})
"""Calls that a socket which was never connected is good for."""
_NAMES = frozenset({"getsockname", "getpeername"})


def native(stop: Stop, fail: Fail) -> None:
    """Let the kernel do the call, on a socket of the kernel where it needs one."""
    if stop.call == "socket" or stop.call in ELSEWHERE or stop.call in ("pidfd_getfd", "ptrace"):
        return stop.proceed()
    try:
        with socket_of(stop, signed(stop.args[0])) as (_, stand_in):
            number = 0 if stand_in is None else _as_broken(stop.call, stand_in)
    except Gone:
        return
    except OSError:  # not ours to look into, and so not one of ours
        number = 0
    if number:
        fail(stop, number)
    else:
        stop.proceed()


def _as_broken(call: str, end: StandIn) -> int:
    """Make of an end of ours what the call can be done on; or the errno that it fails with."""
    if not end.of.stream:
        return _renewed(end) or (errno.ENETDOWN if call in RECEIVING else 0)
    if call in _ACCEPTING:
        return _of_accept(end)
    if call == "listen":
        return errno.ENETDOWN  # a socket that is new would not be bound where this one was
    if end.listens:
        return errno.ENETDOWN if call in _ANEW else 0
    if call == "connect" or call in _ANEW and not end.connected:
        return _renewed(end)
    return errno.ENOTCONN if call in _NAMES else 0


def _of_accept(end: StandIn) -> int:
    """Tell once that there is no network: accept(2) says to try again after ENETDOWN."""
    told = end.of.listened and not end.blocks
    _hush(end)
    return errno.EAGAIN if told else errno.ENETDOWN


def _renewed(end: StandIn) -> int:
    try:
        end.renew()
    except OSError:
        _hush(end)
        return errno.ENETDOWN
    return 0


def _hush(end: StandIn) -> None:
    with suppress(OSError):  # it keeps what it has
        end.hush()


def refused(stop: Stop, fail: Fail) -> None:
    """Let the call be done only if it ends in this machine."""
    try:
        number = _refusal(stop)
    except Gone:
        return
    except OSError as wrong:
        number = errno.EBADF if wrong.errno == errno.EBADF else errno.ENETDOWN
    if number:
        fail(stop, number)
    else:
        stop.proceed()


def _refusal(stop: Stop) -> int:
    call = stop.call
    if call in ELSEWHERE:
        return 0
    if call == "socket":
        return errno.ENETDOWN
    if call == "pidfd_getfd":
        return errno.EPERM
    if call == "ptrace":
        process = proc.number_in(stop.thread, signed(stop.args[1]))
        return 0 if process is not None and process in Below() else errno.EPERM
    if call not in REACHING and call not in SENDING and call not in RECEIVING:
        return 0  # about options, names and ends of what is there already
    with socket_of(stop, signed(stop.args[0])) as (copy, stand_in):
        if stand_in is not None and call in _ACCEPTING:
            return _of_accept(stand_in)
        if stand_in is not None:
            if stand_in.listens or not stand_in.of.stream:
                _hush(stand_in)
            return 0 if call in RECEIVING and stand_in.of.stream else errno.ENETDOWN
        if call in RECEIVING:
            return 0
        if copy is None:  # the kernel would look the descriptor up again
            return errno.ENOTSOCK
        if call in SENDING and signed(stop.args[SENDING[call]]) & MSG_FASTOPEN:
            return errno.ENETDOWN
        return 0 if copy.family in HARMLESS else errno.ENETDOWN


def killed(stop: Stop, fail: Fail) -> None:
    """End the process: it is not below us, or it would have been ended before."""
    with suppress(OSError):
        os.kill(stop.process(), signal.SIGKILL)
    stop.fail(errno.ENETDOWN)


ANSWERS: dict[OnCrash, Answer] = {
    OnCrash.OPEN: native,
    OnCrash.CLOSED: refused,
    OnCrash.KILL: killed,
}
