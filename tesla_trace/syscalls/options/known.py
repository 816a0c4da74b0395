"""Programs that know of us: getsockopt(2) and setsockopt(2) at a level of our own.

Facts (net/ipv4/ip_sockglue.c, net/core/sock.c): at a level that it does not know, the kernel says
ENOPROTOOPT, or for getsockopt(2) on AF_INET and for AF_UNIX EOPNOTSUPP, and looks at nothing else.
That is what a program gets without us, or on a socket that no handler serves.

What a program says is laid out alike for all ABIs (include/tesla_trace.h): a head, and the argument
behind it.  The answer of getsockopt(2) takes the place of both.
"""

from __future__ import annotations

import errno
import struct
from contextlib import AbstractContextManager
from typing import Protocol

from tesla_trace.flow import HIGHEST, OWN, FlowHandler, handlers_of
from tesla_trace.io.datagram_top import DatagramTop
from tesla_trace.io.events import EventsEnd
from tesla_trace.io.top import Top
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.words import error, pack_int, signed
from tesla_trace.syscalls.options.sockopt import LONGEST, give, room
from tesla_trace.syscalls.session import Session

LEVEL = 0x7E51
REQUEST, EVENTS = 1, 2
"""The options at that level."""

LIST = 0
"""The request that is not a handler's: which handlers there are."""

HEAD = struct.Struct("=32sIIII")
"""The handler's name, its index among those of the name, the request, the argument's size, 0."""

_NO_DESCRIPTOR = pack_int(-1)


class Asked(Protocol):
    """A socket of the program."""

    def asked(self) -> AbstractContextManager[FlowHandler]:
        """Whom to ask."""


def is_known(stop: Stop) -> bool:
    """Whether getsockopt(2) or setsockopt(2) is for us."""
    return signed(stop.args[1]) == LEVEL


def getsockopt(session: Session, stop: Stop, socket: Asked) -> None:
    """Do what is asked, and give the answer.

    Raises:
        OSError: ENOTCONN, there are no handlers yet, or no more; ERANGE, no room for the answer;
            see also `_answer`.
    """
    option, size = signed(stop.args[2]), room(stop)
    if option not in (REQUEST, EVENTS):
        raise error(errno.ENOPROTOOPT)
    if size < (HEAD.size if option == REQUEST else len(_NO_DESCRIPTOR)):
        raise error(errno.EINVAL)
    if option == EVENTS:
        with socket.asked() as asked:
            return _open(session, stop, _built(asked))
    said = stop.read(stop.args[3], size)
    with socket.asked() as asked:
        answer = _answer(_built(asked), said)
    if len(answer) > size:
        raise error(errno.ERANGE)
    give(stop, answer)


def setsockopt(_: Session, stop: Stop, socket: Asked) -> None:
    """Do what is asked; whoever asks so does without the answer.  Raises as `getsockopt`."""
    option, size = signed(stop.args[2]), signed(stop.args[4])
    if option != REQUEST:
        raise error(errno.ENOPROTOOPT)
    if size < HEAD.size:
        raise error(errno.EINVAL)
    said = stop.read(stop.args[3], min(size, LONGEST))
    with socket.asked() as asked:
        _answer(_built(asked), said)
    stop.reply(0)


def _built(asked: FlowHandler) -> Top | DatagramTop:
    """The top of a graph: there is one from connect, listen or accept on, or the first datagram."""
    if not isinstance(asked, Top | DatagramTop) or asked.closed or asked.graph.crashed:
        raise error(errno.ENOTCONN)
    return asked


def _answer(top: Top | DatagramTop, said: bytes) -> bytes:
    """What the handler says.

    Raises:
        OSError: EINVAL, this is no request; ENODEV, there is no such handler; ENOTTY, it does not
            know the request; others, as the handler says.
    """
    name: bytes
    index: int
    name, index, request, size, null = HEAD.unpack_from(said)
    if request > HIGHEST or size > len(said) - HEAD.size or null:
        raise error(errno.EINVAL)
    handlers = list(handlers_of(top))
    if request == LIST:
        return b"".join(each.name.encode() + b"\0" for each in handlers)
    name = name.partition(b"\0")[0]
    same = [each for each in handlers if each.name.encode() == name]
    if index >= len(same):
        raise error(errno.ENODEV)
    try:
        return same[index].ioctl(OWN + request, said[HEAD.size : HEAD.size + size])
    except OSError:
        raise
    except Exception as wrong:
        raise top.graph.crash(wrong) from wrong


def _open(session: Session, stop: Stop, top: Top | DatagramTop) -> None:
    """Give the program a descriptor of what handlers tell; one that it had before ends."""
    _, _, _, value, length, *_ = stop.args
    # Before, for once it has a descriptor it must also learn which.
    stop.write_two(value, _NO_DESCRIPTOR, length, pack_int(len(_NO_DESCRIPTOR)))
    flow = top.ctx.flow
    end = EventsEnd(session.loop, flow, top)
    with end.theirs:
        try:
            fd = stop.inject(end.theirs.fileno(), cloexec=True)
        except BaseException:
            end.close()
            raise
    flow.events.open(end)
    stop.write(value, pack_int(fd))
    stop.reply(0)
