"""The trapped calls, when they are trapped, and what does them."""

from __future__ import annotations

import errno
import socket as sockets
from collections.abc import Callable, Iterator

from tesla_trace.flow import Stack
from tesla_trace.kernel.filter import Condition, Masked, NonZero, Rule
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls import accept, connect, create, messages, names, options
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.socket import Socket
from tesla_trace.syscalls.words import signed

Doing = Callable[[Session, Stop, Socket], None]

DOMAINS = (sockets.AF_INET, sockets.AF_INET6)
TYPES = (sockets.SOCK_STREAM, sockets.SOCK_DGRAM, sockets.SOCK_RAW)

_REGISTER = 0xFFFFFFFF
_FASTOPEN = (Masked(2, messages.MSG_FASTOPEN, messages.MSG_FASTOPEN),)

CALLS: dict[str, tuple[Doing, tuple[tuple[Condition, ...], ...]]] = {
    "connect": (connect.connect, ((),)),
    "shutdown": (connect.shutdown, ((),)),
    "bind": (names.bind, ((),)),
    "getsockname": (names.getsockname, ((),)),
    "getpeername": (names.getpeername, ((),)),
    "listen": (accept.listen, ((),)),
    "accept": (accept.accept, ((),)),
    "accept4": (accept.accept, ((),)),
    "getsockopt": (options.getsockopt, ((),)),
    "setsockopt": (options.setsockopt, ((),)),
    "sendto": (
        messages.sendto,
        ((NonZero(4),), (Masked(3, messages.MSG_FASTOPEN, messages.MSG_FASTOPEN),)),
    ),
    "sendmsg": (messages.sendmsg, (_FASTOPEN,)),
    "sendmmsg": (messages.sendmmsg, ((Masked(3, messages.MSG_FASTOPEN, messages.MSG_FASTOPEN),),)),
}
"""What does each call, and the conditions, one of which must hold for it to be trapped."""


DOING = {call: doing for call, (doing, _) in CALLS.items()}
"""What does each call on a socket of ours, whose descriptor is its first argument."""


def rules(stack: Stack) -> list[Rule]:
    """What to trap for these handlers, and no more."""
    return [
        *_sockets(stack),
        *(Rule(call, each) for call, (_, when) in CALLS.items() for each in when),
    ]


def _sockets(stack: Stack) -> Iterator[Rule]:
    for type in TYPES:
        if stack.serves(type) and type == sockets.SOCK_STREAM or stack.refuses(type):
            for domain in DOMAINS:
                yield Rule("socket", (Masked(0, _REGISTER, domain), Masked(1, create.KIND, type)))


def serve(session: Session, stop: Stop) -> None:
    """Do one trapped call, or leave it waiting."""
    try:
        if stop.call == "socket":
            return create.socket(session, stop)
        socket = session.socket(stop, signed(stop.args[0]))
        if socket is None:
            return stop.proceed()
        DOING[stop.call](session, stop, socket)
    except Gone:
        session.held.release(stop)
    except OSError as wrong:
        stop.fail(wrong.errno or errno.EIO)
    except Exception as wrong:
        stop.fail(errno.ECONNABORTED)  # never let through because something went wrong
        session.crashed(f"{stop.call}(2) of thread {stop.thread}", wrong)
