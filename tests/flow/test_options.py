import math
from dataclasses import dataclass

import pytest

from tesla_trace.flow import (
    SIZE,
    TEXT,
    FlowHandler,
    UsageError,
    flag,
    installed,
    option,
    optional,
    parse,
    usage,
    whole,
)


class Note(FlowHandler):
    """Write down what passes.

    One line for each call.
    """

    name = "note"

    @dataclass(frozen=True)
    class Options:
        file: str = option(SIZE, help="where to")  # type: ignore[assignment]
        all: bool = flag(help="the bytes, too")
        line_width: int = option(whole(20, 200), "72", help="most letters in a line")


NAMES = ["compress", "crypt", "dummy", "latency", "shape", "socks"]
THERE = {**{name: installed()[name] for name in NAMES}, "note": Note}
RATE_IS = "a rate such as 1MB, 500kB or 10Mbit (in a second), or unlimited"


def read(words):
    return parse(words.split(), THERE)


def test_handlers_come_in_the_order_given_and_may_come_twice():
    named = read("+shape -out=1MB -in=8kbit +latency -delay=20ms +shape +dummy")
    assert [name for name, _ in named] == ["shape", "latency", "shape", "dummy"]
    first, latency, second, _ = (options for _, options in named)
    assert (first.out, first.in_, first.burst) == (1e6, 1000, None)
    assert latency.delay == 0.02
    assert (second.out, second.in_, second.burst) == (math.inf, math.inf, None)


def test_nothing_is_no_handlers():
    assert parse([]) == []


def test_a_value_for_the_handler_is_its_first_option():
    assert read("+socks=10.0.0.9:1080 +latency=1s")[0][1].proxy == ("10.0.0.9", 1080)


def test_flags_and_defaults_and_long_names():
    ((_, note),) = read("+note -file=1 -all -line-width=40")
    assert (note.file, note.all, note.line_width) == (1, True, 40)
    ((_, note),) = read("+note=1kB")
    assert (note.file, note.all, note.line_width) == (1000, False, 72)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "+shap -out=1MB",
            "+shap: no such handler; there are"
            " +compress +crypt +dummy +latency +shape +socks +note",
        ),
        (
            "+shape -ot=1MB",
            "+shape -ot=1MB: no such option; +shape takes -out=RATE -in=RATE -burst=SIZE"
            " -share=flow|process|all",
        ),
        ("+shape +dummy -out=1MB", "+dummy -out=1MB: no such option; +dummy takes no options"),
        ("+dummy=1", "+dummy=1: no such option; +dummy takes no options"),
        ("+shape -out=fast", f"+shape -out=fast: 'fast' is not {RATE_IS}"),
        (
            "+shape -out=0",
            f"+shape -out=0: '0' is not {RATE_IS} (nothing would ever arrive)",
        ),
        ("+shape=1Mb", f"+shape=1Mb: '1Mb' is not {RATE_IS}"),
        ("+shape -out", f"+shape -out: a value is missing; -out=RATE takes {RATE_IS}"),
        ("+shape -out=", f"+shape -out=: '' is not {RATE_IS}"),
        ("+shape -out=1MB -out=2MB", "+shape -out=2MB: -out was given before"),
        ("+latency=1s -delay=2s", "+latency -delay=2s: -delay was given before"),
        ("+note=1 -all=yes", "+note -all=yes: -all takes no value"),
        (
            "+note -all",
            "+note: -file=SIZE is missing; it takes a size such as 1500 or 16KiB",
        ),
        (
            "+compress -level=20",
            "+compress -level=20: '20' is not a whole number from 1 to 19",
        ),
        (
            "+socks=10.0.0.999:1080",
            "+socks=10.0.0.999:1080: '10.0.0.999:1080' is not an address such as proxy:1080,"
            " 192.0.2.1:1080 or [::1]:1080"
            " ('10.0.0.999' does not appear to be an IPv4 or IPv6 address)",
        ),
        (
            "+crypt",
            "+crypt: -key=FILE is missing; it takes"
            ' a key file as made by "tesla_trace --keygen FILE"',
        ),
        ("-out=1MB +shape", "-out=1MB: no +HANDLER before it"),
        ("+dummy telnet", "telnet: neither +HANDLER nor -OPTION"),
    ],
)
def test_what_is_wrong_is_told_exactly(words, told):
    with pytest.raises(UsageError) as error:
        read(words)
    assert str(error.value) == told


class Range(FlowHandler):
    """Two that belong together, and one that may be none."""

    name = "range"

    @dataclass(frozen=True)
    class Options:
        low: int = option(whole(0, 9), "0", help="from")
        high: int = option(whole(0, 9), "9", help="to")
        of_whatever_it_may_be: str | None = optional(TEXT, help="of")
        unit: str = option(TEXT, "", help="in")

        def __post_init__(self):
            if self.low > self.high:
                raise ValueError(f"from {self.low} to {self.high} there is nothing")


def test_what_must_hold_between_options_is_checked_when_they_are_read():
    ((_, options),) = parse(["+range", "-low=3"], {"range": Range})
    assert (options.low, options.high) == (3, 9)
    with pytest.raises(UsageError) as error:
        parse(["+range", "-low=3", "-high=2"], {"range": Range})
    assert str(error.value) == "+range: from 3 to 2 there is nothing"


def test_an_optional_option_is_none_without_a_value():
    ((_, options),) = parse(["+range"], {"range": Range})
    assert options.of_whatever_it_may_be is None and options.unit == ""
    ((_, options),) = parse(["+range", "-of-whatever-it-may-be=x"], {"range": Range})
    assert options.of_whatever_it_may_be == "x"


def test_usage_says_none_where_there_is_no_value_and_keeps_its_columns():
    assert usage(Range).splitlines()[2:] == [
        "  -low=N                       from: a whole number from 0 to 9; default 0",
        "  -high=N                      to: a whole number from 0 to 9; default 9",
        "  -of-whatever-it-may-be=TEXT  of: any text; default none",
        "  -unit=TEXT                   in: any text; default none",
    ]


def test_a_handler_goes_by_the_name_it_was_given():
    """Which may be another than it has itself: `package.module:Class`, an entry point."""
    assert [name for name, _ in parse(["+a:Dummy"], {"a:Dummy": THERE["dummy"]})] == ["a:Dummy"]


def test_usage_is_the_docstring_and_the_help():
    assert usage(Note) == (
        "+note\n"
        "    Write down what passes.\n"
        "\n"
        "    One line for each call.\n"
        "  -file=SIZE        where to: a size such as 1500 or 16KiB; must be given\n"
        "  -all              the bytes, too\n"
        "  -line-width=N     most letters in a line: a whole number from 20 to 200; default 72"
    )


def test_every_handler_has_a_usage_text():
    for name, handler in installed().items():
        first, about, *_ = usage(handler).splitlines()
        assert first == f"+{name}" and about.strip() == (handler.__doc__ or "").splitlines()[0]
        assert handler.__doc__ != FlowHandler.__doc__
