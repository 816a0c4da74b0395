"""Groups of rows: what happens to those that cannot be measured, and their places in the README."""

import re

from bench import ratios
from bench.groups import GROUPS, Group
from bench.machine import Missing
from bench.measure import Row
from bench.report import README
from bench.settings import Settings


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


def test_what_is_to_be_said_below_is_said_once(tmp_path):
    def rows(settings):
        for _ in range(2):
            settings.note("socat has a buffer.")
        yield Row("first", "", None, [1.0])

    assert Group(rows, ratios.table, 1, 1).measured(Settings(tmp_path, True)).note == (
        "socat has a buffer."
    )


def test_every_group_has_its_place_in_the_readme():
    places = re.findall(r"^<!-- ([\w-]+) -->$", README.read_text(), flags=re.MULTILINE)
    assert sorted(places) == sorted(GROUPS)


def test_every_group_is_explained_in_the_readme():
    for group in GROUPS:
        assert re.search(rf"^\| {group} \|", README.read_text(), flags=re.MULTILINE), group


def test_the_readme_of_the_benchmark_leads_to_what_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert (README.parent / link).exists(), link


def test_a_quick_run_takes_two_minutes_and_a_whole_one_half_an_hour():
    # Preparations come on top: programs are compiled and started.
    assert sum(group.quick for group in GROUPS.values()) <= 95
    assert sum(group.full for group in GROUPS.values()) <= 1400
