"""A bare splice loop: `python splicer.py PATH ADDRESS:PORT`, UNIX socket to TCP, both ways.

What tesla_trace's spliced flows are compared with: the same kernel calls, and nothing around them.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import socket
import sys

PIPE = 1 << 20
"""Bytes: the most that a user may have in a pipe (/proc/sys/fs/pipe-max-size)."""

FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Way:
    """One direction: bytes from a socket through a pipe into another."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.out, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, PIPE)
        self.held = 0
        self.ended = False

    def move(self) -> bool:
        """Move what there is; False when the source has ended and all is through."""
        try:
            while True:
                if not self.held:
                    self.held = os.splice(self.source.fileno(), self.into, PIPE, flags=FLAGS)
                    if not self.held:
                        self.ended = True
                        self.sink.shutdown(socket.SHUT_WR)
                        return False
                self.held -= os.splice(self.out, self.sink.fileno(), self.held, flags=FLAGS)
        except BlockingIOError:
            return True
        except OSError:  # reset
            self.ended, self.held = True, 0
            return False

    def wants(self, end: socket.socket) -> int:
        """Which events of that socket bring this way on."""
        if self.ended:
            return 0
        if self.held:
            return selectors.EVENT_WRITE if end is self.sink else 0
        return selectors.EVENT_READ if end is self.source else 0

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self.out)
        os.close(self.into)


class Relay:
    """One connection: two sockets, two ways."""

    def __init__(self, loop: selectors.BaseSelector, near: socket.socket, where: str) -> None:
        address, _, port = where.rpartition(":")
        far = socket.create_connection((address, int(port)))
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop, self._ends = loop, (near, far)
        self._ways = Way(near, far), Way(far, near)
        self._watched: dict[socket.socket, int] = dict.fromkeys(self._ends, 0)
        for end in self._ends:
            end.setblocking(False)
        self._watch()

    def ready(self, end: socket.socket, events: int) -> None:
        """Serve a socket: whichever way it is that these events bring on."""
        for way in self._ways:
            if way.wants(end) & events:
                way.move()
        if all(way.ended for way in self._ways):
            self._close()
        else:
            self._watch()

    def _watch(self) -> None:
        for end in self._ends:
            events = self._ways[0].wants(end) | self._ways[1].wants(end)
            if events == self._watched[end]:
                continue
            if not self._watched[end]:
                self._loop.register(end, events, self)
            elif events:
                self._loop.modify(end, events, self)
            else:
                self._loop.unregister(end)
            self._watched[end] = events

    def _close(self) -> None:
        for end in self._ends:
            if self._watched[end]:
                self._loop.unregister(end)
            end.close()
        for way in self._ways:
            way.close()


def main(path: str, target: str) -> None:
    """Serve until somebody ends us."""
    loop = selectors.DefaultSelector()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    loop.register(listener, selectors.EVENT_READ)
    while True:
        for key, events in loop.select():
            if key.fileobj is listener:
                Relay(loop, listener.accept()[0], target)
            elif isinstance(key.data, Relay) and isinstance(key.fileobj, socket.socket):
                if key.fileobj.fileno() >= 0:  # closed by an event of its other end
                    key.data.ready(key.fileobj, events)


if __name__ == "__main__":
    main(*sys.argv[1:])
