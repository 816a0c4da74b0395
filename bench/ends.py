"""The ends of the sides: what there is at the server, and at the client."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from pathlib import Path

from bench import peers
from bench.machine import tesla
from bench.measure import Worker, rounds
from bench.place import LOOPBACK
from bench.settings import Settings
from bench.stage import Near, Stage
from bench.stream import INSIDE

BLOCK = 65536
"""Bytes in one write where there is most to be had."""

BUFFERS = (65536, 131072, 262144, 524288, 1048576)
"""Sizes tried for socat's buffer."""

HAPROXY_BUFFER = 262144
"""16 times what it has by itself; that makes it faster over UNIX sockets, and more does not."""

# ---- far ends ----


def plain(stage: Stage) -> str:
    """The server, as it is."""
    return stage.server()


def decrypts(stage: Stage) -> str:
    """A server that decrypts itself."""
    return stage.server("-k", str(stage.key()), flags=INSIDE)


def behind_stunnel(stage: Stage) -> str:
    """The server, and the second of the pair of stunnels."""
    pair = peers.stunnel(
        stage.settings.folder,
        stage.key(),
        plain(stage),
        stage.place.far,
        stage.place.address,
        client=False,
    )
    return stage.open.enter_context(pair)


def over_crypt(stage: Stage) -> str:
    """The server under us."""
    return stage.server(under=tesla("+crypt", f"-key={stage.key()}"))


# ---- near ends ----


def directly(stage: Stage, wire: str) -> list[str]:
    """Nothing between."""
    return stage.client(wire)


def under_us(*words: str) -> Near:
    """The client under tesla_trace with these words."""
    return lambda stage, wire: stage.client(wire, under=tesla(*words))


def through_socat(*, unix: bool) -> Near:
    """socat beside the client."""

    def near(stage: Stage, wire: str) -> list[str]:
        folder = stage.settings.folder
        buffer = best_buffer(folder, stage.settings.quick)
        stage.settings.note(f"socat has a buffer of {buffer} bytes.")
        relay = peers.socat(folder, wire, buffer, stage.place.near, unix=unix)
        return stage.client(stage.open.enter_context(relay))

    return near


def through_haproxy(*, unix: bool) -> Near:
    """haproxy beside the client."""

    def near(stage: Stage, wire: str) -> list[str]:
        folder = stage.settings.folder
        relay = peers.haproxy(folder, wire, HAPROXY_BUFFER, stage.place.near, unix=unix)
        return stage.client(stage.open.enter_context(relay))

    return near


def through_splicer(stage: Stage, wire: str) -> list[str]:
    """A bare splice loop beside the client."""
    relay = peers.splicer(stage.settings.folder, wire)
    return stage.client(stage.open.enter_context(relay))


def through_stunnel(stage: Stage, wire: str) -> list[str]:
    """The first of a pair of stunnels."""
    folder, near = stage.settings.folder, stage.place.near
    pair = peers.stunnel(folder, stage.key(), wire, near, "127.0.0.1", client=True)
    return stage.client(stage.open.enter_context(pair))


def encrypts(stage: Stage, wire: str) -> list[str]:
    """A client that encrypts itself."""
    return stage.client("-k", str(stage.key()), wire, flags=INSIDE)


def under_crypt(stage: Stage, wire: str) -> list[str]:
    """A client whose stream we encrypt."""
    return stage.client(wire, under=tesla("+crypt", f"-key={stage.key()}"))


def shakes_hands(stage: Stage, wire: str) -> list[str]:
    """A client that speaks SOCKS itself."""
    return stage.client("-s", stage.proxy(), wire)


def under_socks(stage: Stage, wire: str) -> list[str]:
    """A client whose connections go through the proxy under us, those on loopback too."""
    return stage.client(wire, under=tesla(f"+socks={stage.proxy()}", "-loopback"))


@cache
def best_buffer(folder: Path, quick: bool) -> int:
    """The buffer with which socat is fastest here, between a UNIX socket and loopback."""
    settings = Settings(folder, quick)
    with ExitStack() as open:
        stage = Stage(settings, LOOPBACK, open)
        wire = stage.wire(plain)
        asked = {}
        for size in BUFFERS:
            relay = open.enter_context(peers.socat(folder, wire, size, (), unix=True))
            worker = open.enter_context(Worker(stage.client(relay)))
            asked[str(size)] = worker.asked(f"send {BLOCK} {0.1 if quick else 0.3}")
        figures = rounds(asked, 3)
    return int(max(figures, key=lambda size: sorted(figures[size])[1]))
