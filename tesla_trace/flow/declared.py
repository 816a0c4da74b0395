"""The options that a handler has declared (see `declaring.py`), and those that every one has.

Every handler takes -for and -except besides, so none may have an option of such a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import Field

    from tesla_trace.flow.kinds import Kind

OWN = {
    "for": "go through the handler only with flows that this is true of, such as 'port 5432'",
    "except": "go past the handler with flows that this is true of, such as 'net 10.0.0.0/8'",
}
"""What every handler takes: which flows it is for."""


def declared(options: type) -> tuple[Field[Any], ...]:
    """The options, in their order; of a class that is no dataclass, none."""
    if not hasattr(options, "__dataclass_fields__"):
        return ()
    from dataclasses import fields  # 10 ms, and who declares options has spent them already

    return fields(options)


def is_needed(field: Field[Any]) -> bool:
    """Whether the option must be given."""
    return kind_of(field) is not None and field.metadata["default"] is None


def kind_of(field: Field[Any]) -> Kind[Any] | None:
    """The kind of its values; None of a flag."""
    kind: Kind[Any] | None = field.metadata.get("kind")
    return kind


def dashed(field: Field[Any]) -> str:
    """The field's name as a word: `in_` is `in`, for `in` cannot be a name in Python."""
    return field.name.rstrip("_").replace("_", "-")


def form(field: Field[Any]) -> str:
    """How the option is given, for people."""
    kind = kind_of(field)
    return f"-{dashed(field)}" + (f"={kind.metavar}" if kind else "")


def shadowed(options: type) -> str | None:
    """The first of the options that could never be given: -for and -except are every handler's."""
    return next((each for each in map(dashed, declared(options)) if each in OWN), None)
