"""What all trapped calls share: the sockets, the network, the handlers, the log."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from tesla_trace.flow import Flow, Stack, printable, trace
from tesla_trace.io.datapath import Datapath
from tesla_trace.io.garbage import Garbage
from tesla_trace.io.loop import Loop
from tesla_trace.io.network import Network
from tesla_trace.io.pair import Pair
from tesla_trace.kernel import proc
from tesla_trace.kernel.members import Below, Members
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.accounts import Accounts
from tesla_trace.syscalls.acting import Acting, Guise
from tesla_trace.syscalls.ends.alone import Ends
from tesla_trace.syscalls.ends.copies import Copies
from tesla_trace.syscalls.ends.spare import Spare
from tesla_trace.syscalls.escapes.strangers import Strangers
from tesla_trace.syscalls.escapes.uncovered import Uncovered
from tesla_trace.syscalls.escapes.ways import Outcome, Way
from tesla_trace.syscalls.handback.handing import HandingBack
from tesla_trace.syscalls.held import Held

if TYPE_CHECKING:
    from tesla_trace.syscalls.foreign.lent import Lent
    from tesla_trace.syscalls.handback.handed import Handed
    from tesla_trace.syscalls.parting import Parting
    from tesla_trace.syscalls.program_socket import ProgramSocket
    from tesla_trace.syscalls.stream.socket import Socket

MOST_SAID = 1000
"""Different lines that are written once; a program can bring about as many as it likes."""

REMEMBERED = 1024
"""Sockets remembered after their flow is over, while the program may still ask about them."""

LENT = 256
"""Listeners of others remembered: nothing tells when the program closes one."""

Write = Callable[[str], None]


def _nothing(pair: Pair) -> None: ...


class Session:
    """One program under one stack of handlers.

    Args:
        write: writes one line to the log, as ours.
        raw: writes one line to the log, as it is.
        strict: refuse what would otherwise be let through and counted.
        datapath: the ways that bytes may take.
    """

    def __init__(
        self,
        loop: Loop,
        stack: Stack,
        write: Write,
        raw: Write,
        *,
        strict: bool = False,
        datapath: Datapath = Datapath.AUTO,
    ) -> None:
        self.loop = loop
        self.stack = stack
        self.write = write
        self._raw = raw
        self.held = Held(loop)
        self.copies = Copies(loop)
        self.ends = Ends(loop, self.say_once)
        self.network = Network(loop, datapath, self.say_once)
        self.network.flow = self.flow
        self.network.over = self._over_now
        self.spare = Spare(self)
        self.garbage = Garbage(loop)
        self._sockets: dict[bytes, ProgramSocket] = {}
        self._over: OrderedDict[bytes, ProgramSocket] = OrderedDict()
        self._replaced: dict[bytes, Socket | Handed] = {}
        self.lent: OrderedDict[bytes, Lent] = OrderedDict()
        """The listeners of others that the program accepts on."""
        self._handed: dict[bytes, Handed] = {}
        self.handing = HandingBack(self)
        self._flows = 0
        self._said: set[str] = set()
        self.closed = strict or stack.exclusive
        """Whether nothing may go past the handlers."""
        self.counted = Uncovered()
        self.strangers = Strangers(self)
        self.acting = Acting()
        self.members: Members = Below()
        """The processes of the program."""
        self.parting: Parting | None = None
        """What lets the program go, once it is to be."""
        self.accounts: Accounts | None = None
        """Of the flows, where somebody wants to know."""
        self.lasting: Callable[[Pair], None] = _nothing
        """Told of pairs that are not to end with us."""

    # ---- sockets, by what /proc/PID/fd calls them ----

    def socket(self, stop: Stop, fd: int) -> ProgramSocket | Handed | None:
        """The socket that a descriptor of the calling thread is, if it is one of ours."""
        try:
            file = stop.file(fd)
        except OSError as wrong:
            if not self.closed and self.acting.others(stop):
                return None  # its socket is not ours, and has been counted
            self._say_closed(stop, wrong)
            raise
        if file is None:
            return None
        socket = self.ours(file)
        if socket is None and (instead := self._replaced.get(file)) is not None:
            instead.rejoin(stop, fd, file)
            return instead
        if socket is None:
            self.strangers.met(stop, fd, file)
        return socket

    def ours(self, file: bytes) -> ProgramSocket | Handed | None:
        """The socket of ours that is called so in /proc/PID/fd."""
        return self._sockets.get(file) or self._handed.get(file) or self._over.get(file)

    def all_sockets(self) -> list[ProgramSocket]:
        """Those that are ours, but for those of which the flow is over."""
        return list(self._sockets.values())

    def add(self, socket: ProgramSocket) -> None:
        """A socket of the program has been born, or has a new pair."""
        self._sockets[socket.pair.file] = socket

    def replaced(self, file: bytes, socket: Socket) -> None:
        """A socket of ours came in the place of `file`, which other processes may still have."""
        self._sockets.pop(file, None)
        self._over.pop(file, None)
        self._replaced[file] = socket
        socket.instead_of.append(file)

    def hand(self, handed: Handed, real: int) -> None:
        """The program is about to have the kernel's socket, of which `real` is a copy.

        Raises:
            OSError: it could not be seen when the program closes it.
        """
        handed.seen_by = self.ends.closes.expect(real, handed.left)
        self._handed[handed.file] = handed

    def astray(self, file: bytes, handed: Handed) -> None:
        """Somebody has, or will have, what was replaced, and nobody knows where."""
        self._replaced[file] = handed
        handed.instead_of = file

    def forget_handed(self, handed: Handed) -> None:
        """The program has closed it, or has not got it after all."""
        self._replaced.pop(handed.instead_of, None)
        if self._handed.pop(handed.file, None) is not None:
            self.ends.closes.forget(handed.seen_by)

    def remember(self, socket: ProgramSocket) -> None:
        """Its flow is over: nothing will tell when the program closes it."""
        if self._sockets.pop(socket.pair.file, None) is not None:
            self._over[socket.pair.file] = socket
            if len(self._over) > REMEMBERED:
                forgotten = self._over.popitem(last=False)[1]
                forgotten.dispose_if_over()
                self._forget_all_of(forgotten)

    def forget(self, socket: ProgramSocket) -> None:
        """The program has closed it."""
        self._sockets.pop(socket.pair.file, None)
        self._over.pop(socket.pair.file, None)
        self._forget_all_of(socket)

    def _forget_all_of(self, socket: ProgramSocket) -> None:
        for file in socket.instead_of:
            self._replaced.pop(file, None)
        socket.forgotten()

    def lend(self, file: bytes, lent: Lent) -> Lent:
        """The program accepts on somebody else's listener."""
        self.lent[file] = lent
        if len(self.lent) > LENT:
            self.lent.popitem(last=False)[1].close()
        return lent

    def end(self) -> None:
        """Nobody is left to ask about anything."""
        self.spare.drop()
        self.held.clear()
        for lent in self.lent.values():
            lent.close()
        self.lent.clear()
        for socket in self._sockets.values():
            socket.abandon_calls()
        self.copies.give_back()
        for socket in self._over.values():
            socket.dispose_if_over()
        self._over.clear()

    # ---- flows ----

    def flow(self, stop: Stop | None = None) -> Flow:
        """A new flow, of the process that makes the call."""
        flow = Flow(write=self._raw, say=self.write)
        self.born(flow)
        if stop is not None:
            self.identify(flow, stop)
        return flow

    def born(self, flow: Flow) -> None:
        """Count it."""
        self._flows += 1
        flow.number = self._flows
        self.garbage.begun(flow)

    def unborn(self, flow: Flow) -> None:
        """Count the last one when it is born."""
        self._flows -= 1

    def began(self, flow: Flow) -> None:
        """It connects, or came in."""
        if self.accounts is not None:
            self.accounts.began(flow)

    def _over_now(self, flow: Flow) -> None:
        self.garbage.over(flow, len(self._sockets))
        if self.accounts is not None:
            self.accounts.over(flow)

    @staticmethod
    def identify(flow: Flow, stop: Stop) -> None:
        """The flow belongs to the process that makes the call, whatever its threads are called."""
        flow.pid = stop.process()
        flow.program = stop.name() if flow.pid == stop.thread else proc.name(flow.pid)

    def guise(self, stop: Stop) -> Guise | None:
        """With what the caller's sockets are made; None where they are left to the kernel.

        Raises:
            OSError: there are none for it.
        """
        if self.acting.no_new_rights and stop.lacks_rights():
            name = printable(proc.name(stop.thread))
            self.say_once(f"{name} runs without the rights that its file gives (no_new_privs)")
        try:
            found = self.acting.of(stop)
        except PermissionError as wrong:
            self._say_closed(stop, wrong)
            raise
        if isinstance(found, Way):
            self.uncovered(stop, found)
            return None
        return found

    def _say_closed(self, stop: Stop, wrong: OSError) -> None:
        why = f"{wrong.strerror}; its socket calls fail"
        self.say_once(f"cannot look into process {stop.process()}: {why}")

    def uncovered(self, stop: Stop, way: Way) -> None:
        """A call of the program goes past the handlers: count it, or refuse it where it must not.

        Raises:
            OSError: it is refused, with the way's errno.
        """
        refused = self.closed or way.outcome is Outcome.REFUSED
        program = printable(proc.name(stop.thread))
        self.counted.add(way, program, refused=refused)
        if refused:
            self.say_once(f"{program}: {way.one} refused, for it would bypass the handlers")
            raise OSError(way.errno, os.strerror(way.errno))

    def crashed(self, what: str, wrong: Exception) -> None:
        """Report, once, what should not have happened."""
        lines = trace(wrong)
        if str(lines) not in self._said:
            self._said.add(str(lines))
            self.write(f"{what} failed; this is a bug of ours, or of a handler:")
            for line in lines:
                self.write(f"  {line}")

    def say_once(self, line: str) -> None:
        """Write a line to the log, unless that was done before."""
        if line not in self._said and len(self._said) < MOST_SAID:
            self._said.add(line)
            self.write(line)
            if len(self._said) == MOST_SAID:
                self.write("no more such lines")
