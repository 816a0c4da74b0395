"""What is known of a flow, for conditions to be judged by."""

from __future__ import annotations

from typing import NamedTuple

Truth = bool | None
"""None: not known."""


class Facts(NamedTuple):
    """What is known of a flow; None is what is not."""

    direction: str
    """`out`, or `in` of what a listener accepts."""
    type: str
    """`tcp` or `udp`."""
    family: str | None
    """`ipv4` or `ipv6`."""
    host: str | None
    """Whom it is with: a number, or a name that is looked up further out."""
    port: int | None
    """The port of the service: the destination's, or the one that is listened on."""
    program: str | None
    """The process's name."""
