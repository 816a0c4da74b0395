"""A thousand connections at once, as client and as server, and what they leave behind."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.machine import Missing, compiled, need, supervisor_of, tesla
from bench.measure import Row, Worker, at_most
from bench.settings import Settings

CONNECTIONS = 1000
REQUESTS = 30
QUICK_REQUESTS = 5
"""On each connection, in each round."""

WARM_UP = 5
QUICK_WARM_UP = 2
"""Rounds in which memory grows to what Python then keeps for reuse."""

KEPT = 1.0
"""KiB for each connection that are no leak: a flow's objects are several."""

NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000; client_body_temp_path {folder};
    proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ return 200 "{body}"; }} }}
}}
"""


def rows(settings: Settings) -> Iterator[Row]:
    """A generator of load under us against nginx, and the other way round."""
    titles = {
        "client": f"{CONNECTIONS} connections, client under us, nginx native",
        "server": f"{CONNECTIONS} connections, client native, nginx under us",
    }
    try:
        load = compiled(settings.folder, "load")
        need("nginx")
    except Missing as wrong:
        for title in titles.values():
            yield Row(title, "", at_most(0), missing=str(wrong))
        return
    with ExitStack() as open:
        native_server, _ = open.enter_context(nginx(settings.folder / "native", []))
        native = open.enter_context(Worker([load, native_server]))
        under = open.enter_context(Worker([*tesla("+dummy"), load, native_server]))
        yield from _side(settings, titles["client"], under, native, under.pid)
        our_server, front = open.enter_context(nginx(settings.folder / "ours", tesla("+dummy")))
        client = open.enter_context(Worker([load, our_server]))
        yield from _side(settings, titles["server"], client, native, front)


def _side(
    settings: Settings, title: str, ours: Worker, native: Worker, front: int
) -> Iterator[Row]:
    rates: list[float] = []
    natively: list[float] = []
    errors: list[float] = []
    left, grown, warm = 0, 0.0, 0.0
    order = f"{CONNECTIONS} {QUICK_REQUESTS if settings.quick else REQUESTS}"
    warm_up = QUICK_WARM_UP if settings.quick else WARM_UP
    since = time.monotonic()
    ours.ask("10 1")
    supervisor = supervisor_of(front)
    before = _settled(supervisor)
    for turn in range(-warm_up, settings.rounds()):
        if turn > 0 and time.monotonic() - since > settings.seconds / 2:
            break
        settings.progress.round(turn, settings.rounds(), title)
        rate, wrong = ours.ask(order)
        errors.append(wrong)
        left = _settled(supervisor) - before
        memory = resident(supervisor)
        if turn >= 0:
            grown = memory - warm
            rates.append(rate)
            natively.append(native.ask(order)[0])
        else:
            warm = memory
    yield Row(f"{title}: errors", "", at_most(0), [sum(errors)])
    yield Row(f"{title}: requests", "native", None, rates, natively, "/s")
    note = f"after {CONNECTIONS * (len(rates) + warm_up)} connections"
    yield Row(f"{title}: descriptors left", "", at_most(0), [left], note=note)
    kept = grown / 1024 / (CONNECTIONS * len(rates))
    yield Row(f"{title}: memory kept of each", "", at_most(KEPT), [kept], unit="KiB", note=note)


@contextmanager
def nginx(folder: Path, under: list[str]) -> Iterator[tuple[str, int]]:
    """An nginx of our own; gives its port and the process that was started."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, body="x" * 512))
    command = [*under, need("nginx"), "-p", str(folder), "-c", str(config), "-e", "stderr"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _listens(port, process)
        yield str(port), process.pid
    finally:
        process.terminate()
        process.wait()


def _listens(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _files(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def _settled(process: int) -> int:
    """The descriptors open, once that changes no more: a close is seen a moment late."""
    end = time.monotonic() + 10
    files = -1
    while (now := _files(process)) != files and time.monotonic() < end:
        files = now
        time.sleep(0.2)
    return files


def resident(process: int) -> float:
    """Bytes of memory that a process has."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
