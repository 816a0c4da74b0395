"""What people put between a program and a server today, run natively.

Each is a context that gives where it listens, and lasts until it is left.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.machine import HERE, need
from fixtures.peers.ports import free_port

PATIENCE = 10.0
"""Seconds until a program must have begun to listen."""

LISTENS = "0A"
"""TCP_LISTEN, as /proc/net/tcp has it."""

ACCEPTS = "00010000"
"""__SO_ACCEPTCON, as /proc/net/unix has it."""

HAPROXY = """\
global
    nbthread 1
    tune.bufsize {buffer}
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen relay
    bind {where}
    server there {target}
"""

STUNNEL = """\
foreground = yes
pid =
syslog = no
debug = err
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[relay]
client = {client}
accept = {where}
connect = {target}
cert = {key}
CAfile = {key}
verifyPeer = yes
sslVersionMin = TLSv1.3
ciphersuites = TLS_AES_256_GCM_SHA384
"""


@contextmanager
def socat(
    folder: Path, target: str, buffer: int, enter: Sequence[str], *, unix: bool
) -> Iterator[str]:
    """socat, which serves each connection in a process of its own."""
    where = _where(folder, "socat", unix)
    kind = f"UNIX-LISTEN:{where}" if unix else f"TCP-LISTEN:{_port(where)},bind=127.0.0.1,nodelay"
    command = [need("socat"), "-b", str(buffer), f"{kind},fork", f"TCP:{target},nodelay"]
    with _running([*enter, *command], folder, where):
        yield where


@contextmanager
def haproxy(
    folder: Path, target: str, buffer: int, enter: Sequence[str], *, unix: bool
) -> Iterator[str]:
    """haproxy as a relay of TCP connections."""
    where = _where(folder, "haproxy", unix)
    config = folder / f"haproxy-{_label(where)}.cfg"
    bind = f"unix@{where}" if unix else where
    config.write_text(HAPROXY.format(buffer=buffer, where=bind, target=target))
    with _running([*enter, need("haproxy"), "-db", "-q", "-f", str(config)], folder, where):
        yield where


@contextmanager
def stunnel(
    folder: Path, key: Path, target: str, enter: Sequence[str], address: str, *, client: bool
) -> Iterator[str]:
    """One of a pair of stunnels; both have the same key file and want to see it."""
    where = f"{address}:{free_port()}"
    config = folder / f"stunnel-{_label(where)}.conf"
    says = "yes" if client else "no"
    config.write_text(STUNNEL.format(client=says, where=where, target=target, key=key))
    with _running([*enter, need("stunnel"), str(config)], folder, where):
        yield where


@contextmanager
def microsocks(folder: Path) -> Iterator[str]:
    """A SOCKS server in C on loopback, a thread for each connection."""
    where = f"127.0.0.1:{free_port()}"
    command = [need("microsocks"), "-i", "127.0.0.1", "-p", str(_port(where))]
    with _running(command, folder, where):
        yield where


@contextmanager
def splicer(folder: Path, target: str) -> Iterator[str]:
    """The least that a relay in Python can do: `splicer.py`."""
    where = _where(folder, "splicer", unix=True)
    with _running([sys.executable, str(HERE / "splicer.py"), where, target], folder, where):
        yield where


@contextmanager
def _running(command: Sequence[str], folder: Path, where: str) -> Iterator[None]:
    """A program, from when it listens there.

    Raises:
        RuntimeError: it does not come to that.
    """
    path = folder / f"{_label(where)}.log"
    with path.open("w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        listens = _listens_unix if where.startswith("/") else _listens
        if not _eventually(process, lambda: listens(process.pid, where)):
            said = path.read_text().strip().rpartition("\n")[2]
            raise RuntimeError(f"{' '.join(command)}: does not listen: {said or 'no word why'}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if where.startswith("/"):
            Path(where).unlink(missing_ok=True)


def _eventually(process: subprocess.Popen[bytes], holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.01)
    return False


def _listens(process: int, where: str) -> bool:
    """Whether anybody listens on the port, in the network namespace of that process."""
    end = f":{_port(where):04X}"
    lines = (line.split() for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines())
    return any(line[1].endswith(end) and line[3] == LISTENS for line in lines)


def _listens_unix(process: int, where: str) -> bool:
    lines = (line.split() for line in Path(f"/proc/{process}/net/unix").read_text().splitlines())
    return any(line[-1].startswith(where) and line[3] == ACCEPTS for line in lines)


def _where(folder: Path, name: str, unix: bool) -> str:
    port = free_port()  # a path that is as new
    return str(folder / f"{name}-{port}") if unix else f"127.0.0.1:{port}"


def _port(where: str) -> int:
    return int(where.rpartition(":")[2])


def _label(where: str) -> str:
    return where.rpartition("/")[2].replace(":", "-")
