"""Where the sides of a comparison are set up, and what they share there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import peers
from bench.machine import compiled
from bench.place import Place
from bench.settings import Settings
from bench.stream import ANY, Cpus, serving
from tesla_trace.keygen import keygen


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
"""Makes the far end of a side; gives the address that is on the wire."""

Near = Callable[[Stage, str], list[str]]
"""Makes the near end; gives the command of a client that reaches that address."""
