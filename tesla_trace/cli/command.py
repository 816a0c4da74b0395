"""`tesla_trace [--OPTION] +HANDLER[=VALUE] [-OPTION] PROGRAM [ARG]`, and what it is besides."""

from __future__ import annotations

import sys

from tesla_trace.cli.options import take_apart
from tesla_trace.cli.statuses import USAGE
from tesla_trace.cli.words import Words
from tesla_trace.report import die


def run() -> None:
    """Do what the command line of this process says."""
    try:
        words = take_apart(sys.argv[1:])
    except ValueError as wrong:
        die(str(wrong), USAGE)
    if words.action in PLAIN:
        from tesla_trace.cli import printed

        return printed.act(words)
    from tesla_trace.flow import UsageError

    try:
        _with_handlers(words)
    except UsageError as wrong:
        die(str(wrong), USAGE)


PLAIN = ("help", "version", "handlers", "doctor", "keygen", "detach")
"""What takes no handlers."""


def _with_handlers(words: Words) -> None:
    """Do what is about handlers.

    Raises:
        UsageError: the words make no sense.
    """
    if words.agent is not None or words.action == "oci-profile":
        from tesla_trace.cli import containers

        return containers.run(words)
    subject = words.program or words.attach
    if (
        not (subject or words.action)
        and words.handlers
        and not any("=" in w for w in words.handlers)
    ):
        from tesla_trace.cli import printed

        return printed.usage_of(words.handlers)
    if words.action:
        from tesla_trace.cli import printed

        return printed.explain(words)
    from tesla_trace.cli import supervised

    supervised.run(words)
