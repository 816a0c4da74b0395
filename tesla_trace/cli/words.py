"""What a command line says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

DATAPATHS = ("auto", "splice", "handlers")
"""See `io.datapath`, which is not imported only to take words apart; so for those that follow."""

TRAPS = ("auto", "seccomp", "ptrace")
"""See `trapping`."""

ON_CRASH = ("open", "closed", "kill")
"""See `keeper.answers`."""

METADATA = ("no", "ours", "any")
"""What a container may say of its handlers: nothing, such as are harmless, any."""

PROFILES = ("runc", "crun", "docker", "podman")
"""See `oci.profile`."""


class Words(NamedTuple):
    """The command line, taken apart."""

    handlers: Sequence[str] = []
    program: Sequence[str] = []
    log: str | None = None
    rules: Sequence[str] = []
    report: str | None = None
    strict: bool = False
    datapath: str = "auto"
    trap: str = "auto"
    kill: bool = False
    """Whether the program is to die when we do."""
    on_crash: str = ""
    wait: bool = False
    debug: bool = False
    attach: int = 0
    """The process to attach to, in place of starting a program."""
    tree: bool = False
    """Whether also to all below it."""
    grace: float | None = None
    """Seconds for the connections of a process that is let go."""
    agent: str | None = None
    """The socket by which runtimes tell of containers, to be served in place of a program."""
    metadata: str = "no"
    """What a container may say of its handlers."""
    action: str = ""
    """What to do in place of running a program: the option's name."""
    value: str = ""
    """The action's value."""
