"""The tables in README and docs/, which are made from what they tell of.

`python -m tesla_trace.cli.pages README.md docs/*.md` writes the tables anew, each between its two
markers, `<!-- handlers -->` and `<!-- /handlers -->`, say.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tesla_trace.cli.options import OPTIONS
from tesla_trace.tables import (
    Tables,
    asked_table,
    handlers_table,
    markdown,
    options_table,
    renewed,
    ways_table,
)


def own_table() -> str:
    """Our own options, as --help has them."""
    return markdown(
        ("option", ""), [(f"`{each.shown}`", each.text) for each in OPTIONS if each.text]
    )


PAGES: Mapping[str, Tables] = {
    "README.md": {"own": own_table, "handlers": handlers_table},
    "knowing.md": {"asked": asked_table},
    "sockopts.md": {"options": options_table},
    "ways.md": {"ways": ways_table},
}
"""The tables of each page: what stands between the markers of each name."""


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(renewed(file.read_text(), PAGES.get(file.name, {})))
