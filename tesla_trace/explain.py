"""`--explain`: which handlers a flow would go through, and which rule says so."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence

from tesla_trace.address import Address, numeric
from tesla_trace.flow import ADDRESS, Stack
from tesla_trace.flow.condition import WORDS
from tesla_trace.flow.facts import Facts
from tesla_trace.flow.rules import Decision

TAKES = "HOST:PORT [out|in] [tcp|udp] [program NAME] [port LISTENING]"


class Unexplained(ValueError):
    """The flow makes no sense; the text is for the user."""


def facts(where: str, words: Sequence[str]) -> Facts:
    """The flow that the words of the command line mean.

    Raises:
        Unexplained: they mean none.
    """
    try:
        address = ADDRESS.read(where)
    except ValueError:
        raise Unexplained(f"--explain {where}: not {ADDRESS.accepts}") from None
    said = {"direction": "out", "type": "tcp"}
    program: str | None = None
    port: int | None = None
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in WORDS:
            said[WORDS[word][0]] = word
        elif word == "program" and rest:
            program = rest.pop(0)
        elif word == "port" and rest:
            port = _port(rest.pop(0))
        else:
            raise Unexplained(f"--explain: {word!r} is not understood; it takes {TAKES}")
    if said["direction"] == "out":
        if port is not None:
            raise Unexplained("--explain: `port` is that of a listener, so `in` is missing")
        port = address[1]
    host = address[0] if numeric(address[0]) else address[0].lower().removesuffix(".")
    family = said.get("family", _family(address))
    return Facts(said["direction"], said["type"], family, host, port, program)


def _port(given: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", given) or not 0 < int(given) < 2**16:
        raise Unexplained(f"--explain port {given}: not a port such as 443")
    return int(given)


def _family(address: Address) -> str | None:
    number = numeric(address[0])
    return f"ipv{number.version}" if number else None


def lines(stack: Stack, where: str, flow: Facts) -> Iterator[str]:
    """What is decided of the flow, a line for each handler, the first nearest the program."""
    by = f" by {flow.program}" if flow.program else ""
    if flow.direction == "in":
        to = f"port {flow.port}" if flow.port else "a port that is not said"
        yield f"{flow.type} from {where} to {to}{by}:"
    else:
        yield f"{flow.type} to {where}{by}:"
    if flow.host is not None and numeric(flow.host) is None and stack.dns == "local":
        yield "  (programs look names up here, and connect to numbers: ask for a number)"
    decisions = stack.decisions(flow)
    width = max((len(handler.name) for handler, _, _ in decisions), default=0)
    kind = socket.SOCK_DGRAM if flow.type == "udp" else socket.SOCK_STREAM
    for handler, used, decision in decisions:
        why = _why(used, decision)
        if used and handler.serving(kind) is None:
            used = handler.exclusive
            why = "it refuses datagrams" if used else "it has no use for datagrams"
        yield f"  +{handler.name:<{width}}  {'used' if used else 'not used':<8}  {why}"


def _why(used: bool, decision: Decision) -> str:
    rules = list(dict.fromkeys(entry.said for entry in decision.by))
    if decision.used is None:
        end = "so nothing may bypass it" if used else "so it is left out"
        return f"not decided, {end}: it depends on " + ", ".join(rules)
    return "no rule is against it" if decision.default else rules[-1]
