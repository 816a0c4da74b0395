"""The flow graph: what a handler is, and how handlers are joined.  No I/O here."""

from tesla_trace.address import Address, is_loopback, numeric, shown
from tesla_trace.flow.clock import Clock, Timer
from tesla_trace.flow.declared import flag, option, optional
from tesla_trace.flow.delayed import Delayed
from tesla_trace.flow.errors import failure, named, reason, trace
from tesla_trace.flow.events import Event, Events
from tesla_trace.flow.flow import Flow, printable
from tesla_trace.flow.handler import NOBODY, Context, FlowHandler, Plumb
from tesla_trace.flow.installed import installed
from tesla_trace.flow.kinds import ADDRESS, RATE, SECONDS, SIZE, TEXT, Kind, choice, whole
from tesla_trace.flow.lane import Limits
from tesla_trace.flow.options import UsageError, parse, usage
from tesla_trace.flow.own import HIGHEST, OWN, handlers_of, is_own
from tesla_trace.flow.proxied import Proxied, ProxyOptions
from tesla_trace.flow.proxied_datagrams import ProxiedDatagrams
from tesla_trace.flow.reader import Parser, Reader
from tesla_trace.flow.secret import SECRET
from tesla_trace.flow.stack import Named, Stack
from tesla_trace.flow.switch import Switch
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
