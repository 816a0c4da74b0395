"""The trapped calls, when they are trapped, and what does them."""

from __future__ import annotations

import errno
import socket as sockets
from collections.abc import Callable, Iterable
from functools import lru_cache

from tesla_trace.flow import Stack
from tesla_trace.kernel.filter import Condition, Masked, NonZero, Rule, all_but
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls import create
from tesla_trace.syscalls.arguments.flags import MSG_ERRQUEUE, MSG_FASTOPEN, MSG_MORE
from tesla_trace.syscalls.arguments.words import error, signed
from tesla_trace.syscalls.datagram import calls as datagram_calls
from tesla_trace.syscalls.datagram import receive as datagram_receive
from tesla_trace.syscalls.datagram import send as datagram_send
from tesla_trace.syscalls.datagram.socket import DatagramSocket
from tesla_trace.syscalls.escapes import reach, unserved
from tesla_trace.syscalls.escapes.ways import HARMLESS
from tesla_trace.syscalls.foreign import calls as foreign_calls
from tesla_trace.syscalls.foreign import handed as handed_calls
from tesla_trace.syscalls.foreign import lent
from tesla_trace.syscalls.handback.handed import Handed
from tesla_trace.syscalls.options import ioctls, known, sockopt
from tesla_trace.syscalls.program_socket import ProgramSocket
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.stream import accept, connect, names
from tesla_trace.syscalls.stream import receive as stream_receive
from tesla_trace.syscalls.stream import send as stream_send
from tesla_trace.syscalls.stream.socket import Socket
from tesla_trace.syscalls.stream.state import State

Doing = Callable[[Session, Stop, Socket], None]
DatagramDoing = Callable[[Session, Stop, DatagramSocket], None]
Reaching = Callable[[Session, Stop], None]
Conditions = tuple[tuple[Condition, ...], ...]

_REGISTER = 0xFFFFFFFF
_FASTOPEN = (Masked(2, MSG_FASTOPEN, MSG_FASTOPEN),)


def _any_flag(arg: int, flags: Iterable[int]) -> Conditions:
    """Conditions of which one holds if any of `flags` is set in a register."""
    return tuple((Masked(arg, flag, flag),) for flag in flags)


def getsockopt(session: Session, stop: Stop, socket: ProgramSocket) -> None:
    """An option of the socket's, or what a program that knows of us asks."""
    (known if known.is_known(stop) else sockopt).getsockopt(session, stop, socket)


def setsockopt(session: Session, stop: Stop, socket: ProgramSocket) -> None:
    """Likewise."""
    (known if known.is_known(stop) else sockopt).setsockopt(session, stop, socket)


CALLS: dict[str, tuple[Doing, Conditions]] = {
    "connect": (connect.connect, ((),)),
    "shutdown": (connect.shutdown, ((),)),
    "bind": (names.bind, ((),)),
    "getsockname": (names.getsockname, ((),)),
    "getpeername": (names.getpeername, ((),)),
    "listen": (accept.listen, ((),)),
    "accept": (accept.accept, ((),)),
    "accept4": (accept.accept, ((),)),
    "getsockopt": (getsockopt, ((),)),
    "setsockopt": (setsockopt, ((),)),
    "sendto": (
        stream_send.sendto,
        ((NonZero(4),), (Masked(3, MSG_FASTOPEN, MSG_FASTOPEN),)),
    ),
    "sendmsg": (stream_send.sendmsg, (_FASTOPEN,)),
    "sendmmsg": (stream_send.sendmmsg, ((Masked(3, MSG_FASTOPEN, MSG_FASTOPEN),),)),
    "ioctl": (ioctls.ioctl, tuple((Masked(1, _REGISTER, each),) for each in ioctls.REQUESTS)),
    "recvfrom": (
        stream_receive.recvfrom,
        ((NonZero(4),), *_any_flag(3, stream_receive.TRAPPED)),
    ),
    "recvmsg": (stream_receive.recvmsg, _any_flag(2, stream_receive.TRAPPED)),
    "recvmmsg": (stream_receive.recvmmsg, _any_flag(3, stream_receive.TRAPPED)),
    "recvmmsg_time64": (stream_receive.recvmmsg, _any_flag(3, stream_receive.TRAPPED)),
}
"""What does each call on a stream, and the conditions: one must hold for it to be trapped."""


DATAGRAM_CALLS: dict[str, tuple[DatagramDoing, Conditions]] = {
    "connect": (datagram_calls.connect, ()),
    "bind": (datagram_calls.bind, ()),
    "shutdown": (datagram_calls.shutdown, ()),
    "getsockname": (datagram_calls.getsockname, ()),
    "getpeername": (datagram_calls.getpeername, ()),
    "listen": (datagram_calls.refuse, ()),
    "accept": (datagram_calls.refuse, ()),
    "accept4": (datagram_calls.refuse, ()),
    "getsockopt": (getsockopt, ()),
    "setsockopt": (setsockopt, ()),
    "ioctl": (ioctls.ioctl, ()),
    "sendto": (datagram_send.sendto, ((Masked(3, MSG_MORE, MSG_MORE),),)),
    "sendmsg": (datagram_send.sendmsg, ((),)),
    "sendmmsg": (datagram_send.sendmmsg, ((),)),
    "recvfrom": (
        datagram_receive.recvfrom,
        ((NonZero(4),), (Masked(3, MSG_ERRQUEUE, MSG_ERRQUEUE),)),
    ),
    "recvmsg": (datagram_receive.recvmsg, ((),)),
    "recvmmsg": (datagram_receive.recvmmsg, ((),)),
    "recvmmsg_time64": (datagram_receive.recvmmsg, ((),)),
}
"""The same on datagram sockets, and what is trapped besides where a handler serves those."""

