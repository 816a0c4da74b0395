"""Curves: the best of several, tables and pictures."""

import importlib.util
import math

import pytest

from bench import pictures, rungs
from bench.curves import Curve
from bench.ends import BLOCK
from bench.labels import apart
from bench.machine import Missing
from bench.measure import at_least
from bench.plots import Figure
from bench.rungs import CONTESTS, Contest
from bench.sides import HANDED_BACK, HANDLED, NATIVE, SIDES, UNIX_PROXIES

SOCAT, HAPROXY = UNIX_PROXIES


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
