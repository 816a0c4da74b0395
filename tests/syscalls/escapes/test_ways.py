"""The table of ways past the trap, and which of them a socket is."""

import ast
import errno
import socket
from pathlib import Path

import pytest

from tesla_trace import tables
from tesla_trace.syscalls.escapes.ways import HARMLESS, WAYS, Outcome, of_socket

TESTS = Path(__file__).parent.parent.parent / "e2e" / "test_escapes.py"


def test_each_is_shown_by_a_test():
    there = {
        node.name
        for node in ast.parse(TESTS.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert {way.test for way in WAYS.values()} <= there


@pytest.mark.parametrize("name", WAYS)
def test_a_row_says_what_its_outcome_needs(name):
    way = WAYS[name]
    assert bool(way.errno) == (way.outcome in (Outcome.REFUSED, Outcome.COUNTED))
    if way.errno:
        assert way.errno in errno.errorcode
    if way.outcome is Outcome.COUNTED:
        assert way.one and way.many and way.one != way.many


def test_no_two_are_counted_alike():
    counted = [way.one for way in WAYS.values() if way.one]
    assert len(counted) == len(set(counted))


def test_every_way_has_its_line():
    lines = tables.ways_table().splitlines()
    assert len(lines) == 2 + len(WAYS)
    assert all(line.count("|") == 6 for line in lines)


@pytest.mark.parametrize(
    ("domain", "kind", "protocol", "name"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, 0, None),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, None),
        (socket.AF_INET, socket.SOCK_STREAM, 262, "mptcp"),
        (socket.AF_INET6, socket.SOCK_STREAM, 132, "stream"),
        (socket.AF_INET, socket.SOCK_DGRAM, 0, None),
        (socket.AF_INET6, socket.SOCK_DGRAM, 17, None),
        (socket.AF_INET6, socket.SOCK_DGRAM, 136, "udp"),
        (socket.AF_INET, socket.SOCK_DGRAM, 1, "ping"),
        (socket.AF_INET6, socket.SOCK_DGRAM, 58, "ping"),
        (socket.AF_INET, socket.SOCK_RAW, 255, "raw"),
        (socket.AF_INET, 10, 768, "packet"),
        (socket.AF_PACKET, 3, 768, "packet"),
        (socket.AF_INET, socket.SOCK_SEQPACKET, 132, "type"),
        (socket.AF_INET, 6, 33, "type"),
        (socket.AF_VSOCK, 1, 0, "vsock"),
        (44, 3, 0, "xdp"),
        (43, 1, 0, "family"),
        (63, 1, 0, "family"),
    ],
)
def test_which_way_a_socket_is(domain, kind, protocol, name):
    assert of_socket(domain, kind, protocol) is (WAYS[name] if name else None)


def test_the_harmless_are_as_linux_numbers_them():
    assert sorted(HARMLESS) == [1, 15, 16, 38]
