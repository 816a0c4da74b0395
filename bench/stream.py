"""The program that sends and receives one stream of bytes, `stream.c`: its server, its client."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.machine import compiled
from bench.settings import Settings

Cpus = tuple[Sequence[str], Sequence[str]]
"""What server and client are started with, to say which CPU they run on."""

ANY: Cpus = (), ()

INSIDE = "-DINSIDE", "-lssl", "-lcrypto"
"""Encrypts inside the program, where it is given a key."""


def two_cpus() -> Cpus:
    """Where to put server and client so that they never share a CPU, which would be 4 x faster.

    The relay between them may be anywhere.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2 or shutil.which("taskset") is None:
        return ANY
    return ["taskset", "-c", str(cpus[0])], ["taskset", "-c", str(cpus[-1])]


@contextmanager
def serving(command: Sequence[str]) -> Iterator[str]:
    """A server that says its port first; gives the port.

    Raises:
        RuntimeError: it ended in place of that.
    """
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        port = server.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"{' '.join(command)}: ended with status {server.wait(10)}")
        yield port
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()


@contextmanager
def served(settings: Settings, cpu: Sequence[str] = ()) -> Iterator[str]:
    """A native server on loopback; gives its port."""
    with serving([*cpu, compiled(settings.folder, "stream"), "serve"]) as port:
        yield port