FOREIGN: dict[str, Callable[[Session, Stop], None]] = {
    "connect": foreign_calls.connect,
    "accept": lent.accept,
    "accept4": lent.accept,
    "sendto": foreign_calls.sendto,
    "sendmsg": foreign_calls.sendmsg,
    "sendmmsg": foreign_calls.sendmmsg,
}
"""What does a call on a socket that is not ours."""


REACHING: dict[str, tuple[Reaching, Conditions]] = {
    "socket": (create.socket, ()),
    "setns": (reach.move, ((),)),
    "unshare": (reach.move, tuple((Masked(0, each, each),) for each in reach.MOVES)),
    "epoll_create": (reach.watch, ((),)),
    "epoll_create1": (reach.watch, ((),)),
    "pidfd_getfd": (reach.take, ((),)),
    "ptrace": (reach.attach, tuple((Masked(0, _REGISTER, each),) for each in reach.ATTACHES)),
}
"""The same for calls that are about no socket yet.  For socket(2) see `rules`."""

ONCE = frozenset(
    "connect bind shutdown getsockopt sendto sendmsg sendmmsg"
    " recvfrom recvmsg recvmmsg recvmmsg_time64".split()
)
"""Calls that do not do the same when they are done a second time; see `kernel.interruptible`."""

SENDING = frozenset({"send", "sendto", "sendmsg", "sendmmsg"})
"""Calls whose flags may say to connect by the time that the kernel reads them, if it does."""

FAMILIES = 6
"""Bits of a socket's family: there are fewer than 64 (linux/socket.h)."""


def rules(stack: Stack, *, closed: bool = False) -> list[Rule]:
    """What to trap for these handlers, and no more.

    Args:
        closed: nothing may go past the handlers, not from a socket that the program inherited.
    """
    found = [
        *(Rule("socket", (each,)) for each in all_but(0, HARMLESS, FAMILIES)),
        *(Rule(call, each) for call, (_, when) in CALLS.items() for each in when),
        *(Rule(call, each) for call, (_, when) in REACHING.items() for each in when),
    ]
    if closed:
        found += [Rule("sendmsg"), Rule("sendmmsg")]
    if stack.serves(sockets.SOCK_DGRAM):
        more = DATAGRAM_CALLS.items()
        found += (Rule(call, each) for call, (_, when) in more for each in when)
    return list(dict.fromkeys(found))  # each once: libseccomp takes none a second time


def every_rule() -> list[Rule]:
    """A rule for each call that may be trapped for any handlers."""
    return [Rule(call) for call in dict.fromkeys((*CALLS, *DATAGRAM_CALLS, *REACHING))]


@lru_cache(maxsize=64)
def _rules_by_call(stack: Stack, closed: bool) -> dict[str, list[Rule]]:
    found: dict[str, list[Rule]] = {}
    for rule in rules(stack, closed=closed):
        found.setdefault(rule.call, []).append(rule)
    return found


def _is_for_us(session: Session, stop: Stop) -> bool:
    """Whether a rule is for the call: what the filter looked at, unless it could not."""
    found = _rules_by_call(session.stack, session.closed)
    return any(rule.holds(stop.args) for rule in found.get(stop.call, ()))


def serve(session: Session, stop: Stop, *, loose: bool = False) -> None:
    """Do one trapped call, or leave it waiting.

    Args:
        loose: the filter is somebody else's, and may trap more than our rules ask for.
    """
    try:
        session.held.calls(stop.thread)
        if stop.copied and stop.call in SENDING and session.handing.must_not_send:
            raise error(errno.EOPNOTSUPP)
        if session.parting is not None and session.parting.serve(stop):
            return
        if (loose or stop.copied) and not _is_for_us(session, stop):
            return unserved.leave(session, stop)
        if stop.call in REACHING:
            return REACHING[stop.call][0](session, stop)
        socket = session.socket(stop, signed(stop.args[0]))
        if isinstance(socket, Socket) and stop.call in CALLS:
            if socket.tries and socket.state is State.CONNECTED and stop.call != "shutdown":
                socket = session.handing.hand_back(socket, stop, signed(stop.args[0])) or socket
            if isinstance(socket, Socket):
                return CALLS[stop.call][0](session, stop, socket)
        if isinstance(socket, Handed):
            handed_calls.serve(session, stop, socket)
        elif isinstance(socket, DatagramSocket):
            socket.seen = stop, signed(stop.args[0])
            DATAGRAM_CALLS[stop.call][0](session, stop, socket)
        elif socket is None and stop.call in FOREIGN:
            FOREIGN[stop.call](session, stop)
        else:
            stop.proceed()
    except Gone:
        session.held.release(stop)
    except OSError as wrong:
        stop.fail(wrong.errno or errno.EIO)
    except Exception as wrong:
        stop.fail(errno.ECONNABORTED)  # never let through because something went wrong
        session.crashed(f"{stop.call}(2) of thread {stop.thread}", wrong)
