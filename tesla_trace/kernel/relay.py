"""Trapping by way of a tracer around us: it has the listener, and relays to us what we ask for.

Facts: there is one listener in a chain of filters, and a filter that says USER_NOTIF without having
one makes its calls fail with ENOSYS (seccomp(2)).  So whoever runs under a tracer sees calls of the
processes below it only through that tracer.

What it means for us: the one around us has a socket, which our environment names, and sends us the
calls of the processes that we start.  What is done with them we tell it, and memory and descriptors
we look at ourselves.  A call that we let through is then the other's to serve, and our own sockets
are a program's to it: so its handlers stand below ours, and we can take nothing from it.

To ask takes a message each way while our thread waits.  The other never waits for us.  Messages
go by send(2), which is not trapped; only one with a descriptor takes sendmsg(2), which may be.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress

from tesla_trace.kernel.filter import Condition, Masked, NonZero, Rule
from tesla_trace.kernel.notified import NotifyStop
from tesla_trace.kernel.spawn import OuterError
from tesla_trace.kernel.thread import Threads
from tesla_trace.kernel.trap import Gone

EVENT = struct.Struct("=QIBB6Q")
"""A call, to us: its serial number, thread, bytes of a pointer, whether the arguments were copied,
the arguments; the call's name follows."""
REQUEST = struct.Struct("=cQqI")
"""From us: what, for which serial number, a number, flags."""
RESULT = struct.Struct("=qi")
"""The answer to one that waits for it: a value, an errno."""

INJECT, WAITING, REPLY, FAIL, PROCEED, RESTART, LEAVE = (bytes([each]) for each in b"iwrfpsl")
"""What may be asked for.  The first two are answered; the last says that nobody of ours is left."""

CLOEXEC = 1
LOWEST = -1
"""In place of a descriptor's number: the lowest that is free."""

MOST = 1 << 16
"""Bytes of a message."""
PATIENCE = 20.0
"""Seconds that the other may take to answer; it is at work for others, too."""


def pack_rules(rules: Iterable[Rule]) -> list[object]:
    """Rules as JSON has them."""
    return [[rule.call, [_packed(each) for each in rule.conditions]] for rule in rules]


def _packed(condition: Condition) -> list[int]:
    match condition:
        case Masked(arg, mask, value):
            return [arg, mask, value]
        case NonZero(arg):
            return [arg]


def unpack_rules(given: object) -> list[Rule]:
    """The other way round.

    Raises:
        ValueError, TypeError: they are none.
    """
    if not isinstance(given, list):
        raise ValueError("no rules")
    return [Rule(str(call), tuple(map(_unpacked, conditions))) for call, conditions in given]


def _unpacked(numbers: Sequence[int]) -> Condition:
    arg, *rest = (int(number) for number in numbers)
    if not 0 <= arg < 6 or len(rest) not in (0, 2):
        raise ValueError("no condition")
    return Masked(arg, *rest) if rest else NonZero(arg)


class RelayedStop(NotifyStop):
    """A call that somebody else has for us; see `trap.Stop`."""

    __slots__ = ("_trap",)

    def __init__(self, trap: RelayTrap, threads: Threads, words: tuple[int, ...], call: str):
        serial, thread, word, copied, *args = words
        super().__init__(-1, threads, b"%d" % serial, thread, call, tuple(args), word)
        self.copied = bool(copied)
        self._trap = trap

    def inject(self, fd: int, *, cloexec: bool, at: int | None = None) -> int:
        """As `trap.Stop.inject`."""
        self._given = True
        place = LOWEST if at is None else at
        return self._trap.ask(INJECT, int(self.id), place, CLOEXEC if cloexec else 0, fd)

    def waiting(self) -> bool:
        """As `trap.Stop.waiting`."""
        try:
            return bool(self._trap.ask(WAITING, int(self.id)))
        except Gone:
            return False

    def reply(self, value: int = 0) -> None:
        """As `trap.Stop.reply`."""
        self._trap.tell(REPLY, int(self.id), value)

    def fail(self, number: int) -> None:
        """As `trap.Stop.fail`."""
        self._trap.tell(FAIL, int(self.id), number)

    def proceed(self) -> None:
        """As `trap.Stop.proceed`: the one around us serves it."""
        self._trap.tell(PROCEED, int(self.id))

    def restart(self) -> None:
        """As `trap.Stop.restart`."""
        self._trap.tell(RESTART, int(self.id))


