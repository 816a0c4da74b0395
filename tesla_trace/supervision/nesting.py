"""Tracers that run under us: which calls are for which of them, and what is left when they go.

Facts: a process stays below the one that started it, or below the nearest process above that has
orphans given to it (PR_SET_CHILD_SUBREAPER), which tracers have.  So while a tracer runs, all that
it has started is below it, and nothing else.  When it is killed, what is left goes to the next
above, which is us as a rule.

What it means for us: a call is relayed to the nearest tracer above its process; it makes calls of
its own, which are ours to serve.  One that is below another is served by that, not by us: else it
would take processes out of the other's handlers.  When one is killed to whom sockets may not pass
by, its orphans make none any more: those are new children of ours that are younger than it was.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from tesla_trace.io.loop import Loop
from tesla_trace.kernel import proc
from tesla_trace.kernel.filter import Rule
from tesla_trace.kernel.trap import Gone, Stop
from tesla_trace.syscalls import table
from tesla_trace.syscalls.arguments.words import signed
from tesla_trace.syscalls.session import Session

if TYPE_CHECKING:
    from tesla_trace.supervision.guest import Guest

MOST = 64
"""Tracers at once."""
PATIENCE = 5.0
"""Seconds that one may take to say what it wants."""
DYING = 0.02
"""Seconds that a process may take to die once its sockets are closed."""
REMEMBERED = 4096
"""Threads of which it is remembered whose they are."""
TRIES = 100
"""How often a process's ancestors are looked up, where one of them ends meanwhile."""


