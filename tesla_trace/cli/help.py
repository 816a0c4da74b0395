"""The text of --help."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tesla_trace.cli.options import OPTIONS

USAGE = """\
usage: tesla_trace [--OPTION] ... +HANDLER[=VALUE] [-OPTION[=VALUE]] ... PROGRAM ARG ...
       tesla_trace +HANDLER          what that handler does, and its options
       tesla_trace --attach PID [--tree] +HANDLER[=VALUE] ...
                                     the same for a process that runs already
       tesla_trace --detach PID      let it go again
       tesla_trace --handlers        the handlers there are
       tesla_trace --doctor          what this machine allows
       tesla_trace --keygen FILE     make a key file for +crypt
       tesla_trace +HANDLER ... --explain HOST:PORT [in] [udp] [program NAME] [port LISTENING]
                                     which handlers such a connection goes through, and why
       tesla_trace --oci-agent SOCKET [+HANDLER ...]
                                     serve containers that a runtime tells of (docs/containers.md)
       tesla_trace --oci-profile[=FOR] [--oci-agent SOCKET] +HANDLER ...
                                     the seccomp profile for them, for runc, crun, docker or podman
       tesla_trace --version

Run PROGRAM with every TCP connection that it makes or accepts going through the handlers.
The first handler named is nearest the program, the last nearest the network.

Each handler also takes -for='CONDITION', to be used for such flows only, and -except='CONDITION':
port 80,8000-8100 | net 10.0.0.0/8 | host *.example.org | program curl | in | out | tcp | udp,
joined with and, or, not, ( ).
"""

EXAMPLES = """\
for example:
  tesla_trace +socks=proxy:1080 ./static-binary
  tesla_trace +log +http=proxy:3128 wget http://example.org/
"""

INDENT = 15
"""Columns before what an option does."""

WIDTH = 100


def text() -> str:
    """All of it."""
    options = "\n".join(line for option in _options() for line in option)
    return f"{USAGE}\n{options}\n\n{EXAMPLES}"


def _options() -> Iterator[list[str]]:
    for option in OPTIONS:
        if option.text:
            yield _lines(option.shown, option.text)
    yield _lines("--", "the program follows, whatever it is called")


def _lines(name: str, text: str) -> list[str]:
    first = f"  {name}".ljust(INDENT)
    lines = textwrap.wrap(text, WIDTH - INDENT, break_on_hyphens=False)
    if len(first) > INDENT or not first.endswith(" "):
        return [first.rstrip(), *(" " * INDENT + each for each in lines)]
    return [first + lines[0], *(" " * INDENT + each for each in lines[1:])]
