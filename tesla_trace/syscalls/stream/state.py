"""How far a stream socket has come.

Facts of Linux (net/ipv4/af_inet.c), which the states follow: a connect that was not waited for is
asked after with connect(2) or SO_ERROR.  The first connect after it was done says 0, the next
EISCONN; the first after it failed says why, the next tries again.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """How far a socket has come."""

    FRESH = enum.auto()
    CONNECTING = enum.auto()
    CONNECTED = enum.auto()
    FAILED = enum.auto()
    """A connect that nobody waited for has failed; `error` says why until somebody asks."""
    LISTENING = enum.auto()
    OVER = enum.auto()
    """The flow is over, and the program has not closed the socket yet."""
