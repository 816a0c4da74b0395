"""Differences that are to stay, each with the reason in the kernel; README lists them."""

from __future__ import annotations

from fnmatch import fnmatchcase

KNOWN: dict[str, str] = {}
"""By the name of the test, or a pattern of names."""


def reason(test: str) -> str | None:
    """Why the outcome of a test may differ; None if it may not."""
    for pattern, why in KNOWN.items():
        if fnmatchcase(test, pattern):
            return why
    return None
