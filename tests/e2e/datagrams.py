"""Peers for programs that send datagrams, started natively."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.peers.ports import free_port
from tests.e2e.apart import with_hosts
from tests.e2e.peers import answers
from tests.e2e.process import eventually, start

DANTE = """\
logoutput: stderr
internal: {inside} port = {port}
external: lo
clientmethod: none
socksmethod: {method}
user.privileged: root
user.unprivileged: nobody
client pass {{
    from: 0/0 to: 0/0
    log: connect error
}}
socks pass {{
    from: 0/0 to: 0/0
    protocol: tcp udp
    log: connect error
}}
"""


@dataclass
class Dante:
    port: int
    path: Path

    @property
    def log(self) -> str:
        """What it says it did."""
        return self.path.read_text()

    @property
    def associated(self) -> int:
        """How often it was asked for a relay."""
        return self.log.count("udp/udpassociate [")


@contextlib.contextmanager
def dante(
    folder: Path, inside: str = "127.0.0.1", method: str = "none", hosts: str = ""
) -> Iterator[Dante]:
    """A SOCKS 5 server with UDP ASSOCIATE that is not ours; it needs root.

    Args:
        hosts: its own /etc/hosts.
    """
    port = free_port()
    folder.mkdir(exist_ok=True)
    conf, path = folder / "danted.conf", folder / "danted.log"
    conf.write_text(DANTE.format(inside=inside, port=port, method=method))
    command: list[object] = ["danted", "-f", conf]
    if hosts:
        command = with_hosts(folder, hosts, *command)
    with path.open("wb") as log, start(*command, stderr=log.fileno()):
        eventually("danted listens", functools.partial(answers, port, inside))
        yield Dante(port, path)


@dataclass
class Echo:
    port: int
    heard: list[tuple[bytes, tuple[str, int]]] = field(default_factory=list)
    """What came, and whence."""


@contextlib.contextmanager
def echo(host: str = "127.0.0.1") -> Iterator[Echo]:
    """Sends back what it gets, in capital letters."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        server.bind((host, 0))
        made = Echo(server.getsockname()[1])

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    data, source = server.recvfrom(2**16)
                    if data == b"end of the echo":
                        return
                    made.heard.append((data, source[:2]))
                    server.sendto(data.upper(), source)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            with socket.socket(family, socket.SOCK_DGRAM) as last:
                last.sendto(b"end of the echo", (host, made.port))
            thread.join(5)
