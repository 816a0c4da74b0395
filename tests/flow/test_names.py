"""Addresses that stand for names."""

import hashlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.flow.names import IPV4, IPV6, MOST, SLOTS, Names, invented

NAME = st.from_regex(r"[a-z0-9]{1,20}(\.[a-z]{1,10}){0,3}", fullmatch=True)


def test_a_name_and_its_addresses_lead_to_each_other():
    names = Names()
    given = names.invent("example.org")
    assert given.ipv4 in IPV4 and given.ipv6 in IPV6
    assert names.name(str(given.ipv4)) == names.name(str(given.ipv6)) == "example.org"
    assert names.name(f"::ffff:{given.ipv4}") == "example.org"
    assert names.name(f"{given.ipv6}%eth0") == "example.org"


@pytest.mark.parametrize("other", ["EXAMPLE.org", "example.org.", "Example.Org."])
def test_a_name_is_the_same_however_it_is_written(other):
    names = Names()
    assert names.invent("example.org") == names.invent(other)


@given(st.lists(NAME, unique=True, max_size=50))
def test_no_two_names_share_an_address(asked):
    names = Names()
    given = [names.invent(name) for name in asked]
    assert [each.name for each in given] == asked == [names.name(str(e.ipv4)) for e in given]
    assert len({e.ipv4 for e in given}) == len({e.ipv6 for e in given}) == len(asked)
    assert given == [names.invent(name) for name in asked]


def test_the_same_name_has_the_same_address_in_another_run():
    asked = [f"host{number}.example.org" for number in range(100)]
    one, other = Names(), Names()
    given = [one.invent(name) for name in asked]
    assert given == list(reversed([other.invent(name) for name in reversed(asked)]))


def test_names_whose_address_is_taken_get_another():
    names = Names(most=MOST)
    slots = {}
    for number in range(5000):
        each = names.invent(f"host{number}")
        assert slots.setdefault(each.ipv4, each.name) == each.name
    alone = [Names().invent(f"host{number}") for number in range(5000)]
    moved = [e for e in alone if names.invent(e.name) != e]
    assert moved, "5000 of 130048 without a collision"


def test_when_there_is_no_more_room_the_least_used_is_forgotten():
    names = Names(most=3)
    first, second, third = map(names.invent, ["one", "two", "three"])
    names.invent("one")
    names.name(str(second.ipv6))
    names.invent("four")
    assert names.name(str(third.ipv4)) is names.name(str(third.ipv6)) is None
    assert names.name(str(first.ipv4)) == "one" and names.name(str(second.ipv4)) == "two"
    names.invent("five")
    assert names.name(str(first.ipv4)) == "one"
    assert names.invent("three") == third


def test_addresses_that_old_software_dislikes_are_not_given():
    names = Names()
    last = {names.invent(f"host{number}").ipv4.packed[3] for number in range(5000)}
    assert last == set(range(1, 255))
    assert SLOTS == 512 * 254 > MOST


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("198.18.0.1", True),
        ("198.19.255.254", True),
        ("::ffff:198.18.0.1", True),
        ("fd1d:837f:9569::1", True),
        ("fd1d:837f:9569:1::1", False),
        ("198.20.0.1", False),
        ("198.17.255.255", False),
        ("::1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_which_addresses_can_be_ours(host, ours):
    assert invented(host) is ours
    assert Names().name(host) is None


def test_where_the_prefix_is_from():
    digest = hashlib.sha256(b"tesla_trace").digest()
    prefix = b"\xfd" + digest[:5] + bytes(10)
    assert IPV6 == ipaddress.IPv6Network((prefix, 64)) and IPV6.is_private
