"""The handlers there are: our own, other packages', and any class by its full name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
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
        self._ours = ours()
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
        yield from self._ours
        yield from (name for name in self._theirs() if name not in self._ours)

    def __len__(self) -> int:
        """How many there are."""
        return sum(1 for _ in self)

    def _find(self, name: str) -> type[FlowHandler]:
        if name in self._ours:
            return _handler(f"{GROUP}.{name}")
        place = name if ":" in name else self._theirs().get(name)
        if place is None:
            raise KeyError(name)
        module, _, attribute = place.partition(":")
        try:
            handler: type[FlowHandler] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError, TypeError) as wrong:
            # ValueError and TypeError are what importlib has against `:Class` and `.module:Class`.
            raise KeyError(f"{wrong}") from wrong
        if not (inspect.isclass(handler) and issubclass(handler, FlowHandler)):
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
    modules = pkgutil.iter_modules(importlib.import_module(GROUP).__path__)
    return [module.name for module in modules if not module.name.startswith("_")]


def _handler(module: str) -> type[FlowHandler]:
    """The handler that a file of ours defines, in a class of the file's name."""
    name = module.rpartition(".")[2].capitalize()
    handler: type[FlowHandler] = getattr(importlib.import_module(module), name)
    return handler


@cache
def installed() -> Installed:
    """Every handler that can be named, by name."""
    return Installed()
