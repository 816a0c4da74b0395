"""Conditions on flows: what is true of which."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.flow.condition import fits
from tesla_trace.flow.condition_text import read
from tesla_trace.flow.facts import Facts

WEB = Facts("out", "tcp", "ipv4", "192.0.2.1", 443, "curl")
NAMED = WEB._replace(host="db.example.org")
SERVED = Facts("in", "tcp", "ipv6", "2001:db8::1", 80, "nginx")
UNKNOWN = Facts("in", "tcp", None, None, None, None)


@pytest.mark.parametrize(
    ("text", "web", "named", "served", "unknown"),
    [
        ("port 443", True, True, False, None),
        ("port 80,400-500", True, True, True, None),
        ("net 192.0.2.0/24", True, None, False, None),
        ("net 192.0.2.0/24,2001:db8::/32", True, None, True, None),
        ("net 0.0.0.0/0 or net ::/0", True, None, True, None),
        ("host 192.0.2.1", True, None, False, None),
        ("host 2001:DB8:0::1", False, None, True, None),
        ("host db.example.org", False, True, False, None),
        ("host *.Example.org.", False, True, False, None),
        ("host *", False, True, False, None),
        ("host db*org", False, True, False, None),
        ("host example.org", False, False, False, None),
        ("program curl", True, True, False, None),
        ("program cu*,wget", True, True, False, None),
        ("program CURL", False, False, False, None),
        ("in", False, False, True, True),
        ("out", True, True, False, False),
        ("udp", False, False, False, False),
        ("ipv6", False, False, True, None),
        ("not port 443", False, False, True, None),
        ("not not port 443", True, True, False, None),
        ("not net 10.0.0.0/8", True, None, True, None),
        ("tcp and port 443", True, True, False, None),
        ("udp and port 443", False, False, False, False),
        ("tcp or port 443", True, True, True, True),
        ("out or port 443 and udp", True, True, False, False),
        ("(out or port 443) and udp", False, False, False, False),
        ("not (in or udp)", True, True, False, False),
        ("not in or udp", True, True, False, False),
        ("net 10.0.0.0/8 or port 443", True, True, False, None),
        ("net 10.0.0.0/8 and port 80", False, False, False, None),
    ],
)
def test_what_is_true_of_which_flow(text, web, named, served, unknown):
    condition = read(text)
    found = [condition.judge(facts) for facts in (WEB, NAMED, SERVED, UNKNOWN)]
    assert found == [web, named, served, unknown]


def test_many_beside_each_other_are_not_within_each_other():
    assert read(" and ".join(["(not port 80)"] * 1000)).judge(WEB)


def test_a_mapped_number_is_one_of_ipv4():
    assert read("net 192.0.2.0/24").judge(WEB._replace(host="::ffff:192.0.2.1"))
    assert read("host ::ffff:192.0.2.1").judge(WEB)


ports = st.integers(1, 0xFFFF)


@given(ports, ports, ports)
def test_ports(one, other, port):
    low, high = sorted((one, other))
    assert read(f"port {low}-{high}").judge(WEB._replace(port=port)) is (low <= port <= high)


@given(st.ip_addresses(), st.integers(0, 128), st.ip_addresses())
def test_networks(number, length, host):
    net = ipaddress.ip_network((number, min(length, number.max_prefixlen)), strict=False)
    truth = read(f"net {net}").judge(WEB._replace(host=str(host)))
    mapped = getattr(host, "ipv4_mapped", None) or host
    assert truth is (mapped.version == net.version and mapped in net)


numbers = st.sampled_from("10.0.0.1 10.1.0.1 192.0.2.1 2001:db8::1".split())
hosts = st.one_of(numbers, st.sampled_from("a.test b.a.test c.org".split()))
tests = st.sampled_from(
    "port 1|port 1-9|port 5-20|net 10.0.0.0/8|net 10.1.0.0/16|net 2001:db8::/32|host *.test"
    "|host a.test|host *a*|program a|program a*|in|out|tcp|udp|ipv4|ipv6".split("|")
)
conditions = st.recursive(
    tests,
    lambda part: st.one_of(
        part.map("not ({})".format),
        st.tuples(part, part).map("({0[0]}) and ({0[1]})".format),
        st.tuples(part, part).map("({0[0]}) or ({0[1]})".format),
    ),
    max_leaves=8,
)
flows = st.builds(
    lambda direction, type, host, port, program: Facts(
        direction, type, "ipv6" if ":" in host else "ipv4", host, port, program
    ),
    st.sampled_from(["out", "in"]),
    st.sampled_from(["tcp", "udp"]),
    hosts,
    st.integers(1, 21),
    st.sampled_from(["a", "ab", "b"]),
)


@given(conditions, flows, st.sets(st.sampled_from(Facts._fields[2:])))
def test_what_is_true_of_little_knowledge_is_true_of_more(text, flow, hidden):
    condition = read(text)
    truth = condition.judge(flow._replace(**dict.fromkeys(hidden)))
    assert truth is None or truth is condition.judge(flow)


@pytest.mark.parametrize(
    ("condition", "host", "truth"),
    [
        ("net 127.0.0.0/8", "0.0.0.0", True),
        ("not net 127.0.0.0/8", "0.0.0.0", False),
        ("host ::1", "::", True),
        ("net ::ffff:127.0.0.0/104", "::ffff:127.0.0.1", True),
        ("net ::ffff:127.0.0.0/104", "127.0.0.1", True),
        ("net ::ffff:127.0.0.0/104", "192.0.2.1", False),
    ],
)
def test_what_linux_takes_for_what(condition, host, truth):
    """0.0.0.0 and :: are this machine, a mapped number is one of IPv4."""
    facts = Facts("out", "tcp", None, host, 80, None)
    assert read(condition).judge(facts) is truth


def test_a_form_of_many_parts_is_no_work():
    assert not fits("a" * 243, "*a*a*a*a*a*a*a*a*a*b")
    assert fits("aXbYc", "a*b*c") and not fits("ab", "ab*b") and fits("", "*")
