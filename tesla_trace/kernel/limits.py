"""How many descriptors we may have (getrlimit(2))."""

from __future__ import annotations

import contextlib
import resource


def raise_limit() -> tuple[int, int]:
    """Allow ourselves as many descriptors as we may have: a flow takes two.

    Returns:
        What we had, which the program is to have.
    """
    before = _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return before
