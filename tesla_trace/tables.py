"""What there is, as tables: on the terminal, and in pages, between markers."""

from __future__ import annotations

import errno
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence

from tesla_trace.flow import FlowHandler, installed, usage
from tesla_trace.flow.installed import ours
from tesla_trace.flow.options import asked

Rows = Sequence[Sequence[str]]

PLAIN_WIDTH = 100
"""Columns of a table that no terminal limits."""


def handlers() -> None:
    """Print the handlers there are."""
    rows = []
    for name in installed():
        try:
            rows.append(_row(installed()[name]))
        except KeyError as wrong:  # somebody else's, and broken
            rows.append((f"+{name}", f"cannot be used: {wrong.args[0]}", ""))
    show(("handler", "what it does", "options"), rows)


# ---- on the terminal ----


def show(titles: Sequence[str], rows: Rows) -> None:
    """Print a table: as wide as the terminal is, or plain where there is none."""
    if not sys.stdout.isatty():
        print("\n".join(plain(titles, rows)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, show_lines=any("\n" in cell for row in rows for cell in row))
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def plain(titles: Sequence[str], rows: Rows) -> Iterator[str]:
    """The lines of a table in plain text, its last column wrapped."""
    *widths, _ = (max(len(row[at]) for row in [titles, *rows]) for at in range(len(titles)))
    indent = sum(widths) + 2 * len(widths)
    for row in [titles, *rows]:
        start = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        last = textwrap.wrap(row[-1], max(PLAIN_WIDTH - indent, 30), break_on_hyphens=False)
        yield (start + ("\n" + " " * indent).join(last)).rstrip()


# ---- in pages ----


def markdown(titles: Sequence[str], rows: Rows) -> str:
    """A table as GitHub reads it."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join("| " + " | ".join(map(_escaped, line)) + " |\n" for line in lines)


def handlers_table() -> str:
    """The handlers of ours, whatever else is installed here."""
    rows = []
    for name, does, options in (_row(installed()[name]) for name in ours()):
        rows.append((f"`{name}`", does, " ".join(f"`{each}`" for each in options.split())))
    return markdown(("handler", "what it does", "options"), rows)


def options_table() -> str:
    """Whose each socket option is that is not simply the kernel's socket's."""
    from tesla_trace.syscalls.options.sockopt import OPTIONS, OTHER

    rows = [(f"`{each.name}`", each.whose.value, each.note) for each in OPTIONS.values()]
    rows.append(("every other", OTHER.whose.value, OTHER.note))
    return markdown(("option", "kept by", "because"), rows)


def ways_table() -> str:
    """Every way past the trap, and what becomes of it."""
    from tesla_trace.syscalls.escapes.ways import WAYS, Outcome

    rows = []
    for way in WAYS.values():
        becomes, refused = way.outcome.value, f"`{errno.errorcode.get(way.errno)}`"
        if way.outcome is Outcome.REFUSED:
            becomes += f" ({refused})"
        closed = refused if way.outcome is Outcome.COUNTED else "the same"
        rows.append((way.what, becomes, closed, way.note, f"`{way.test}`"))
    titles = ("way", "what becomes of it", "where nothing may pass", "", "shown by")
    return markdown(titles, rows)


def asked_table() -> str:
    """What programs that know of our handlers may ask them, and are told."""
    rows = [(f"`{name}`", *line) for name in ours() for line in asked(installed()[name])]
    return markdown(("handler", "", "the answer, or what is told"), rows)


Tables = Mapping[str, Callable[[], str]]


def renewed(text: str, tables: Tables) -> str:
    """The text with every table in it as it is now.

    A table's place is between `<!-- handlers -->` and `<!-- /handlers -->`, say.

    Raises:
        ValueError: a table has no place in it.
    """
    for name, table in tables.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not end:
            raise ValueError(f"there is no place marked <!-- {name} --> ... <!-- /{name} -->")
        text = before + start + table() + end + after
    return text


def _row(handler: type[FlowHandler]) -> tuple[str, str, str]:
    """Its name, the first sentence about it, and its options: a line of its usage is for each."""
    about = " ".join((inspect.getdoc(handler) or "").split())
    first = re.match(r".*?\.(?= |$)", about)
    lines = usage(handler).splitlines()
    options = (line.split()[0] for line in lines if line.startswith("  -"))
    return f"+{handler.name}", first[0] if first else about, " ".join(options)


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")
