"""The handlers that a command line names, stacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tesla_trace.cli.words import Words

if TYPE_CHECKING:
    from tesla_trace.flow import Stack


def stacked(words: Words, *, harmless: bool = False) -> Stack:
    """The handlers that the words name, with the rules that decide which flows they are for.

    Args:
        harmless: as of `parse`.

    Raises:
        UsageError: the words make no sense, or the rules do not.
    """
    from tesla_trace.flow import Stack, UsageError, installed, parse

    named = parse(words.handlers, harmless=harmless)
    from tesla_trace.flow.rules import Rule, Unusable

    rules: list[Rule] = []
    try:
        if words.rules:
            from tesla_trace.flow.usable import check
            from tesla_trace.rulefile import read

            known: set[str] = set()
            rules = [rule for path in words.rules for rule in read(path, installed(), known)]
            check(rules)
        return Stack(named, probed=words.debug, rules=rules)
    except Unusable as wrong:  # `Unreadable` is one
        raise UsageError(str(wrong)) from None
