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

from tesla_trace.flow import Stack, UsageError, trace
from tesla_trace.io.datapath import Datapath
from tesla_trace.io.loop import Loop
from tesla_trace.kernel.limits import raise_limit
from tesla_trace.kernel.signals import Signals
from tesla_trace.oci.container import Container, Shared
from tesla_trace.oci.hearing import Hearing, peer_of
from tesla_trace.oci.keeper import keep
from tesla_trace.oci.state import State
from tesla_trace.report import Report

AT_ONCE = 64
"""Runtimes that are heard at a time."""

DRAIN = 10.0
"""Seconds in which, at the end, what is on its way must be delivered."""

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
        *,
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
        self._ending = False
        self._path = path
        self._socket = _open(path)
        self._made = os.stat(path).st_ino
        raise_limit()
        self.loop = Loop(self._failed)
        self._shared = Shared(self.loop, report, strict=strict, datapath=datapath)
        self._door = self.loop.on_readable(self._socket.fileno(), self._welcome)
        self.loop.on_readable(signals.fileno(), self._signalled)

    def run(self) -> None:
        """Serve until the end."""
        self._report.write(f"agent: listens on {self._path}")
        self.loop.run()

    # ---- runtimes ----

    def _welcome(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as wrong:
            if wrong.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                self._refused(os.strerror(wrong.errno or 0))
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

    def _refused(self, why: str) -> None:
        self._report.write(f"agent: refused: {why}")

    def _heard(self, state: State, listener: int) -> None:
        """Serve a process of a container.

        One that cannot be served has no network: its trapped calls fail with ENOSYS.
        """
        container = self._known(state)
        how = "starts" if container is None else "enters"
        try:
            if container is None:
                stack = self._stacked(state.metadata)
                container = Container(state.container, stack, self._shared, self._left, self._over)
            container.join(listener, state.pid)
        except (UsageError, OSError) as wrong:
            os.close(listener)
            gone = f"process {state.pid} is gone" if isinstance(wrong, OSError) else ""
            return self._refused(f"container {state.container}: {gone or wrong}")
        if how == "starts":
            self._serving[state.container, state.bundle] = container
        container.write(f"process {state.pid} {how}" if state.pid else f"a process {how}")

    def _known(self, state: State) -> Container | None:
        """The container that a process enters."""
        if state.bundle.startswith("/"):
            return self._serving.get((state.container, state.bundle))
        found = (each for each in self._serving.values() if each.name == state.container)
        return next(found, None)

    def _left(self, container: Container) -> None:
        """No process of it is served any more."""
        self._serving = {key: each for key, each in self._serving.items() if each is not container}
        self._rest.add(container)

    def _over(self, container: Container) -> None:
        container.write("over")
        self._rest.discard(container)
        self.loop.at(self.loop.now() + SOON, gc.collect)
        if self._ending and not self._rest:
            self.loop.stop()

    # ---- the end ----

    def _signalled(self) -> None:
        for arrived in self._signals.read():
            if arrived.number in ENDING:
                self._end()

    def _end(self) -> None:
        """Serve no more; a process that stays behind lets the containers' calls through."""
        if self._ending:
            return self.loop.stop()  # asked for twice
        self._ending = True
        self._door.close()
        self._socket.close()
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._made:
                os.unlink(self._path)
        for hearing in list(self._hearings):
            hearing.close()
        listeners = [each for one in self._serving.values() for each in one.listeners]
        if listeners:
            keeper = keep(listeners)
            self._report.write(f"agent: ends; process {keeper} lets calls through")
        for container in list(self._serving.values()):
            container.leave()
        if not self._rest:
            self.loop.stop()
        self.loop.at(self.loop.now() + DRAIN, self.loop.stop)

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
        made.listen(AT_ONCE)
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
