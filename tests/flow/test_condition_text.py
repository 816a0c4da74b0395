"""Conditions as they are written: what is read, and where and why it is wrong."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.flow.condition import (
    WORDS,
    All,
    Is,
    Name,
    Net,
    Not,
    Port,
    Program,
    Some,
    names_in,
)
from tesla_trace.flow.condition_text import VALUED, Mistaken, read


def test_what_is_read():
    assert read("tcp and not (port 1-2 or host *.a,10.0.0.1)") == All(
        (
            Is("type", "tcp"),
            Not(
                Some(
                    (
                        Port(1, 2),
                        Some((Name("*.a"), Net(ipaddress.ip_network("10.0.0.1/32")))),
                    )
                )
            ),
        )
    )
    assert read("((program x))") == Program("x")
    assert list(names_in(read("not (host a,10.0.0.1) and port 1 or host *.b"))) == ["a", "*.b"]


@pytest.mark.parametrize(
    ("text", "column", "why"),
    [
        ("", 1, "a test such as `port 443` is missing"),
        ("   ", 4, "is missing"),
        ("prot 443", 1, "'prot' is no test; there are port net host program out"),
        ("port", 5, "the value of port is missing"),
        ("port and tcp", 6, "the value of port is missing"),
        ("port 0", 6, "'0' is not a port"),
        ("port 65536", 6, "not a port"),
        ("port http", 6, "'http' is not a port"),
        ("port 80,x,90", 9, "'x' is not a port"),
        ("port 90-80", 6, "ends before it begins"),
        ("port 80 443", 9, "`and` or `or` is missing before '443'"),
        ("tcp port 80", 5, "`and` or `or` is missing before 'port'"),
        ("net 10.0.0.0", None, ""),
        ("net 10.0.0.1/8", 5, "has bits outside of its mask: 10.0.0.0/8 is meant?"),
        ("net 10.0.0.0/33", 5, "'10.0.0.0/33' is not a network"),
        ("net example.org", 5, "is not a network"),
        ("host 10.0.0.256", 6, "is not a host"),
        ("host a_b!", 6, "is not a host"),
        ("host a,,b", 8, "'' is not a host"),
        ("program a-very-long-name", 9, "longer than the 15 letters"),
        ("program ,", 9, "'' is not a process's name such as curl or wget*"),
        ("program curl,,wget", 14, "'' is not a process's name"),
        ("port 80,", 9, "'' is not a port"),
        ("net ,", 5, "'' is not a network"),
        ("tcp and", 8, "is missing"),
        ("tcp and (port 1", 9, "the ( is not closed"),
        ("tcp )", 5, "this ) closes nothing"),
        ("not", 4, "is missing"),
        ("(" * 51 + "tcp" + ")" * 51, 51, "more than 50 within each other"),
        ("not " * 5000 + "tcp", 201, "more than 50"),
        ("tcp or or udp", 8, "'or' is no test"),
    ],
)
def test_where_and_why_it_is_wrong(text, column, why):
    if column is None:
        read(text)
        return
    with pytest.raises(Mistaken) as wrong:
        read(text)
    assert wrong.value.at + 1 == column and why in str(wrong.value)


@given(st.text(" ()abnrt,", max_size=20) | st.lists(st.sampled_from([*VALUED, *WORDS])))
def test_whatever_is_typed_is_read_or_refused(text):
    text = text if isinstance(text, str) else " ".join(text)
    try:
        read(text)
    except Mistaken as wrong:
        assert 0 <= wrong.at <= len(text) and str(wrong)
