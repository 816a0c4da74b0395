"""Real peers, started natively on ports of their own."""

from __future__ import annotations

import contextlib
import functools
import http.server
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fixtures.peers.ports import free_port
from tests.e2e.apart import with_hosts
from tests.e2e.process import eventually, start

HELLO = b"hello from the origin\n"
BIG = bytes(range(256)) * 4096 * 8
"""8 MiB."""

LONG = b"and on and on\n" * 2**18
"""3.5 MiB of text."""

PAGES = {"/big": BIG, "/long": LONG}
"""What the origin has besides HELLO."""


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


@dataclass
class Microsocks:
    port: int
    path: Path

    @property
    def log(self) -> str:
        """What it says it did."""
        return self.path.read_text()


@contextlib.contextmanager
def microsocks(folder: Path, *options: str, hosts: str = "") -> Iterator[Microsocks]:
    """A SOCKS 5 server that is not ours.

    Args:
        hosts: its own /etc/hosts.
    """
    port, path = free_port(), folder / "microsocks.log"
    command: list[object] = ["microsocks", "-i", "127.0.0.1", "-p", port, *options]
    if hosts:
        command = with_hosts(folder, hosts, *command)
    with path.open("wb") as log:
        with start(*command, stderr=log.fileno()):
            eventually("microsocks listens", functools.partial(answers, port))
            yield Microsocks(port, path)


class _Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        body = PAGES.get(self.path, HELLO)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@dataclass
class Origin:
    port: int
    asked: list[str]

    def url(self, path: str = "/hello") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def origin() -> Iterator[Origin]:
    """An HTTP server in this process."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Origin)
    server.daemon_threads = True
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield Origin(server.server_address[1], server.asked)  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def redis(*under: object, port: int | None = None) -> Iterator[int]:
    """A redis server without files, perhaps under us; its port."""
    port = port or free_port()
    words = ("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--daemonize")
    with start(*under, *words, "no", stderr=subprocess.DEVNULL) as server:
        server.until("eady to accept connections")
        yield port
