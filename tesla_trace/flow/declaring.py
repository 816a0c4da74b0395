"""Declaring a handler's options, in a dataclass: what each takes, and what it is for."""

from __future__ import annotations

import dataclasses
from typing import TypeVar, cast

from tesla_trace.flow.kinds import Kind

T = TypeVar("T")


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
