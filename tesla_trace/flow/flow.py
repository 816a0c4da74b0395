"""What all handlers of one flow may know of it."""

from __future__ import annotations

from collections.abc import Callable

from tesla_trace.address import Address
from tesla_trace.flow.events import Events


def _unheard(line: str) -> None:
    """Nobody listens."""


class Flow:
    """One connection, as the program sees it."""

    def __init__(
        self,
        number: int = 0,
        pid: int = 0,
        program: str = "",
        accepted: bool = False,
        target: Address | None = None,
        write: Callable[[str], None] = _unheard,
        say: Callable[[str], None] = _unheard,
        out: int = 0,
        into: int = 0,
        failed: str = "",
    ) -> None:
        self.number = number
        """Counted from 1, in the order of birth."""
        self.pid = pid
        """The process that connected, listened or accepted."""
        self.program = program
        """That process's name, as `ps -o comm` shows it."""
        self.accepted = accepted
        """Whether it came in from the network; otherwise the program opened it."""
        self.target = target
        """What the program asked to be connected to; of an accepted flow, its peer."""
        self.write = write
        """Write one line to the log, just as it is: for lines that a machine is to read."""
        self.say = say
        """Write one line to the log as ours, among those of others: for people."""
        self.out = out
        """Bytes that the program wrote."""
        self.into = into
        """Bytes that the program was given."""
        self.datapath = "handlers"
        """The way that its bytes take: through the handlers, `spliced` or `handed back`."""
        self.failed = failed
        """The errno that it failed with, by name."""
        self.port: int | None = None
        """Of a listener, or a datagram socket that is bound, the port; 0 if the kernel chooses
        it."""
        self.events = Events()
        """What handlers tell a program that knows of them; see `FlowHandler.tell`."""
        self.room_out: int | None = None
        """Bytes of a stream that may wait in the program's socket, and in ours, on their way out;
        None for as many as there is room for."""
        self.room_in: int | None = None
        """The same of those on their way in."""

    def hold(self, *, out: int | None = None, into: int | None = None) -> None:
        """Let no more bytes than this wait at each end of the graph, whatever others let.

        For a handler at its birth: so the program goes at the pace of what the handler does, and
        not at that of the buffers before it.
        """
        self.room_out = min((r for r in (self.room_out, out) if r is not None), default=None)
        self.room_in = min((r for r in (self.room_in, into) if r is not None), default=None)

    def log(self, line: str) -> None:
        """Write `line` to the log behind the name of the flow."""
        self.say(f"{self}: {line}")

    def __str__(self) -> str:
        """How lines of the log name it: `3 curl[4711]`."""
        return f"{self.number} {printable(self.program)}[{self.pid}]"


def printable(name: str) -> str:
    """A process's name without what would break a line or move the cursor: it chose it itself."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
