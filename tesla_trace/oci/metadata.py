"""Which handlers a container has: those of the command line, or what its configuration asks for.

Who may write a container's configuration is not always who may run code here, or read our files.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from tesla_trace.flow import Stack, UsageError

MOST = 16
"""Handlers that somebody else may ask for: one loop serves all containers."""

StackOf = Callable[[Sequence[str] | None, bool], Stack]
"""Makes a stack of these handlers, or of those on the command line; the second says that it is
somebody else who names them: see `parse`."""


class Metadata:
    """Makes the handlers of each container, of its `listenerMetadata`.

    Args:
        allowed: `no`, the metadata is not looked at; `ours`, it may name handlers that are
            harmless; `any`.
        needed: there are none on the command line.
    """

    def __init__(self, allowed: str, stack_of: StackOf, *, needed: bool) -> None:
        self._allowed = allowed
        self._stack_of = stack_of
        self._needed = needed

    def __call__(self, text: str) -> Stack:
        """The handlers of one container.

        Raises:
            UsageError: it has none, or they make no sense, or may not be named here.
        """
        try:
            words = shlex.split(text) if self._allowed != "no" else []
        except ValueError as wrong:
            raise UsageError(f"listenerMetadata: {wrong}") from None
        if self._allowed != "any" and sum(word.startswith("+") for word in words) > MOST:
            raise UsageError(f"listenerMetadata: more than {MOST} handlers")
        if words:
            return self._stack_of(words, self._allowed != "any")
        if self._needed:
            raise UsageError("listenerMetadata names no handlers")
        return self._stack_of(None, False)
