"""Declaring a handler's options, in a dataclass: what each takes, and what it is for.

Every handler takes -for and -except besides, so none may have an option of such a name.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, cast

from tesla_trace.flow.kinds import Kind

T = TypeVar("T")

OWN = {
    "for": "go through the handler only with flows that this is true of, such as 'port 5432'",
    "except": "go past the handler with flows that this is true of, such as 'net 10.0.0.0/8'",
}
"""What every handler takes: which flows it is for."""


def option(kind: Kind[T], default: str | None = None, *, help: str) -> T:
    """Declare an option of `kind`; without a default, written as a user would, it must be given."""
    about = {"kind": kind, "help": help, "default": default}
    value = dataclasses.MISSING if default is None else kind.read(default)
    return cast(T, dataclasses.field(default=value, metadata=about))


def optional(kind: Kind[T], *, help: str) -> T | None:
    """Declare an option of `kind` that may be left out, and is None then."""
    about = {"kind": kind, "help": help, "default": ""}
    return cast("T | None", dataclasses.field(default=None, metadata=about))


def flag(*, help: str) -> bool:
    """Declare an option that is on when it is named."""
    return dataclasses.field(default=False, metadata={"help": help})


def dashed(field: dataclasses.Field[Any]) -> str:
    """The field's name as a word: `in_` is `in`, for `in` cannot be a name in Python."""
    return field.name.rstrip("_").replace("_", "-")


def form(field: dataclasses.Field[Any]) -> str:
    """How the option is given, for people."""
    kind: Kind[Any] | None = field.metadata.get("kind")
    return f"-{dashed(field)}" + (f"={kind.metavar}" if kind else "")


def shadowed(options: type) -> str | None:
    """The first of the options that could never be given: -for and -except are every handler's."""
    words = map(dashed, dataclasses.fields(options)) if dataclasses.is_dataclass(options) else ()
    return next((each for each in words if each in OWN), None)
