"""The ways that the bytes of a flow may take."""

from __future__ import annotations

import enum


class Datapath(enum.Enum):
    """What is allowed, where every handler of a flow has stepped aside.

    Through the handlers is always right, and whatever is not safe in a shorter way goes there.
    """

    AUTO = "auto"
    """The shortest that is safe: the program is handed the kernel's socket, if it can be."""
    SPLICE = "splice"
    """The kernel moves the bytes between the program's end and the network: splice(2)."""
    HANDLERS = "handlers"
    """Each byte is read and written by us."""
