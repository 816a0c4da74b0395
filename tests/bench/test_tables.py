"""What was measured, as tables and files."""

import csv
import importlib.util
import math
import re

import pytest

from bench import pictures, ratios, rungs
from bench.curves import Curve
from bench.groups import GROUPS, Group
from bench.labels import apart
from bench.machine import Missing
from bench.measure import Row, at_least
from bench.plots import Figure
from bench.report import README, Table, quantity
from bench.rungs import CONTESTS, Contest
from bench.settings import Settings
from bench.sides import BLOCK, HANDED_BACK, HANDLED, NATIVE, SIDES, UNIX_PROXIES

SOCAT, HAPROXY = UNIX_PROXIES


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1.234e9, "B/s", "1.23 GB/s"),
        (999, "B/s", "999 B/s"),
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


# ---- the best of several ----

AGAINST = Contest("bulk", "send", "B/s", [(HANDLED, UNIX_PROXIES, at_least(0.85))], 1)


def curve(side, *values, missing=""):
    return Curve(side, {} if missing else {BLOCK: list(values)}, missing)


def compared(*curves):
    (row,) = rungs.compared(AGAINST, {curve.side: curve for curve in curves})
    return row


def test_the_best_by_its_median_counts():
    row = compared(curve(HANDLED, 1, 1, 1), curve(SOCAT, 2, 2, 2), curve(HAPROXY, 1, 1, 9))
    assert (row.versus, row.reached()) == ("UNIX proxy: socat, best of 2", 0.5)
    assert not row.note


def test_where_one_is_missing_the_row_says_so():
    row = compared(curve(HANDLED, 1), curve(SOCAT, missing="no socat"), curve(HAPROXY, 1))
    assert (row.versus, row.note) == ("UNIX proxy: haproxy, best of 2", "without: no socat")
    assert row.verdict() == "met"


def test_where_all_are_missing_or_we_are_there_is_no_row():
    gone = [curve(side, missing=f"no {side.name[12:]}") for side in UNIX_PROXIES]
    assert compared(curve(HANDLED, 1), *gone).missing == "no socat; no haproxy"
    others = curve(SOCAT, 1), curve(HAPROXY, 1)
    assert compared(curve(HANDLED, missing="it hangs"), *others).missing == "it hangs"


def test_each_contest_has_each_side_once_and_gives_out_all_its_time():
    for contest in CONTESTS:
        assert len(contest.sides()) == len(set(contest.sides()))
    assert math.isclose(sum(contest.part for contest in CONTESTS), 1)


# ---- figures ----

CURVES = [
    Curve(NATIVE, {1: [1e3, 1e3, 1e3], 4096: [1e6, 2e6, 3e6]}),
    Curve(SOCAT, missing="socat is not there"),
    Curve(HANDED_BACK, {1: [1e3, 2e3, 3e3], 4096: [4e6, 4e6, 4e6]}),
]


def test_a_figure_has_a_line_for_each_side_and_a_column_for_each_size():
    table = Figure("", "B/s", pictures.lines).table(CURVES)
    assert table.titles == ("", "side", "1 B", "4 KiB")
    assert table.cells == [
        ("plain", "native", "1 kB/s ± 0%", "2 MB/s ± 25%"),
        ("plain", "UNIX proxy: socat", "left out: socat is not there", ""),
        ("plain", "tesla_trace, handed back", "2 kB/s ± 25%", "4 MB/s ± 0%"),
    ]


def test_every_round_is_a_record():
    records = Figure("", "B/s", pictures.lines).table(CURVES).records
    assert records[0] == ("native", False, 1, "B/s", 0, 1e3, "")
    assert ("UNIX proxy: socat", False, "", "B/s", "", "", "socat is not there") in records
    assert len(records) == 6 + 1 + 6


