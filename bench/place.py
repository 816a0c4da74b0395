"""Where the two ends are: on loopback, or in two network namespaces with a slow link between."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import Missing, need

PREFIX = "bench-"
"""Of the names of our namespaces; the process that made them, and which end, come behind."""

NAMESPACES = Path("/run/netns")

LINK = "slow"
"""The name of the interface at each end."""

TBF = "rate 100mbit burst 32kb latency 50ms".split()
"""The paper's link.  A full queue is 50 ms long, as deep as a switch's."""


@dataclass(frozen=True)
class Place:
    """Two ends that reach each other.

    Args:
        name: of the way between them.
        near, far: what a command of the client's, or the server's end is started with.
        address: the server's.
    """

    name: str
    near: Sequence[str] = ()
    far: Sequence[str] = ()
    address: str = "127.0.0.1"


LOOPBACK = Place("loopback")


@contextmanager
def link() -> Iterator[Place]:
    """A link of 100 Mbit/s each way between two namespaces, which are removed in the end.

    Raises:
        Missing: not run as root, or ip(8), tc(8) or the kernel does not have what it takes.
    """
    if os.geteuid() != 0:
        raise Missing("network namespaces need root")
    ip, tc = need("ip"), need("tc")
    near, far = (f"{PREFIX}{os.getpid()}-{end}" for end in ("near", "far"))
    remove_left_over(ip)
    try:
        _run(ip, "netns", "add", near)
        _run(ip, "netns", "add", far)
        peer = "peer", "name", LINK, "netns", far
        _run(ip, "-n", near, "link", "add", "name", LINK, "type", "veth", *peer)
        for name, address in ((near, "10.0.0.1/30"), (far, "10.0.0.2/30")):
            _run(ip, "-n", name, "address", "add", address, "dev", LINK)
            _run(ip, "-n", name, "link", "set", "lo", "up")
            _run(ip, "-n", name, "link", "set", LINK, "up")
            _run(tc, "-n", name, "qdisc", "add", "dev", LINK, "root", "tbf", *TBF)
        enter = ip, "netns", "exec"
        yield Place("100 Mbit/s", (*enter, near), (*enter, far), "10.0.0.2")
    finally:
        for name in (near, far):
            if (NAMESPACES / name).exists():
                _run(ip, "netns", "delete", name)


def remove_left_over(ip: str) -> None:
    """Remove namespaces of runs that were killed before they could."""
    for path in NAMESPACES.glob(f"{PREFIX}*"):
        process = path.name.removeprefix(PREFIX).partition("-")[0]
        if process.isdigit() and not Path("/proc", process).exists():
            _run(ip, "netns", "delete", path.name)


def _run(*command: str) -> None:
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Missing(f"{' '.join(command)}: {done.stderr.strip()}")
