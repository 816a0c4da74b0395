"""What was measured, for people and for programs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import HERE, Missing
from tesla_trace.tables import markdown, renewed, show

README = HERE / "README.md"
RESULTS = HERE / "results"


@dataclass
class Table:
    """What a group of rows has to show.

    Args:
        columns, records: every round, for programs.
        draw: makes a picture of it (PNG), and says the machine's name in it.
        note: what else there is to say.
        goals: the rows that must reach something, with what came of it.
    """

    titles: Sequence[str]
    cells: Sequence[Sequence[str]]
    columns: Sequence[str]
    records: Sequence[Sequence[object]]
    draw: Callable[[Path, str], None] | None = None
    note: str = ""
    goals: Sequence[Sequence[str]] = ()

    def print(self) -> None:
        """For whoever has waited."""
        show(self.titles, self.cells)
        if self.note:
            print(self.note)

    def write(self, name: str, machine: str, readme: Path = README, results: Path = RESULTS) -> str:
        """Keep every round in a file of that name, and the table in the README.

        Returns: why there is no picture of it, where there ought to be one.
        """
        results.mkdir(exist_ok=True)
        with (results / f"{name}.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(("machine", *self.columns))
            out.writerows((machine, *record) for record in self.records)
        text = f"{machine}\n\n{markdown(self.titles, self.cells)}"
        if self.note:
            text += f"\n{self.note}\n"
        wrong = ""
        if self.draw is not None:
            picture = results / f"{name}.png"
            try:
                self.draw(picture, machine)
                text += f"\n![{name}]({picture.relative_to(readme.parent)})\n"
            except Missing as missing:
                wrong = f"{name}: no picture: {missing}"
        readme.write_text(renewed(readme.read_text(), {name: lambda: text}))
        return wrong


def quantity(value: float, unit: str) -> str:
    """A value in three digits, with its unit."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if unit in ("B/s", "/s") and float(f"{value:.3g}") >= factor:
            return f"{value / factor:.3g} {letter}{unit}"
    return f"{value:.4g} {unit}".strip()