def test_a_figure_without_anybody_says_of_each_why():
    table = Figure("", "B/s", pictures.lines).table([Curve(SOCAT, missing="no socat")])
    assert table.cells == [("plain", "UNIX proxy: socat", "left out: no socat")]


def test_pictures_are_drawn_of_what_is_there(tmp_path):
    for draw, curves in (
        (pictures.lines, CURVES),
        (pictures.lines, CURVES[1:]),
        (pictures.bars, [Curve(side, {1: [1e3, 2e3]}) for side in SIDES]),
    ):
        file = tmp_path / "figure.png"
        if importlib.util.find_spec("matplotlib") is None:
            with pytest.raises(Missing, match="matplotlib is not there"):
                draw("Title", "B/s", curves, file, "a machine")
        else:
            draw("Title", "B/s", curves, file, "a machine")
            assert file.read_bytes().startswith(b"\x89PNG")
            file.unlink()


def test_every_side_has_a_look_of_its_own():
    assert {side.name for side in SIDES} == set(pictures.LOOKS)
    for encrypted in (False, True):
        looks = [pictures.LOOKS[side.name] for side in SIDES if side.encrypted == encrypted]
        assert len({look[1:] for look in looks}) == len(looks)


@pytest.mark.parametrize(
    ("places", "moved"),
    [
        ([], []),
        ([0.1, 0.5], [0.1, 0.5]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.4, 0.5, 0.5], [0.367, 0.467, 0.567]),
        ([1.0, 1.0], [0.9, 1.0]),
        ([0.0, 0.0, 0.21], [0.0, 0.1, 0.21]),
    ],
)
def test_labels_are_moved_apart(places, moved):
    assert apart(places, 0.1) == pytest.approx(moved, abs=0.001)


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


# ---- groups ----


def test_what_was_measured_before_a_failure_is_kept(tmp_path):
    def rows(settings):
        yield Row("first", "", None, [1.0])
        raise RuntimeError("it ended")

    settings = Settings(tmp_path, True)
    table = Group(rows, ratios.table, 1, 1).measured(settings)
    assert [cells[0] for cells in table.cells] == ["first"]
    assert settings.broken == ["not measured to its end: it ended"]


def test_a_group_that_lacks_something_is_left_out_and_no_failure(tmp_path):
    def rows(settings):
        raise Missing("cc is not there")
        yield

    settings = Settings(tmp_path, True)
    table = Group(rows, ratios.table, 1, 1).measured(settings)
    assert (table.titles, table.cells) == (("left out",), [("cc is not there",)])
    assert not settings.broken


def test_what_is_left_out_in_the_middle_is_said_below(tmp_path, capsys):
    def rows(settings):
        yield Row("first", "", None, [1.0])
        raise Missing("strace is not there")

    settings = Settings(tmp_path, True)
    table = Group(rows, ratios.table, 1, 1).measured(settings)
    table.print()
    assert capsys.readouterr().out.endswith("\nThe rest is left out: strace is not there.\n")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- f -->\n<!-- /f -->\n")
    table.write("f", "a machine", readme, tmp_path / "results")
    assert "\n\nThe rest is left out: strace is not there.\n<!-- /f -->" in readme.read_text()
    assert not settings.broken


def test_every_group_has_its_place_in_the_readme():
    places = re.findall(r"^<!-- ([\w-]+) -->$", README.read_text(), flags=re.MULTILINE)
    assert sorted(places) == sorted(GROUPS)


def test_every_group_is_explained_in_the_readme():
    for group in GROUPS:
        assert re.search(rf"^\| {group} \|", README.read_text(), flags=re.MULTILINE), group


def test_the_readme_of_the_benchmark_leads_to_what_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert (README.parent / link).exists(), link


def test_a_quick_run_takes_two_minutes_and_a_whole_one_twenty():
    # Preparations come on top: programs are compiled and started.
    assert sum(group.quick for group in GROUPS.values()) <= 95
    assert sum(group.full for group in GROUPS.values()) <= 1080
