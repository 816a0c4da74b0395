"""One tracer that runs under us, and what it is asked and asks for: see kernel/relay.py.

It is a process of the program's, so all that it says is looked at: it may answer calls of the
processes below it, which are relayed to it, and nothing else.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator

from tesla_trace.io.loop import WRITE, Loop, Watch
from tesla_trace.kernel import proc, relay, rights
from tesla_trace.kernel.filter import Rule
from tesla_trace.kernel.rights import CAP_SYS_ADMIN, Ids
from tesla_trace.kernel.trap import Gone, Stop

AT_ONCE = 64
"""Requests served before others have their turn."""

SWEEP = 1024
"""Calls that wait, above which those that have gone are looked for."""

ERRORS = 512
"""Numbers of errors that programs see are smaller."""

SO_PEERPIDFD = 77

_CREDENTIALS = struct.Struct("=iII")
"""struct ucred"""


class Guest:
    """A tracer below us.

    Args:
        channel: to it.
        process: its.
        admitted: asked, with what it wants, why that cannot be; empty if it can.
        serve: does a call that it lets through.
        over: told when it has gone; to close `process` is up to it.
    """

    def __init__(
        self,
        loop: Loop,
        channel: socket.socket,
        process: Process,
        admitted: Callable[[Guest], str],
        serve: Callable[[Stop], None],
        over: Callable[[Guest], None],
    ) -> None:
        self.process = process
        self.rules: dict[str, list[Rule]] = {}
        """By the call, what it wants."""
        self.closed = False
        """Whether no process below it is to make a socket when it has gone."""
        self.heirs: list[tuple[int, int]] = []
        """Whose children those below it become when it has gone; and when they began."""
        self.left = False
        """Whether it went because no process was left below it."""
        self.gone = False
        self._channel = channel
        channel.setblocking(False)
        self._admitted, self._serve, self._over = admitted, serve, over
        self._events: socket.socket | None = None
        self._events_watch: Watch | None = None
        self._unsent: deque[bytes] = deque()
        self._calls: dict[int, Stop] = {}
        self._serial = 0
        self._loop = loop
        self._watch = loop.on_readable(channel.fileno(), self._told)
        self._watch.failed = self._failed
        self._life = loop.on_readable(process.pidfd, self.close)

    # ---- calls for it ----

    @property
    def ready(self) -> bool:
        """Whether calls may be relayed to it."""
        return self._events is not None and not self.gone

    def wants(self, stop: Stop) -> bool:
        """Whether it asked for such calls.

        Of arguments that were copied from memory what a filter tests may not hold.
        """
        rules = self.rules.get(stop.call, ())
        return any(stop.copied or rule.holds(stop.args) for rule in rules)

    def relay(self, stop: Stop) -> None:
        """Let it say what becomes of a call."""
        self._serial += 1
        self._calls[self._serial] = stop
        if len(self._calls) % SWEEP == 0:
            self._calls = {n: each for n, each in self._calls.items() if each.waiting()}
        words = self._serial, stop.thread, stop.word, stop.copied, *stop.args
        self._unsent.append(relay.EVENT.pack(*words) + stop.call.encode())
        self._send()

    def _send(self) -> None:
        assert self._events is not None and self._events_watch is not None
        try:
            while self._unsent:
                self._events.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            self._events_watch.want(WRITE, True)
            return
        except OSError:  # it has gone, which the channel tells
            self._unsent.clear()
        self._events_watch.want(WRITE, False)

    # ---- what it says ----

    def _told(self) -> None:
        for _ in range(AT_ONCE):
            try:
                data, fds, flags, _ = socket.recv_fds(self._channel, relay.MOST, 1)
            except BlockingIOError:
                return
            except OSError:
                data, fds, flags = b"", [], 0
            try:
                if not data or flags & socket.MSG_TRUNC:
                    return self.close()
                if not self.ready:
                    return self._hello(data)
                self._request(data, fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _failed(self, wrong: Exception) -> None:
        """What it said made no sense."""
        self.close()

    def _hello(self, data: bytes) -> None:
        hello = json.loads(data)
        self.closed = bool(hello["closed"])
        self.heirs = list(self._true_heirs(hello["heirs"]))
        for rule in relay.unpack_rules(hello["rules"]):
            self.rules.setdefault(rule.call, []).append(rule)
        why = self._admitted(self)
        said = json.dumps({"why": why}).encode()
        if why:
            self._channel.send(said)
            return self.close()
        self._events, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._events.setblocking(False)
        self._events_watch = self._loop.watch(self._events.fileno())
        self._events_watch.writable = self._send
        with theirs:
            socket.send_fds(self._channel, [said], [theirs.fileno()])

    def _true_heirs(self, said: list[int]) -> Iterator[tuple[int, int]]:
        """What it says, as far as they are its parent and so on."""
        parent = self.process.parent
        for each in said:
            if each != parent or each == os.getpid():
                return
            parent, began = proc.birth(each)
            yield each, began

    def _request(self, data: bytes, fds: list[int]) -> None:
        what, serial, value, flags = relay.REQUEST.unpack(data)
        if what == relay.LEAVE:
            self.left = True
            return self.close()
        stop = self._calls.get(serial)
        if what in (relay.INJECT, relay.WAITING):
            return self._answer(*self._asked(what, serial, stop, value, flags, fds))
        if stop is None:
            return
        del self._calls[serial]
        match what:
            case relay.REPLY:
                stop.reply(value)
            case relay.FAIL if 0 < value < ERRORS:
                stop.fail(value)
            case relay.RESTART:
                stop.restart()
            case relay.PROCEED:
                self._serve(stop)
            case _:
                stop.fail(errno.EIO)

    def _asked(
        self, what: bytes, serial: int, stop: Stop | None, value: int, flags: int, fds: list[int]
    ) -> tuple[int, int]:
        if stop is None:
            return 0, errno.ESRCH if what == relay.INJECT else 0
        if what == relay.WAITING:
            if not stop.waiting():
                del self._calls[serial]
                return 0, 0
            return 1, 0
        if not fds or not relay.LOWEST <= value < 1 << 31:
            return 0, errno.EMFILE
        at = None if value == relay.LOWEST else value
        try:
            return stop.inject(fds[0], cloexec=bool(flags & relay.CLOEXEC), at=at), 0
        except Gone:
            del self._calls[serial]
            return 0, errno.ESRCH
        except OSError as wrong:
            return 0, wrong.errno or errno.EIO

    def _answer(self, value: int, number: int) -> None:
        try:
            self._channel.send(relay.RESULT.pack(value, number))
        except OSError:  # it asks without listening
            self.close()

    # ---- its end ----

    def hurry(self) -> None:
        """It has had time to say what it wants."""
        if not self.ready:
            self.close()

    def close(self) -> None:
        """It has gone, or is to go; what it was asked is for others to answer."""
        if self.gone:
            return
        self.gone = True
        self._watch.close()
        self._life.close()
        self._channel.close()
        if self._events_watch is not None and self._events is not None:
            self._events_watch.close()
            self._events.close()
        self._over(self)

    def orphans(self) -> list[Stop]:
        """The calls that it has not answered."""
        calls, self._calls = list(self._calls.values()), {}
        return calls


class Process:
    """The process at the other end of a socket, as it was when it connected.

    Raises:
        OSError: it has gone, or is not ours to look into.
    """

    def __init__(self, channel: socket.socket) -> None:
        told = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid: int = _CREDENTIALS.unpack(told)[0]
        if self.pid <= 0:
            raise ProcessLookupError(errno.ESRCH, "it is in another pid namespace")
        self.pidfd = _pidfd(channel, self.pid)
        try:
            self.parent, self.began = proc.birth(self.pid)
            self.ids = rights.of(self.pid, self.pidfd)[1]
            self.user = os.readlink(f"/proc/{self.pid}/ns/user")
            self.pids = os.readlink(f"/proc/{self.pid}/ns/pid")
            if self.over():
                raise ProcessLookupError(errno.ESRCH, "it has gone")
        except BaseException:
            self.close()
            raise

    def over(self, patience: float = 0) -> bool:
        """Whether it has ended, or does within so many seconds."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(patience * 1000))

    def covers(self, ids: Ids, user: str) -> bool:
        """Whether a process with these rights has none that this one could not take."""
        if user == self.user and ids.capabilities & ~self.ids.capabilities:
            return False
        return ids.uid == self.ids.uid or bool(self.ids.capabilities & CAP_SYS_ADMIN)

    def close(self) -> None:
        """Let go."""
        os.close(self.pidfd)


def _pidfd(channel: socket.socket, pid: int) -> int:
    try:
        return channel.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError:  # before Linux 6.5; ESRCH: it has gone, and so may its number
        return os.pidfd_open(pid)
