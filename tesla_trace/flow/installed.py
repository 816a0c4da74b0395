"""The handlers there are: our own, other packages', and any class by its full name."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache

from tesla_trace.flow.declared import shadowed
from tesla_trace.flow.handler import FlowHandler

GROUP = "tesla_trace.handlers"
"""The entry-point group in which another package names its handlers, and our own package."""


class Installed(Mapping[str, type[FlowHandler]]):
    """Handlers by name; each is imported when it is asked for, and not before.

    A name is that of a file in `tesla_trace.handlers`, of an entry point in the group of the same
    name, or `package.module:Class`.
    """

    def __init__(self) -> None:
        self._found: dict[str, type[FlowHandler]] = {}

    def __getitem__(self, name: str) -> type[FlowHandler]:
        """The handler called `name`.

        Raises:
            KeyError: there is none; perhaps saying why.
        """
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        """The names, without importing what they stand for."""
        known = ours()
        yield from known
        yield from (name for name in self._theirs() if name not in known)

    def __len__(self) -> int:
        """How many there are."""
        return sum(1 for _ in self)

    def _find(self, name: str) -> type[FlowHandler]:
        if (found := _of_ours(name)) is not None:
            return found
        place = name if ":" in name else self._theirs().get(name)
        if place is None:
            raise KeyError(name)
        module, _, attribute = place.partition(":")
        try:
            handler: type[FlowHandler] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError, TypeError) as wrong:
            # ValueError and TypeError are what importlib has against `:Class` and `.module:Class`.
            raise KeyError(f"{wrong}") from wrong
        if not (isinstance(handler, type) and issubclass(handler, FlowHandler)):
            raise KeyError(f"{place} is not a FlowHandler")
        if taken := shadowed(handler.Options):
            raise KeyError(f"{place} has an option -{taken}, which every handler has already")
        return handler

    @staticmethod
    def _theirs() -> dict[str, str]:
        from importlib.metadata import entry_points  # slow, and seldom wanted

        return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def ours() -> list[str]:
    """The names of our own; a file whose name begins with `_` is what several of them share."""
    import pkgutil  # with much else: 10 ms, and who names a handler need not know of the others

    modules = pkgutil.iter_modules(importlib.import_module(GROUP).__path__)
    return [module.name for module in modules if not module.name.startswith("_")]


def _of_ours(name: str) -> type[FlowHandler] | None:
    """The handler that a file of ours defines, in a class of the file's name."""
    if not name.isidentifier() or name.startswith("_"):
        return None
    file = f"{GROUP}.{name}"
    try:
        module = importlib.import_module(file)
    except ModuleNotFoundError as wrong:
        if wrong.name != file:
            raise  # it is there, and what it needs is not
        return None
    handler: type[FlowHandler] = getattr(module, name.capitalize())
    return handler


@cache
def installed() -> Installed:
    """Every handler that can be named, by name."""
    return Installed()