class Nesting:
    """All tracers right below us.

    Args:
        rules: what is trapped; they can have no more.
        program: gives the number of the process that we started.
    """

    def __init__(
        self, loop: Loop, session: Session, rules: Iterable[Rule], program: Callable[[], int]
    ) -> None:
        self._loop = loop
        self._session = session
        self._program = program
        self._rules: dict[str, list[Rule]] = {}
        for rule in rules:
            self._rules.setdefault(rule.call, []).append(rule)
        self._us = os.getpid()
        self._pids = os.readlink("/proc/self/ns/pid")
        self._guests: dict[int, Guest] = {}
        """By process, those that have said what they want."""
        self._left: dict[int, tuple[int, Guest]] = {}
        """Processes that one left that may not be passed by: when they began, and which it was."""
        self._known: dict[int, tuple[int, Guest | None]] = {}
        """Threads: when they began, and the tracer that is nearest above."""
        self._come_in = 0
        self.name = f"tesla_trace-{os.urandom(16).hex()}"
        """The abstract name of our socket."""
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._door.bind("\0" + self.name)
        self._door.listen(MOST)
        loop.on_readable(self._door.fileno(), self._come)

    # ---- calls ----

    def serve(self, stop: Stop) -> None:
        """Do a call, or have the tracer do it that is nearest above its process."""
        if self._guests or self._left:
            try:
                if self._relayed(stop):
                    return
            except (Gone, OSError):
                return stop.fail(errno.EAGAIN)  # there is no such thread any more
        self._serve(stop)

    def _serve(self, stop: Stop) -> None:
        table.serve(self._session, stop)

    def _relayed(self, stop: Stop) -> bool:
        guest = self._above(stop)
        if guest is None:
            return False
        if not guest.ready:
            return self._left_behind(stop, guest)
        if not guest.wants(stop):
            return False
        ids, user, _ = stop.standing()
        if guest.process.covers(ids, user):
            guest.relay(stop)
            return True
        if guest.closed:
            stop.fail(errno.EACCES)
        return guest.closed

    def _left_behind(self, stop: Stop, guest: Guest) -> bool:
        """A call of a process whose tracer has gone: none on a socket that reaches a network.

        What the tracer could have killed, it may keep from the network by what it said.
        """
        ids, user, _ = stop.standing()
        if not guest.process.covers(ids, user):
            return False
        if stop.call != "socket" and self._session.socket(stop, signed(stop.args[0])) is None:
            return False
        stop.fail(errno.ENETDOWN)
        return True

    def _above(self, stop: Stop) -> Guest | None:
        """The nearest tracer above a thread."""
        parent, began = proc.birth(stop.thread)
        known = self._known.get(stop.thread)
        if known is None or known[0] != began:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[stop.thread] = began, self._look_up(stop.process(), parent)
        return known[1]

    def _look_up(self, process: int, parent: int) -> Guest | None:
        """The same for a process, of which nothing is known yet.

        Raises:
            OSError: it has gone.
        """
        for _ in range(TRIES):
            at, above = process, parent
            try:
                while at > 1 and at != self._us:
                    left = self._left.get(at)
                    if left is not None and left[0] == proc.birth(at)[1]:
                        return left[1]
                    if above in self._guests:
                        return self._guests[above]
                    at, above = above, proc.birth(above)[0] if above > 1 else 0
                return None
            except OSError:  # one above has ended, and what was below it is so no more
                parent = proc.birth(process)[0]
        raise Gone

    # ---- tracers ----

    def _come(self) -> None:
        from tesla_trace.supervision.guest import Guest, Process  # seldom wanted

        try:
            channel, _ = self._door.accept()
        except OSError:
            return
        try:
            process = Process(channel)
        except OSError:
            return channel.close()
        if self._come_in >= MOST or process.pid not in self._session.members:
            process.close()
            return channel.close()
        self._come_in += 1
        guest = Guest(self._loop, channel, process, self._admitted, self._serve, self._over)
        self._loop.at(self._loop.now() + PATIENCE, guest.hurry)

    def _admitted(self, guest: Guest) -> str:
        """Why it cannot have what it wants; empty if it can, and from now on it does.

        Raises:
            OSError, Gone: it has gone.
        """
        process = guest.process
        if process.pids != self._pids:
            return "we are in another pid namespace"
        if self._look_up(process.pid, process.parent) is not None:
            return "there is another one between it and us"
        for call, rules in guest.rules.items():
            ours = [set(rule.conditions) for rule in self._rules.get(call, ())]
            if any(not any(each <= set(rule.conditions) for each in ours) for rule in rules):
                return f"it does not trap all {call}(2) calls that our handlers need"
        if process.pid in self._guests:
            return "we have asked it before"
        self._guests[process.pid] = guest
        return ""

    def _over(self, guest: Guest) -> None:
        self._come_in -= 1
        pid = guest.process.pid
        if self._guests.get(pid) is not guest:
            return guest.process.close()
        del self._guests[pid]
        if not guest.closed or guest.left:
            self._known = {n: each for n, each in self._known.items() if each[1] is not guest}
            guest.process.close()
        else:
            if guest.process.over(DYING):
                guest.process.close()
                self._remember_left(guest)
            else:
                self._left[pid] = guest.process.began, guest
                self._await_end(guest, guest.process.pidfd)
            for heir, _ in guest.heirs:
                with suppress(OSError):
                    self._await_end(guest, os.pidfd_open(heir))
        for stop in guest.orphans():
            self.serve(stop)

    def _await_end(self, guest: Guest, pidfd: int) -> None:
        """What was below a process has another parent when it has died."""

        def died() -> None:
            watch.close()
            os.close(pidfd)
            self._remember_left(guest)

        watch = self._loop.on_readable(pidfd, died)

    def _remember_left(self, guest: Guest) -> None:
        roots = [heir for heir, _ in guest.heirs]
        for number, began in guest.heirs:
            self._left[number] = began, guest
        for child in proc.children(self._us):
            with suppress(OSError):
                _, began = proc.birth(child)
                known = self._known.get(child, (0, guest))
                theirs = known[0] != began or known[1] is guest
                if child != self._program() and began >= guest.process.began and theirs:
                    roots.append(child)
                    self._left[child] = began, guest
        for root in roots:
            for each in proc.descendants(root):
                with suppress(OSError):
                    self._left[each] = proc.birth(each)[1], guest
