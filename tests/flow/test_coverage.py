"""Which conditions are never true, and which of two is true wherever the other is."""

import pytest
from hypothesis import given

from tesla_trace.flow.condition import Not
from tesla_trace.flow.condition_text import read
from tesla_trace.flow.coverage import MOST, Earlier, boxes, covers, never
from tests.flow.test_condition import conditions, flows


@pytest.mark.parametrize(
    "text",
    [
        "port 1 and port 2",
        "port 1-5 and not port 1-9",
        "tcp and udp",
        "in and not in",
        "net 10.0.0.0/8 and net 192.0.2.0/24",
        "net 10.0.0.0/8 and net ::/0",
        "net 10.1.0.0/16 and not net 10.0.0.0/8",
        "net 10.0.0.0/8 and ipv6",
        "host a.test and net 10.0.0.0/8",
        "host a.test and host b.test",
        "host *.org and host *.test",
        "host *.org and host a.test",
        "host a.b.test and not host *.test",
        "program a and program b*",
        "(port 1 or port 2) and port 3-4",
        "not (port 1 or not port 1)",
    ],
)
def test_what_contradicts_itself(text):
    assert never(read(text)) and not never(Not(read(text)))


@pytest.mark.parametrize(
    "text",
    [
        "port 1-5 and port 5-9",
        "host a* and host *b",
        "host *.a.test and not host b.*.test",
        "net 10.0.0.0/8 and not net 10.1.0.0/16",
        "host a.test or net 10.0.0.0/8",
        "program a* and not program a",
    ],
)
def test_what_does_not(text):
    assert not never(read(text))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("port 1-9", "port 2-3"),
        ("port 1-9", "port 9 and tcp"),
        ("net 10.0.0.0/8", "net 10.0.0.0/8"),
        ("net 10.0.0.0/8", "net 10.1.0.0/16 or host 10.0.0.1"),
        ("host *.test", "host *.a.test"),
        ("host *.test", "host a.test,b.test"),
        ("not port 1-9", "port 10"),
        ("not port 2", "not port 1-9"),
        ("ipv4", "net 10.0.0.0/8"),
        ("not ipv6", "net 10.0.0.0/8"),
        ("out or in", "port 1 and out or port 2 and in"),
        ("not host *.test", "net 10.0.0.0/8"),
        ("program a*", "program abc"),
    ],
)
def test_what_covers_what(wide, narrow):
    one, other = boxes(read(wide)), boxes(read(narrow))
    assert covers(one, other)
    earlier = Earlier()
    earlier.add("wide", one)
    assert "wide" in earlier.covering(other)
    assert one == other or not covers(other, one)


@given(conditions, conditions, flows)
def test_what_is_said_holds_for_every_flow(one, other, flow):
    wide, narrow = read(one), read(other)
    if narrow.judge(flow):
        assert not never(narrow)
        if covers(boxes(wide), boxes(narrow)):
            assert wide.judge(flow)


@given(conditions, conditions)
def test_what_is_filed_is_found(one, other):
    wide, narrow = boxes(read(one)), boxes(read(other))
    earlier = Earlier()
    earlier.add(1, wide)
    assert bool(list(earlier.covering(narrow))) is bool(narrow and covers(wide, narrow))


def test_a_condition_of_too_many_alternatives_is_left_alone():
    text = " and ".join(f"(port {each} or udp)" for each in range(1, MOST))
    assert boxes(read(text)) is None
    assert not never(read(text)) and not covers(boxes(read(text)), boxes(read("udp")))


def test_what_is_not_known_of_a_name_covers_nothing():
    wide, narrow = (boxes(read(text)) for text in ("not net 10.0.0.0/8", "host db.test"))
    assert not covers(wide, narrow)
    assert covers(wide, boxes(read("net 192.0.2.0/24")))
