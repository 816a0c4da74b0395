"""The way out of a graph: what a stream does not take at once waits until it does."""

from __future__ import annotations

import socket
from collections import deque
from typing import Protocol

from tesla_trace.io.loop import WRITE, Watch
from tesla_trace.io.urgent import flags_for


class Sender(Protocol):
    """Whose bytes go out."""

    def sent(self, size: int) -> None:
        """So many bytes have gone out."""

    def broken(self, error: OSError) -> None:
        """Nothing goes out any more, and what waited is thrown away."""


class Outlet:
    """One direction of a socket; before `start` all waits."""

    __slots__ = ("_held", "_sender", "_stream", "_watch", "lost", "queued", "room")

    def __init__(self, sender: Sender, watch: Watch, stream: socket.socket | None = None) -> None:
        self._sender = sender
        self._watch = watch
        self._stream = stream
        self._held: deque[bytes] | None = None  # seldom there: an empty one takes 600 bytes
        self.queued = 0
        """Bytes that wait."""
        self.room = True
        """Whether more is wanted; see `changed`."""
        self.lost = False
        """Whether nothing will ever go out again; `flush` then throws away what waits."""

    def start(self, stream: socket.socket) -> None:
        """From now on it goes out here."""
        self._stream = stream
        self._watch.want(WRITE, bool(self._held))

    def put(self, data: bytes) -> bool:
        """Send at once what the socket takes, and the rest when it does.

        Returns:
            False if nothing will ever go out again.
        """
        if self.lost:
            return False
        if self._stream is not None and not self._held:
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

    def flush(self) -> None:
        """Send what waits: the socket has room."""
        stream, held = self._stream, self._held
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
        self._watch.want(WRITE, False)

    def _send(self, stream: socket.socket, data: bytes) -> int:
        try:
            sent = stream.send(data, flags_for(data))
        except BlockingIOError:
            return 0
        except OSError as error:
            self.lost = True
            self.drop()
            self._sender.broken(error)
            return 0
        self._sender.sent(sent)
        return sent


def _without(data: bytes, sent: int) -> bytes:
    """What is left; as urgent as it was, if it is all."""
    return data[sent:] if sent else data
