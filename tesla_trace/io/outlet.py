"""The way out of a graph: what a stream does not take at once waits until it does.

What waits is data that came through the handlers, or it is in a pipe, where the kernel has put what
came straight from the socket at the other end: then it is what came first.
"""

from __future__ import annotations

import socket
from collections import deque

from tesla_trace.flow import Context
from tesla_trace.io.loop import WRITE, Watch
from tesla_trace.io.pipes import UNABLE, Pipe, Pipes
from tesla_trace.io.urgent import at_mark, flags_for

BULK = 64 * 1024
"""Bytes read at once from which on we splice; below half of it copying is as fast, and below a few
KiB it is faster."""


AT_ONCE = 8
"""Times that we look for more before others have their turn; a pair holds some 200 KiB."""


class StreamEnd:
    """Either end of a graph of streams."""

    ctx: Context
    outlet: Outlet

    def sent(self, size: int) -> None:
        """So many bytes have gone out."""
        raise NotImplementedError

    def broken(self, error: OSError) -> None:
        """Nothing goes out any more, and what waited is thrown away."""
        raise NotImplementedError

    def throttle(self) -> None:
        """More may wait than before: ask for a stop if it is too much."""
        raise NotImplementedError

    def urged(self) -> None:
        """An urgent byte is on its way to us."""
        raise NotImplementedError

    def unwanted(self) -> None:
        """Nobody takes any more what comes on our socket."""
        raise NotImplementedError

    def took(self, size: int) -> None:
        """So many bytes of our socket were spliced."""
        raise NotImplementedError

    def splice(self, source: socket.socket, end: object, pipes: Pipes | None) -> bool:
        """Have the kernel send what our socket has, if `end`, the next that takes it, is the other
        end of the graph.

        Returns:
            False if it is to be read.

        Raises:
            BlockingIOError: there is nothing to be read any more.
            OSError: of our socket.
        """
        if pipes is None or not isinstance(end, StreamEnd):
            return False
        taken = 0
        for _ in range(AT_ONCE):
            if not end.outlet.splices(pipes):
                break
            if at_mark(source):  # and the loop has not told yet
                self.urged()
                raise BlockingIOError
            more = self._splice(source, end, pipes)
            taken += more
            if more < BULK or end.outlet.queued:
                end.outlet.bulk = taken >= BULK // 2
                break
        return taken > 0

    def _splice(self, source: socket.socket, end: StreamEnd, pipes: Pipes) -> int:
        taken = end.outlet.splice(source, pipes)
        if taken:
            self.ctx.flow.datapath = "spliced"
            self.took(taken)
        if end.outlet.lost:
            self.unwanted()
        else:
            end.throttle()
        return taken


class Outlet:
    """One direction of a socket; before `start` all waits."""

    __slots__ = (
        "_held",
        "_pipe",
        "_sender",
        "_stream",
        "_watch",
        "bulk",
        "ended",
        "lost",
        "queued",
        "room",
    )

    def __init__(
        self, sender: StreamEnd, watch: Watch, stream: socket.socket | None = None
    ) -> None:
        self._sender = sender
        self._watch = watch
        self._stream = stream
        self._pipe: Pipe | None = None
        self._held: deque[bytes] | None = None  # seldom there: an empty one takes 600 bytes
        self.queued = 0
        """Bytes that wait."""
        self.room = True
        """Whether more is wanted; see `changed`."""
        self.lost = False
        """Whether nothing will ever go out again; `flush` then throws away what waits."""
        self.ended = False
        """Whether nothing more may be put; what waits still goes out."""
        self.bulk = False
        """Whether much came the last time."""

    @property
    def quiet(self) -> bool:
        """Whether nothing waits, and more can come."""
        return not (self.queued or self.ended or self.lost)

    def start(self, stream: socket.socket) -> None:
        """From now on it goes out here."""
        self._stream = stream
        self._watch.want(WRITE, bool(self._held))

    def put(self, data: bytes) -> bool:
        """Send at once what the socket takes, and the rest when it does.

        Returns:
            False if that will never do any good again.
        """
        if self.lost or self.ended:
            return False
        self.bulk = len(data) >= BULK
        if self._stream is not None and not self.queued:
            sent = self._send(self._stream, data)
            if sent == len(data):
                return True
            if self.lost:
                return False
            data = _without(data, sent)
        if self._held is None:
            self._held = deque()
        self._held.append(data)
        self.queued += len(data)
        self._watch.want(WRITE, self._stream is not None)
        return True

    def splices(self, pipes: Pipes) -> bool:
        """Whether what comes next is to be spliced: much, with nothing before it that we hold."""
        return (
            (self.bulk or pipes.eager)
            and not (self._held or self.lost or self.ended)
            and self._stream is not None
        )

    def splice(self, source: socket.socket, pipes: Pipes) -> int:
        """Send what a socket has without reading it; how much it was."""
        assert self._stream is not None
        if self._pipe is None:
            self._pipe = pipes.take()
            if self._pipe is None:
                return 0
        try:
            taken = self._pipe.fill(source.fileno())
        finally:
            if not self._pipe.holds:
                self._let_go(self._pipe)
        waited, self.queued = self.queued, self.queued + taken
        if taken and not waited:
            self._pour(self._pipe, self._stream)
            self._watch.want(WRITE, self.queued > 0)
        return taken

    def flush(self) -> None:
        """Send what waits: the socket has room."""
        stream = self._stream
        if self._pipe is not None and stream is not None and not self.lost:
            self._pour(self._pipe, stream)
            if self._pipe is not None:
                return
        held = self._held
        while stream is not None and held and not self.lost:
            data = held[0]
            sent = self._send(stream, data)
            if self.lost:
                break
            self.queued -= sent
            if sent < len(data):
                held[0] = _without(data, sent)
                return
            held.popleft()
        self.drop()

    def changed(self, full: int) -> bool:
        """Whether `room` is another than before.

        Args:
            full: bytes with more than which a stop is asked for; half of it ends the stop.
        """
        before = self.room
        self.room = self.queued <= (full if before else full // 2)
        return self.room is not before

    def drop(self) -> None:
        """Throw away what waits."""
        self._held = None
        self.queued = 0
        if self._pipe is not None:
            self._let_go(self._pipe)
        self._watch.want(WRITE, False)

    def _send(self, stream: socket.socket, data: bytes) -> int:
        try:
            sent = stream.send(data, flags_for(data))
        except BlockingIOError:
            return 0
        except OSError as error:
            self._break(error)
            return 0
        self._sender.sent(sent)
        return sent

    def _pour(self, pipe: Pipe, stream: socket.socket) -> None:
        try:
            poured = pipe.pour(stream.fileno())
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in UNABLE:
                return self._break(error)
            self._read_back(pipe)
            return
        self.queued -= poured
        if not pipe.holds:
            self._let_go(pipe)
        self._sender.sent(poured)

    def _read_back(self, pipe: Pipe) -> None:
        """What is in the pipe cannot go out from there."""
        self._held = deque([pipe.read(), *(self._held or ())])
        self._let_go(pipe)

    def _let_go(self, pipe: Pipe) -> None:
        self._pipe = None
        pipe.let_go()

    def _break(self, error: OSError) -> None:
        self.lost = True
        self.drop()
        self._sender.broken(error)


def _without(data: bytes, sent: int) -> bytes:
    """What is left; as urgent as it was, if it is all."""
    return data[sent:] if sent else data
