"""The agent: one loop for all containers, and a socket by which runtimes tell of them."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import socket
import stat
from collections.abc import Callable
from functools import partial

from tesla_trace.flow import Stack, UsageError, trace
from tesla_trace.io.datapath import Datapath
from tesla_trace.io.loop import READ, Loop
from tesla_trace.kernel.limits import raise_limit
from tesla_trace.kernel.signals import Signals
from tesla_trace.oci.hearing import Hearing, peer_of
from tesla_trace.oci.state import State
from tesla_trace.report import Report
from tesla_trace.supervision.container import Container, Shared
from tesla_trace.supervision.detach import GRACE, Detach
from tesla_trace.supervision.front import EXITED, SIGNALLED, WORD, FrontEnd
from tesla_trace.syscalls.foreign.survey import count

AT_ONCE = 64
"""Runtimes that are heard at a time."""

PAUSE = 1.0
"""Seconds in which nobody is heard, when there are no descriptors left."""

LOOK = 0.05
"""Seconds between looks whether all is over."""

SOON = 0.05
"""Seconds until what refers to each other in circles is freed, open namespaces among it."""

ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})

Stacked = Callable[[str], Stack]
"""Makes the handlers of a container, of what its configuration says in `listenerMetadata`."""


class Unopened(Exception):
    """There can be no agent here; the text, one line, is for the user."""


class Agent:
    """Serves containers until a signal ends it.

    Args:
        path: where runtimes find us.
        lets_go: at our end containers get their sockets back, and what keeps them lets all through;
            else their network ends with us.
        strict, datapath: as of `Session`.

    Raises:
        Unopened: the socket is taken, or cannot be made.
    """

    def __init__(
        self,
        path: str,
        stacked: Stacked,
        report: Report,
        signals: Signals,
        front: FrontEnd,
        *,
        lets_go: bool,
        strict: bool = False,
        datapath: Datapath = Datapath.AUTO,
    ) -> None:
        self._stacked = stacked
        self._report = report
        self._signals = signals
        self._serving: dict[tuple[str, str], Container] = {}
        self._rest: set[Container] = set()
        """Those of which no process is left, or served by us, and bytes on their way."""
        self._hearings: set[Hearing] = set()
        self._front = front
        self._lets_go = lets_go
        self._detaching: dict[Container, Detach] = {}
        self._ending = self._over_now = False
        self._path = path
        self._socket = _open(path)
        self._made = os.stat(path).st_ino
        raise_limit()
        self.loop = Loop(self._failed)
        keeper = front.keeper
        self._shared = Shared(self.loop, report, keeper, strict=strict, datapath=datapath)
        self._door = self.loop.on_readable(self._socket.fileno(), self._welcome)
        self.loop.on_readable(signals.fileno(), self._signalled)
        self._hearing = self.loop.on_readable(front.channel.fileno(), self._told)

    def run(self) -> None:
        """Serve until the end."""
        self._report.write(f"agent: listens on {self._path}")
        self.loop.run()

    # ---- runtimes ----

    def _welcome(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as wrong:
            if wrong.errno not in (errno.EAGAIN, errno.ECONNABORTED):  # it would be told again
                self._refused(f"for {PAUSE:g} s: {wrong.strerror}")
                self._door.want(READ, False)
                self.loop.at(self.loop.now() + PAUSE, self._go_on)
            return
        peer = peer_of(connection)
        why = ""
        if peer.uid not in (0, os.geteuid()):
            why = "only root and we ourselves may tell of containers"
        elif not peer.pid:
            why = "in a pid namespace that is not seen from here (hostPID, --pid=host)"
        elif len(self._hearings) >= AT_ONCE:
            why = f"more than {AT_ONCE} at a time"
        if why:
            connection.close()
            return self._refused(f"{peer}: {why}")
        hearing = Hearing(self.loop, connection, self._heard, self._refused, self._hearings.discard)
        self._hearings.add(hearing)

    def _go_on(self) -> None:
        if not self._ending:
            self._door.want(READ, True)

    def _refused(self, why: str) -> None:
        self._report.write(f"agent: refused: {why}")

    def _heard(self, state: State, listener: int) -> None:
        """Serve a process of a container.

        One that cannot be served has no network: its trapped calls fail with ENOSYS.
        """
        how = "starts"
        try:
            container = self._known(state)
            how = "starts" if container is None else "enters"
            if container is None:
                stack = self._stacked(state.metadata)
                container = Container(state.container, stack, self._shared, self._left, self._over)
            container.join(listener, state.pid)
        except Exception as wrong:
            os.close(listener)  # or calls would wait for somebody who does not look
            self._collect_soon()
            return self._refused(f"container {state.container}: {self._why(state, wrong)}")
        if how == "starts":
            self._serving[state.container, state.bundle] = container
        container.write(f"process {state.pid} {how}" if state.pid else f"a process {how}")

    def _why(self, state: State, wrong: Exception) -> str:
        """Why a process is not served; what should not have happened is told at length."""
        if isinstance(wrong, UsageError):
            return str(wrong)
        if isinstance(wrong, OSError) and wrong.errno in (errno.ENOENT, errno.ESRCH):
            return f"process {state.pid} is gone"
        if not isinstance(wrong, OSError):
            self._failed(wrong)
        return str(wrong)

    def _known(self, state: State) -> Container | None:
        """The container that a process enters.

        Raises:
            UsageError: it is said too little to tell; another's handlers are not its own.
        """
        if state.bundle.startswith("/"):
            return self._serving.get((state.container, state.bundle))
        found = [each for each in self._serving.values() if each.name == state.container]
        if len(found) > 1:
            raise UsageError(
                "there are several of that name, and which one a process enters is not said"
            )
        return found[0] if found else None

    def _left(self, container: Container) -> None:
        """No process of it is served any more."""
        self._serving = {key: each for key, each in self._serving.items() if each is not container}
        self._rest.add(container)

    def _over(self, container: Container) -> None:
        container.write("over")
        self._rest.discard(container)
        self._collect_soon()

    def _collect_soon(self) -> None:
        self.loop.at(self.loop.now() + SOON, gc.collect)

    # ---- the end ----

    def _signalled(self) -> None:
        for arrived in self._signals.read():
            if arrived.sent and arrived.sender != os.getpid():
                self._end_by(arrived.number)

    def _told(self) -> None:
        try:
            word = self._front.channel.recv(WORD.size)
        except OSError:
            word = b""
        if not word:  # who kills the front wants to be rid of us
            self._hearing.close()
            return self._end_by(signal.SIGTERM)
        what, value = WORD.unpack(word)
        if what == SIGNALLED:
            self._end_by(value)

    def _end_by(self, number: int) -> None:
        """Hear of no more containers, and let go of those that there are; told again, at once."""
        if number not in ENDING:
            return
        if self._ending:
            for each in self._detaching.values():
                each.at_once()
            return self._look(0)
        self._ending = True
        self._door.close()
        self._socket.close()
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._made:
                os.unlink(self._path)
        for hearing in list(self._hearings):
            hearing.close()
        if self._lets_go:
            for container in self._serving.values():
                done = partial(self._detached, container)
                self._detaching[container] = container.detach(GRACE, done)
            for each in list(self._detaching.values()):
                each.begin()
        self._report.write(
            f"agent: ends; {count(len(self._serving), 'container')} left to the keeper"
        )
        self._look(self.loop.now() + GRACE)

    def _detached(self, container: Container) -> None:
        del self._detaching[container]

    def _look(self, end: float) -> None:
        """Stop once nothing is under way, or it is late."""
        rest = (*self._serving.values(), *self._rest)
        busy = self._detaching or any(each.session.network.open for each in rest)
        if busy and self.loop.now() < end:
            self.loop.at(self.loop.now() + LOOK, lambda: self._look(end))
        elif not self._over_now:
            self._over_now = True
            with contextlib.suppress(OSError):
                self._front.channel.send(WORD.pack(EXITED, 0))
            self.loop.stop()

    def _failed(self, wrong: Exception) -> None:
        for line in trace(wrong):
            self._report.write(f"agent: {line}")


def _open(path: str) -> socket.socket:
    """A listening socket that only we and root may connect to."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        if _is_dead(path):
            os.unlink(path)
        made.bind(path)
        made.listen(socket.SOMAXCONN)  # runtimes do not try again (EAGAIN)
    except OSError as wrong:
        made.close()
        taken = wrong.errno == errno.EADDRINUSE
        why = "somebody listens there, or it is another file" if taken else wrong.strerror
        raise Unopened(f"--oci-agent {path}: {why or wrong}") from None
    finally:
        os.umask(before)
    return made


def _is_dead(path: str) -> bool:
    """Whether it is the socket of one that has ended without removing it."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as one:
        return one.connect_ex(path) == errno.ECONNREFUSED
