"""The flow graph: what a handler is, and how handlers are joined.  No I/O here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tesla_trace.address import Address, is_loopback, numeric, shown
from tesla_trace.flow.clock import Clock, Timer
from tesla_trace.flow.errors import failure, named, reason, trace
from tesla_trace.flow.events import Event, Events
from tesla_trace.flow.flow import Flow, printable
from tesla_trace.flow.handler import NOBODY, Context, FlowHandler, Plumb
from tesla_trace.flow.installed import installed
from tesla_trace.flow.options import UsageError, parse, usage
from tesla_trace.flow.own import HIGHEST, OWN, handlers_of, is_own
from tesla_trace.flow.stack import Named, Stack
from tesla_trace.flow.switch import Switch

if TYPE_CHECKING:
    from tesla_trace.flow.declaring import flag, option, optional
    from tesla_trace.flow.delayed import Delayed
    from tesla_trace.flow.kinds import ADDRESS, RATE, SECONDS, SIZE, TEXT, Kind, choice, whole
    from tesla_trace.flow.lane import Limits
    from tesla_trace.flow.proxied import Proxied, ProxyOptions
    from tesla_trace.flow.proxied_datagrams import ProxiedDatagrams
    from tesla_trace.flow.reader import Parser, Reader
    from tesla_trace.flow.secret import SECRET
    from tesla_trace.flow.transform import Transform
    from tesla_trace.flow.tunnel import Tunnel

__all__ = [
    "ADDRESS",
    "HIGHEST",
    "NOBODY",
    "OWN",
    "RATE",
    "SECONDS",
    "SECRET",
    "SIZE",
    "TEXT",
    "Address",
    "Clock",
    "Context",
    "Delayed",
    "Event",
    "Events",
    "Flow",
    "FlowHandler",
    "Kind",
    "Limits",
    "Named",
    "Parser",
    "Plumb",
    "Proxied",
    "ProxiedDatagrams",
    "ProxyOptions",
    "Reader",
    "Stack",
    "Switch",
    "Timer",
    "Transform",
    "Tunnel",
    "UsageError",
    "choice",
    "failure",
    "flag",
    "handlers_of",
    "installed",
    "is_loopback",
    "is_own",
    "named",
    "numeric",
    "option",
    "optional",
    "parse",
    "printable",
    "reason",
    "shown",
    "trace",
    "usage",
    "whole",
]

_BASES = {
    "declaring": ("flag", "option", "optional"),
    "delayed": ("Delayed",),
    "kinds": ("ADDRESS", "RATE", "SECONDS", "SIZE", "TEXT", "Kind", "choice", "whole"),
    "lane": ("Limits",),
    "proxied": ("Proxied", "ProxyOptions"),
    "proxied_datagrams": ("ProxiedDatagrams",),
    "reader": ("Parser", "Reader"),
    "secret": ("SECRET",),
    "transform": ("Transform",),
    "tunnel": ("Tunnel",),
}
"""What some handlers are made of, by file: imported by the first that asks, for it takes longer
than all the rest, and every start would wait for it."""

_FILES = {name: file for file, names in _BASES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    return found
