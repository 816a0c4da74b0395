"""One stream of bytes: how many a second, and how many round trips."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from bench.machine import Missing, compiled, need, tesla
from bench.measure import Goal, Row, Worker, at_least, rounds
from bench.settings import Settings

BLOCK = 65536

Cpus = tuple[Sequence[str], Sequence[str]]
"""What server and client are started with, to say which CPU they run on."""

ANY: Cpus = (), ()

NO_GOALS: Mapping[str, Goal | None] = {"socat": None, "native": None}

BUFFERS = (65536, 131072, 262144, 524288, 1048576)
"""Sizes tried for socat's buffer."""


@contextmanager
def served(settings: Settings, cpu: Sequence[str] = ()) -> Iterator[str]:
    """A native server; gives its port."""
    command = [*cpu, compiled(settings.folder, "stream"), "serve"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@contextmanager
def socat(path: Path, port: str, buffer: int) -> Iterator[str]:
    """socat between a UNIX socket and the server, as fast as it gets; gives the socket's path."""
    command = [need("socat"), "-dd", "-b", str(buffer), f"UNIX-LISTEN:{path},fork"]
    process = subprocess.Popen(
        [*command, f"TCP:127.0.0.1:{port},nodelay"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "listening on" in line:
                break
        # What it says from now on must not fill the pipe.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield str(path)
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()
        drain.wait()
        path.unlink(missing_ok=True)


@cache
def best_buffer(settings: Settings) -> int:
    """The buffer with which socat is fastest here."""
    client = compiled(settings.folder, "stream")
    with ExitStack() as open:
        port = open.enter_context(served(settings))
        workers = {}
        for size in BUFFERS:
            path = open.enter_context(socat(settings.folder / f"socat-{size}", port, size))
            workers[str(size)] = open.enter_context(Worker([client, path]))
        figures = rounds(
            {size: worker.asked(f"send {BLOCK} 0.3") for size, worker in workers.items()},
            3,
        )
    return int(max(figures, key=lambda size: sorted(figures[size])[1]))


def rows(settings: Settings) -> Iterator[Row]:
    """The same client natively, through socat, and under us, to the same native server."""
    seconds = 0.5 if settings.quick else 1.0
    bulk = {"socat": at_least(0.85), "native": None}
    for what, line, unit, goals, cpus in (
        ("64 KiB sent in a stream", f"send {BLOCK} {seconds}", "B/s", bulk, ANY),
        ("64 KiB received in a stream", f"recv {BLOCK} {seconds}", "B/s", NO_GOALS, ANY),
        (
            "round trips of 1 byte",
            f"ping {seconds}",
            "/s",
            {"socat": None, "native": at_least(0.7)},
            two_cpus(),
        ),
    ):
        yield from _compared(settings, what, line, unit, goals, cpus)


def two_cpus() -> Cpus:
    """Where to put server and client so that they never share a CPU, which would be 4 x faster.

    The relay between them may be anywhere.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2 or shutil.which("taskset") is None:
        return ANY
    return ["taskset", "-c", str(cpus[0])], ["taskset", "-c", str(cpus[-1])]


def _compared(
    settings: Settings,
    what: str,
    line: str,
    unit: str,
    goals: Mapping[str, Goal | None],
    cpus: Cpus,
) -> Iterator[Row]:
    there, here = cpus
    client = [*here, compiled(settings.folder, "stream")]
    names = {"native": "native", "socat": "socat"}
    with ExitStack() as open:
        port = open.enter_context(served(settings, there))
        workers = {
            "ours": open.enter_context(Worker([*tesla("+dummy"), *client, port])),
            "native": open.enter_context(Worker([*client, port])),
        }
        try:
            size = best_buffer(settings)
            path = open.enter_context(socat(settings.folder / "socat", port, size))
            workers["socat"] = open.enter_context(Worker([*client, path]))
            names["socat"] = f"socat -b {size}, UNIX to TCP"
        except Missing as wrong:
            missing = str(wrong)
        figures = settings.measured(
            {side: worker.asked(line) for side, worker in workers.items()}, part=1 / 3
        )
    for versus, goal in goals.items():
        if versus in figures:
            yield Row(what, names[versus], goal, figures["ours"], figures[versus], unit)
        else:
            yield Row(what, names[versus], goal, missing=missing)
