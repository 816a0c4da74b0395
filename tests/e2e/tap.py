"""A tap on a wire: passes a connection on, and keeps what went each way."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.e2e.process import LIMIT


@dataclass
class Tap:
    port: int
    out: bytearray = field(default_factory=bytearray)
    """From whoever connected."""
    back: bytearray = field(default_factory=bytearray)


@contextlib.contextmanager
def tapped(port: int) -> Iterator[Tap]:
    """A tap on one connection to a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)
        tap = Tap(listener.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(listener, port, tap))
        thread.start()
        yield tap
        thread.join(LIMIT)
        assert not thread.is_alive()


def _serve(listener: socket.socket, port: int, tap: Tap) -> None:
    near, _ = listener.accept()
    with near, socket.create_connection(("127.0.0.1", port), LIMIT) as far:
        near.settimeout(LIMIT)
        back = threading.Thread(target=_pass, args=(far, near, tap.back))
        back.start()
        _pass(near, far, tap.out)
        back.join()


def _pass(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            kept += data
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
