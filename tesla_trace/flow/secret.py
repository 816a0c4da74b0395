"""Values that do not belong on a command line, where every user can read them (ps)."""

from __future__ import annotations

import os

from tesla_trace.flow.kinds import Kind


def _secret(given: str) -> str:
    scheme, colon, name = given.partition(":")
    if scheme == "env" and colon:
        if name not in os.environ:
            raise ValueError(f"the environment has no {name}")
        return os.environ[name]
    try:
        # Not splitlines: a password may hold what Unicode counts as an end of line.
        with open(given, encoding="utf-8") as file:  # not pathlib, for the sake of a quick start
            first, _, _ = file.read().partition("\n")
    except OSError as wrong:
        raise ValueError(wrong.strerror) from wrong
    except UnicodeDecodeError as wrong:
        raise ValueError("it is not text") from wrong
    return first


SECRET = Kind(
    "FILE", "a file whose first line it is, or env:NAME for the environment", _secret, opens=True
)
"""A password."""
