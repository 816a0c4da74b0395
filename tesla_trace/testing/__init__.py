"""For whoever writes a handler: a playbook, networks in miniature, and the contract as tests.

    from tesla_trace.testing import Playbook, StreamContract, app, net

The contracts need pytest and hypothesis (`pip install tesla_trace[testing]`), the rest nothing but
us.  So each is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tesla_trace.testing.contract import CodedContract, StreamContract
    from tesla_trace.testing.contract_datagrams import DatagramContract
    from tesla_trace.testing.datagrams import Air
    from tesla_trace.testing.network import Network
    from tesla_trace.testing.playbook import HandClock, Playbook, app, net, nets, turn, wait

_PLACES = {
    "contract": ["CodedContract", "StreamContract"],
    "contract_datagrams": ["DatagramContract"],
    "datagrams": ["Air"],
    "network": ["Network"],
    "playbook": ["HandClock", "Playbook", "app", "net", "nets", "turn", "wait"],
}

__all__ = [
    "Air",
    "CodedContract",
    "DatagramContract",
    "HandClock",
    "Network",
    "Playbook",
    "StreamContract",
    "app",
    "net",
    "nets",
    "turn",
    "wait",
]

if (
    sys.modules.get("pytest") is not None
):  # so that a failure of theirs shows the values, as one of a test does
    sys.modules["pytest"].register_assert_rewrite(
        *(f"{__name__}.{each}" for each in _PLACES if f"{__name__}.{each}" not in sys.modules)
    )


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
