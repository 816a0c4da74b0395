"""What sockets a process has when it is attached to."""

from __future__ import annotations

import os
import socket as sockets
from contextlib import closing, suppress

from tesla_trace.kernel import proc
from tesla_trace.kernel.thread import Thread
from tesla_trace.syscalls.escapes.strangers import is_network_socket
from tesla_trace.syscalls.foreign.adopt import CLOSE, LISTEN, is_tcp, tcp_state
from tesla_trace.syscalls.session import Session


class Survey:
    """Counts them, each once whoever has it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: set[str] = set()
        self.listeners = 0
        """TCP sockets that listen: what they accept is served."""
        self.connections = 0
        """TCP sockets that are past being served."""

    def look(self, process: int) -> None:
        """Count what a process has; all but TCP is looked at when a call is about it."""
        with suppress(OSError), closing(Thread(process)) as thread:
            for fd, name in proc.files(process):
                if name.startswith("socket:[") and name not in self._seen:
                    self._seen.add(name)
                    with suppress(OSError):
                        self._count(process, thread.borrow(fd, name.encode()))

    def _count(self, process: int, fd: int) -> None:
        try:
            there = is_network_socket(fd)
        except BaseException:
            os.close(fd)
            raise
        with sockets.socket(fileno=fd) as found:
            if there and is_tcp(found):
                state = tcp_state(found)
                self.listeners += state == LISTEN
                if state not in (CLOSE, LISTEN):
                    self.connections += 1
                    self._session.strangers.before(found.fileno(), proc.name(process))

    def __str__(self) -> str:
        """In one line, as the log has it."""
        found = f"{count(self.listeners, 'listener')} found"
        return f"{found}, {count(self.connections, 'connection')} left alone"


def count(number: int, what: str) -> str:
    """So many of something, in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"
