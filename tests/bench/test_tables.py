"""What was measured, as tables and files."""

import csv

import pytest

from bench import ratios
from bench.machine import Missing
from bench.measure import Row, at_least
from bench.report import Table, quantity


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1.234e9, "B/s", "1.23 GB/s"),
        (999, "B/s", "999 B/s"),
        (999.7e6, "B/s", "1 GB/s"),
        (12345, "/s", "12.3 k/s"),
        (0.21434, "s", "0.2143 s"),
        (3, "", "3"),
    ],
)
def test_quantities(value, unit, shown):
    assert quantity(value, unit) == shown


# ---- rows ----


def test_a_row_shows_medians_and_between_what_its_ratios_lie():
    row = Row("bulk", "socat", at_least(0.9), [1.0, 2.0, 6.0], [2.0, 2.0, 3.0], "/s", note="quiet")
    assert ratios.cells(row) == (
        *("bulk (quiet)", "socat", "2 /s", "2 /s", "1", "0.5 - 2", "≥ 0.9", "met"),
    )


def test_a_row_that_is_left_out_says_why_and_what_it_should_have_reached():
    row = Row("bulk", "socat", at_least(0.9), missing="socat is not there")
    assert ratios.cells(row)[-2:] == ("≥ 0.9", "left out: socat is not there")
    assert ratios.table([row]).records == [("bulk", "socat", "", 0, "", "", "socat is not there")]


def test_what_must_be_reached_is_shown_again():
    rows = [Row("a", "", at_least(1), [1.0]), Row("b", "", None, [1.0])]
    assert [cells[0] for cells in ratios.table(rows).goals] == ["a"]


# ---- files ----


def test_table_and_rounds_are_written_down(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(
        "# T\n<!-- calls -->\nold\n<!-- /calls -->\n<!-- start -->\n<!-- /start -->\n"
    )
    table = Table(("a",), [("5|4",)], ("side", "value"), [("x", 1), ("x", 2)])
    assert not table.write("calls", "a machine", readme, tmp_path / "results")
    assert readme.read_text() == (
        "# T\n<!-- calls -->\na machine\n\n| a |\n| --- |\n| 5\\|4 |\n<!-- /calls -->\n"
        "<!-- start -->\n<!-- /start -->\n"
    )
    with (tmp_path / "results" / "calls.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["machine", "side", "value"],
            ["a machine", "x", "1"],
            ["a machine", "x", "2"],
        ]


@pytest.mark.parametrize("there", [True, False])
def test_a_picture_is_shown_where_it_could_be_drawn(tmp_path, there):
    def draw(file, machine):
        if not there:
            raise Missing("matplotlib is not there")
        file.write_text(machine)

    readme = tmp_path / "README.md"
    readme.write_text("<!-- f -->\n<!-- /f -->\n")
    table = Table(("a",), [("b",)], (), [], draw)
    wrong = table.write("f", "a machine", readme, tmp_path / "results")
    assert wrong == ("" if there else "f: no picture: matplotlib is not there")
    assert ("![f](results/f.png)" in readme.read_text()) == there
