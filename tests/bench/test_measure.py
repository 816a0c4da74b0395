"""Sides in turns, and what is made of their figures."""

import pytest

from bench.measure import FEWEST, Row, Worker, at_least, at_most, rounds


class Clock:
    """Goes on only when told to."""

    def __init__(self):
        self.now = 0.0

    def side(self, seconds, value=1.0):
        """One that takes so long, and gives that value."""

        def measure():
            self.now += seconds
            return value

        return measure

    def __call__(self):
        return self.now


def test_sides_take_turns_and_each_is_first_as_often():
    said = []
    rounds(dict.fromkeys("abc", lambda: 1.0), 3, said=lambda *words: said.append(words))
    assert [side for _, _, side in said] == list("abcbcacababc")
    assert [turn for turn, _, _ in said[::3]] == [0, 1, 2, 3]


def test_the_first_round_does_not_count():
    values = iter(range(10))
    assert rounds({"a": lambda: float(next(values))}, 3) == {"a": [1, 2, 3]}


def test_there_may_be_nobody():
    assert rounds({}, 3) == {}


@pytest.mark.parametrize(
    ("seconds", "made"),
    [(100.0, 20), (21.0, 20), (20.9, 19), (10.0, 9), (1.0, FEWEST)],
)
def test_no_round_is_begun_that_ends_too_late(seconds, made):
    clock = Clock()
    figures = rounds({"a": clock.side(0.6), "b": clock.side(0.4)}, 20, seconds, clock=clock)
    assert [len(values) for values in figures.values()] == [made, made]


def test_ratios_are_of_the_same_round():
    # A slow round hits both: the medians' ratio would be 2 / 4.
    row = Row("", "", at_least(1), [1.0, 2.0, 9.0], [1.0, 4.0, 9.0])
    assert row.ratios() == [1, 0.5, 1]
    assert row.reached() == 1
    assert row.verdict() == "met"


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (at_least(0.85), 0.85, "met"),
        (at_least(0.85), 0.849, "MISSED"),
        (at_least(0.85), 0.8496, "met"),
        (at_most(1.03), 1.03, "met"),
        (at_most(1.03), 1.04, "MISSED"),
        (None, 1.0, ""),
    ],
)
def test_verdicts(goal, value, verdict):
    assert Row("", "", goal, [value]).verdict() == verdict


def test_a_row_of_nothing_says_why():
    assert Row("", "", at_least(1), missing="socat is not there").verdict() == "socat is not there"


def test_a_worker_answers_each_line():
    with Worker(["sh", "-c", "while read a b; do echo $b $a; done"]) as worker:
        assert worker.ask("1 2") == [2, 1]
        assert worker.asked("3 4")() == 4


def test_a_worker_that_ends_is_an_error():
    with Worker(["sh", "-c", "read a; exit 3"]) as worker:
        with pytest.raises(RuntimeError, match="ended with status 3"):
            worker.ask("go")


def test_a_worker_that_hangs_is_ended():
    with Worker(["sleep", "100"], patience=0.05) as worker:
        with pytest.raises(RuntimeError, match="sleep 100: no answer to go"):
            worker.ask("go")
