"""Programs that look names up for others are not found where a handler does that."""

import socket
import struct
from types import SimpleNamespace

import pytest

from tesla_trace.kernel import sockaddr
from tesla_trace.syscalls.escapes.resolvers import hide
from tests.syscalls.stop import BASE, FakeStop

NSCD = "/var/run/nscd/socket"


def unix(path):
    return struct.pack("=H", socket.AF_UNIX) + path.encode() + b"\0"


def connect(data, dns="proxy", size=None, address=BASE):
    """Whether a connect of a socket that is not ours goes on to the kernel, and what is said."""
    said = []
    session = SimpleNamespace(stack=SimpleNamespace(dns=dns), say_once=said.append)
    stop = FakeStop("connect", 3, address, len(data) if size is None else size, memory=data)
    stop.process = lambda: 4711
    try:
        hide(session, stop)
    except FileNotFoundError:
        return False, said
    return True, said


@pytest.mark.parametrize(
    "path",
    [
        NSCD,
        "/run/nscd/socket",
        "/run/systemd/resolve/io.systemd.Resolve",
        "/run/systemd/resolve/io.systemd.Resolve.Monitor",
        "/var/run/avahi-daemon/socket",
    ],
)
def test_they_are_not_found(path):
    assert connect(unix(path)) == (False, [])
    assert connect(unix(path)[:-1]) == (False, []), "no NUL is needed (unix(7))"
    assert connect(unix(path) + b"x" * 9) == (False, [])


def test_they_are_where_the_program_looks_names_up():
    assert connect(unix(NSCD), dns="local") == (True, [])


def test_who_looks_is_said_where_that_is_wanted():
    goes_on, (line,) = connect(unix(NSCD), dns="leak-check")
    assert not goes_on
    assert line.endswith("[4711]: would look names up by nscd; it is not to be found")


@pytest.mark.parametrize(
    "data",
    [
        unix("/run/nscd/sockets"),
        unix("/tmp/socket"),
        unix("\0/run/nscd/socket"),
        unix("\xff"),
        unix(""),
        sockaddr.pack(("127.0.0.1", 80), socket.AF_INET),
        b"\1",
        b"",
    ],
)
def test_all_else_is_the_kernel_s(data):
    assert connect(data) == (True, [])


@pytest.mark.parametrize(("size", "address"), [(2**31, BASE), (-1, BASE), (50, 0), (200, BASE)])
def test_what_the_kernel_will_find_wrong_is_left_to_it(size, address):
    assert connect(unix(NSCD), size=size, address=address) == (True, [])
