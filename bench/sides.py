"""The sides of the figures: what is between the client and the server.

A side has a far end, which gives the address that is on the wire, and a near end, which gives the
command of a client that reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench import peers
from bench.machine import compiled, tesla
from bench.measure import Worker, rounds
from bench.place import LOOPBACK, Place
from bench.settings import Settings
from bench.stream import ANY, INSIDE, Cpus, serving
from tesla_trace.keygen import keygen

BLOCK = 65536
"""Bytes in one write where there is most to be had."""

BUFFERS = (65536, 131072, 262144, 524288, 1048576)
"""Sizes tried for socat's buffer."""

HAPROXY_BUFFER = 262144
"""16 times what it has by itself; that makes it faster over UNIX sockets, and more does not."""

ASIDE = "+fixtures.handlers:AsideOnceConnected"
"""A handler that wants no bytes, as socks does once it has reached its proxy."""


@dataclass
class Stage:
    """Where sides are set up; what runs ends with `open`.

    Args:
        through: what is put on the wire: given the server's address it gives its own.
    """

    settings: Settings
    place: Place
    open: ExitStack
    cpus: Cpus = ANY
    through: Callable[[str], str] = lambda wire: wire
    wires: dict[Far, str] = field(default_factory=dict)
    socks: str = ""

    def wire(self, far: Far) -> str:
        """The address by which that far end is reached; it is made when first asked for."""
        if far not in self.wires:
            self.wires[far] = self.through(far(self))
        return self.wires[far]

    def client(
        self, *words: str, under: Sequence[str] = (), flags: Sequence[str] = ()
    ) -> list[str]:
        """A client's command, at the near end of the place."""
        program = compiled(self.settings.folder, "stream", *flags)
        return [*self.place.near, *under, *self.cpus[1], program, *words]

    def server(self, *words: str, under: Sequence[str] = (), flags: Sequence[str] = ()) -> str:
        """The address of a server that runs at the far end of the place."""
        program = compiled(self.settings.folder, "stream", *flags)
        command = [*self.place.far, *under, *self.cpus[0], program, *words, "serve"]
        port = self.open.enter_context(serving([*command, self.place.address]))
        return f"{self.place.address}:{port}"

    def proxy(self) -> str:
        """The address of a SOCKS proxy at the near end, the same for all."""
        if not self.socks:
            self.socks = self.open.enter_context(peers.microsocks(self.settings.folder))
        return self.socks

    def key(self) -> Path:
        """A key file that all who encrypt have."""
        path = self.settings.folder / "key.pem"
        if not path.exists():
            keygen(path)
        return path


Far = Callable[[Stage], str]
Near = Callable[[Stage, str], list[str]]


@dataclass(frozen=True)
class Side:
    """One line of a figure."""

    name: str
    far: Far
    near: Near
    encrypted: bool = False

    def command(self, stage: Stage) -> list[str]:
        """A client that is ready to be run.

        Raises:
            Missing: this machine does not have what it takes.
        """
        return self.near(stage, stage.wire(self.far))


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


NATIVE = Side("native", plain, directly)
TCP_PROXIES = (
    Side("TCP proxy: socat", plain, through_socat(unix=False)),
    Side("TCP proxy: haproxy", plain, through_haproxy(unix=False)),
)
UNIX_PROXIES = (
    Side("UNIX proxy: socat", plain, through_socat(unix=True)),
    Side("UNIX proxy: haproxy", plain, through_haproxy(unix=True)),
)
HANDED_BACK = Side("tesla_trace, handed back", plain, under_us(ASIDE))
SPLICED = Side("tesla_trace, spliced", plain, under_us("--datapath=splice", ASIDE))
HANDLED = Side("tesla_trace, through +dummy", plain, under_us("+dummy"))
BUILT_IN = Side("native, SOCKS built in", plain, shakes_hands)
SOCKS = Side("tesla_trace, +socks", plain, under_socks)
SPLICER = Side("a bare splice loop", plain, through_splicer)

SIDES = (
    NATIVE,
    *TCP_PROXIES,
    *UNIX_PROXIES,
    HANDED_BACK,
    SPLICED,
    HANDLED,
    Side("inside the program", decrypts, encrypts, encrypted=True),
    Side("a pair of stunnels", behind_stunnel, through_stunnel, encrypted=True),
    Side("tesla_trace, +crypt at both ends", over_crypt, under_crypt, encrypted=True),
)
"""What the figures show, in the order of their tables."""


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
