"""How two sides' outcomes are judged, and where the judgement stands."""

from conformance import compare, known, report, run, suites
from tesla_trace.tables import renewed


def outcomes(**what):
    return {test: run.Outcome(each) for test, each in what.items()}


def test_what_differs_is_told_from_what_is_flaky_or_known(monkeypatch):
    monkeypatch.setitem(known.KNOWN, "kno*n", "the kernel is so")
    native = outcomes(
        same="ok", flaky="ok", differs="ok", gone="ok", known="ok", once="ok", all="ok"
    )
    ours = outcomes(
        same="ok", flaky="FAIL", differs="FAIL", known="FAIL", new="ok", once="FAIL", all="FAIL"
    )
    runs = []
    turns = iter("FAIL ok FAIL ok ok ok FAIL ok ok ok".split())

    def alone(test, under_us):
        if test == "flaky":
            return run.Outcome(next(turns))
        with_the_rest = test in ("once", "all")
        return (ours if under_us and not with_the_rest else native).get(test, compare.NOT_RUN)

    def whole():
        runs.append(None)
        return ours | outcomes(once="ok")

    compared = compare.compare("suite", native, ours, alone, whole)
    assert len(runs) == 1
    assert (compared.tests, compared.same, compared.explained, compared.unexplained) == (8, 1, 3, 4)
    verdicts = {each.test: each.verdict for each in compared.differences}
    assert verdicts["once"] == "once only: the same alone, and when all were run again"
    assert verdicts["all"] == "the same when run alone, 5 of 5"
    assert verdicts["known"] == "the kernel is so"
    assert verdicts["flaky"] == "flaky natively too: FAIL, ok"
    assert verdicts["differs"] == verdicts["gone"] == "differs 5 of 5 when run alone"


def test_what_is_left_out_is_left_out_of_a_selection_too():
    """regrtest takes the first of all patterns for what it does with what none of them matches."""
    words = suites.Suite("test_x", ("*One*", "*Two*")).words()
    assert words.index("-m") < words.index("-i")


def test_the_limits_list_the_differences_that_are_known():
    text = report.LIMITS.read_text()
    current = renewed(text, {"explained": report.explained_table})
    assert current == text, "python -m conformance --write makes it so"


def test_parts_of_a_package_are_one_row():
    found = [compare.Compared("test.test_a.test_b", 3), compare.Compared("test.test_a.test_c", 4)]
    assert list(report.rows([*found, compare.Compared("test_d", 5)])) == [
        ("test_a", "7", "7", "0", "0"),
        ("test_d", "5", "5", "0", "0"),
        ("all", "12", "12", "0", "0"),
    ]