class RelayTrap:
    """The calls of processes below us that the one around us relays.

    Args:
        name: of its socket.
        rules: the calls that we want.
        closed: none of those below us is to make a socket should we die.
        heirs: our parent and its parent, if those below us are to be theirs then.

    Raises:
        ConnectionError: nobody is there, or it is not around us.
        OuterError: it is, and does not relay.
    """

    def __init__(
        self, name: str, rules: Iterable[Rule], *, closed: bool, heirs: Sequence[int] = ()
    ) -> None:
        self._calls = {rule.call for rule in rules}
        self._threads = Threads()
        self._threads.making_epoll(0)
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(PATIENCE)
        try:
            self._channel.connect("\0" + name)
            hello = {"rules": pack_rules(rules), "closed": closed, "heirs": heirs}
            self._channel.send(json.dumps(hello).encode())
            said, fds, _, _ = socket.recv_fds(self._channel, MOST, 1)
            self._calls_come(json.loads(said or b"{}"), fds)
        except OSError as wrong:
            self._channel.close()
            raise ConnectionError(wrong.errno, wrong.strerror) from wrong
        except BaseException:
            self._channel.close()
            raise

    def _calls_come(self, answer: dict[str, str], fds: list[int]) -> None:
        for fd in fds:
            os.set_inheritable(fd, False)  # recv_fds of Python 3.11 takes no MSG_CMSG_CLOEXEC
            self._events = socket.socket(fileno=fd)
        if not fds and answer.get("why"):
            raise OuterError(answer["why"])
        if not fds:
            raise ConnectionError(errno.ECONNREFUSED, "not around us")

    def fileno(self) -> int:
        """As `trap.Trap.fileno`."""
        return self._events.fileno()

    def next(self) -> RelayedStop | None:
        """As `trap.Trap.next`."""
        try:
            told = self._events.recv(MOST, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            told = b""
        if not told:
            raise EOFError
        call = told[EVENT.size :].decode()
        stop = RelayedStop(self, self._threads, EVENT.unpack_from(told), call)
        if call not in self._calls:
            stop.proceed()
            return None
        return stop

    def end(self) -> None:
        """No process is left: let `next` say so."""
        self.tell(LEAVE, 0)
        with suppress(OSError):
            self._events.shutdown(socket.SHUT_RDWR)

    def linger(self) -> None:
        """As `trap.Trap.linger`: who relays takes longer than it is worth to wait."""

    def close(self) -> None:
        """As `trap.Trap.close`."""
        self._events.close()
        self._channel.close()

    def tell(self, what: bytes, serial: int, value: int = 0) -> None:
        """Say something that wants no answer; if nobody hears it, `next` will find out."""
        with suppress(OSError):
            self._channel.send(REQUEST.pack(what, serial, value, 0))

    def ask(self, what: bytes, serial: int, value: int = 0, flags: int = 0, fd: int = -1) -> int:
        """Ask, and wait for the answer.

        Raises:
            Gone: the call is over, or the other is.
            OSError: what is asked for cannot be done.
        """
        request = REQUEST.pack(what, serial, value, flags)
        try:
            if fd < 0:
                self._channel.send(request)
            else:
                fds = array.array("i", [fd])
                self._channel.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            result, number = RESULT.unpack(self._channel.recv(RESULT.size))
        except (OSError, struct.error) as wrong:
            self._channel.close()  # an answer that comes late would be taken for another's
            raise Gone from wrong
        if number == errno.ESRCH:
            raise Gone
        if number:
            raise OSError(number, os.strerror(number))
        return int(result)
