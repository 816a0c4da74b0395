"""Looking names up without making the loop wait: getaddrinfo(3) in a thread of its own."""

from __future__ import annotations

import errno
import os
import queue
import socket
import threading
from collections.abc import Callable

from tesla_trace.flow import Address, failure
from tesla_trace.io.loop import Loop

Found = list[Address] | OSError
_Asked = tuple[str, int, Callable[[Found], None]]


class Resolver:
    """The thread is started by the first name; it inherits that all signals are blocked."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[tuple[Callable[[Found], None], Found]] = queue.SimpleQueue()
        self._bell = -1

    def look_up(self, host: str, port: int, tell: Callable[[Found], None]) -> None:
        """Tell, on a later turn of the loop, the addresses of `host`, the best first."""
        if self._bell < 0:
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._loop.on_readable(self._bell, self._tell)
            threading.Thread(target=self._work, name="resolver", daemon=True).start()
        self._asked.put((host, port, tell))

    def _work(self) -> None:
        while True:
            host, port, tell = self._asked.get()
            self._found.put((tell, _look_up(host, port)))
            os.eventfd_write(self._bell, 1)

    def _tell(self) -> None:
        os.eventfd_read(self._bell)
        while not self._found.empty():
            tell, found = self._found.get()
            tell(found)


def _look_up(host: str, port: int) -> Found:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as wrong:
        return failure(errno.EHOSTUNREACH, f"{host}: {wrong.strerror}")
    except (OSError, ValueError) as wrong:
        return failure(errno.EHOSTUNREACH, f"{host}: {wrong}")
    return [answer[4] for answer in answers]  # type: ignore[misc]
