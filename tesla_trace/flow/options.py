"""Handlers and their options as command-line words: read, and told about.

    +shape -out=1MB +crypt -key=our.pem

A word with a plus names a handler; the first is nearest the program.  The words with a minus
after it are its options: `-name=value`, or `-name` for a flag.  `-for=CONDITION` and
`-except=CONDITION` say which flows any handler is for.  `+socks=HOST:PORT` is short for
giving the first option of socks.  What must hold between options is checked by the dataclass's
`__post_init__`, with a ValueError for the user to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tesla_trace.flow.declared import OWN, dashed, declared, form, is_needed, kind_of
from tesla_trace.flow.handler import FlowHandler
from tesla_trace.flow.installed import installed, ours
from tesla_trace.flow.own import OWN as OF_ITS_OWN
from tesla_trace.flow.rules import Unusable
from tesla_trace.flow.stack import Named


class UsageError(Exception):
    """The words make no sense; the text, one line, is for the user."""


# ---- reading ----


def parse(
    words: Iterable[str],
    handlers: Mapping[str, type[FlowHandler]] | None = None,
    *,
    harmless: bool = False,
) -> list[Named]:
    """Read words as above into handlers' names and options, in the order given.

    Args:
        handlers: those to choose from; by default all that are installed.
        harmless: they are somebody else's words: they may name no code but ours, and no file.

    Raises:
        UsageError: naming the handler, the option, what was given and what is accepted.
    """
    handlers = installed() if handlers is None else handlers
    stack: list[tuple[type[FlowHandler], dict[str, Any]]] = []
    names: list[str] = []
    conditions: list[dict[str, str]] = []
    for word in words:
        name, equals, value = word[1:].partition("=")
        if word.startswith("+"):
            if harmless and name not in ours():
                raise UsageError(f"+{name}: only handlers of our own may be named here")
            stack.append((_named(name, handlers), {}))
            names.append(name)
            conditions.append({})
            if equals:
                _set(*stack[-1], None, value, word, harmless)
        elif not word.startswith("-"):
            raise UsageError(f"{word}: neither +HANDLER nor -OPTION")
        elif not stack:
            raise UsageError(f"{word}: no +HANDLER before it")
        elif name in OWN:
            if not value or name in conditions[-1]:
                why = f"-{name} was given before" if value else "a condition is missing"
                raise UsageError(f"+{names[-1]} {word}: {why}")
            conditions[-1][name] = value
        else:
            _set(*stack[-1], name, value if equals else None, word, harmless)
    return [_finish(*each) for each in zip(names, stack, conditions, strict=True)]


def _finish(
    name: str, handler: tuple[type[FlowHandler], dict[str, Any]], conditions: Mapping[str, str]
) -> Named:
    named = Named((name, _complete(*handler)))
    if not conditions:
        return named
    from tesla_trace.flow.usable import own

    try:
        named.own = own(name, conditions.get("for"), conditions.get("except"))
    except Unusable as wrong:
        raise UsageError(str(wrong)) from None
    return named


def _named(name: str, handlers: Mapping[str, type[FlowHandler]]) -> type[FlowHandler]:
    try:
        return handlers[name]
    except KeyError as wrong:
        (why,) = wrong.args
        if why != name:
            raise UsageError(f"+{name}: cannot be used: {why}") from None
        there = " ".join(f"+{each}" for each in handlers)
        raise UsageError(f"+{name}: no such handler; there are {there}") from None


def _set(
    handler: type[FlowHandler],
    values: dict[str, Any],
    name: str | None,
    given: str | None,
    word: str,
    harmless: bool,
) -> None:
    """Put one option into `values`; `name` None is the first there is."""
    fields = {dashed(field): field for field in declared(handler.Options)}
    place = word if name is None else f"+{handler.name} {word}"
    name = next(iter(fields), None) if name is None else name
    if name is None or name not in fields:
        takes = " ".join(map(form, fields.values())) or "no options"
        raise UsageError(f"{place}: no such option; +{handler.name} takes {takes}")
    field = fields[name]
    kind = kind_of(field)
    if field.name in values:
        raise UsageError(f"{place}: -{name} was given before")
    if kind is None:
        if given is not None:
            raise UsageError(f"{place}: -{name} takes no value")
        values[field.name] = True
        return
    if harmless and kind.opens:
        raise UsageError(f"{place}: no file may be named here")
    if given is None:
        raise UsageError(f"{place}: a value is missing; {form(field)} takes {kind.accepts}")
    try:
        values[field.name] = kind.read(given)
    except ValueError as wrong:
        why = f" ({wrong})" if str(wrong) else ""
        raise UsageError(f"{place}: {given!r} is not {kind.accepts}{why}") from None


def _complete(handler: type[FlowHandler], values: dict[str, Any]) -> Any:
    for field in declared(handler.Options):
        if is_needed(field) and field.name not in values:
            accepts = field.metadata["kind"].accepts
            raise UsageError(f"+{handler.name}: {form(field)} is missing; it takes {accepts}")
    try:
        return handler.Options(**values)
    except ValueError as wrong:
        raise UsageError(f"+{handler.name}: {wrong}") from None


# ---- telling ----


def usage(handler: type[FlowHandler]) -> str:
    """What the handler does and what its options mean, from its docstring and their help."""
    import inspect  # with much else: 10 ms

    about = inspect.getdoc(handler) or ""
    lines = [f"+{handler.name}", *(f"    {line}".rstrip() for line in about.splitlines())]
    fields = declared(handler.Options)
    width = max([16, *(len(form(field)) for field in fields)])
    for field in fields:
        kind = kind_of(field)
        text = str(field.metadata["help"])
        if kind is not None:
            default = field.metadata["default"]
            text += f": {kind.accepts}; "
            text += "must be given" if default is None else f"default {default or 'none'}"
        lines.append(f"  {form(field):<{width}}  {text}")
    lines += (f"  {form:<{width}}  {text}" for form, text in asked(handler))
    return "\n".join(lines)


def asked(handler: type[FlowHandler]) -> Iterator[tuple[str, str]]:
    """What programs that know of the handler may ask it, and are told, and what each says."""
    for request, answer in handler.answers.items():
        yield f"request {request - OF_ITS_OWN}", answer
    for kind, what in handler.tells.items():
        yield f"event {kind}", what
