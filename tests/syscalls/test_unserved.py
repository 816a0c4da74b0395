"""Calls that are trapped only because the filter could not see their arguments."""

import os
import socket

import pytest

from tesla_trace.flow import Stack, parse
from tesla_trace.syscalls import table
from tests.syscalls.stop import FakeStop


class Copied(FakeStop):
    """A sub-call of socketcall(2)."""

    thread = 2**22
    """Nobody, so that its rights are not known to be ours."""

    def __init__(self, call, *args):
        super().__init__(call, *args)
        self.copied, self.word = True, 4
        self.given = []

    def inject(self, fd, *, cloexec, at=None):
        with socket.socket(fileno=os.dup(fd)) as made:
            blocks = os.get_blocking(fd)
            self.given.append((made.family, made.type, made.proto, blocks, cloexec))
        self.ours = fd
        return 7


class NoSession:
    """Has the handlers, and no sockets."""

    def __init__(self, *words, same_network=True):
        self.stack = Stack(parse(words))
        self._same_network = same_network
        self.said = []

    def same_network(self, stop):
        return self._same_network

    def socket(self, stop, fd):
        raise OSError(12, "this is where it is done")

    def say_once(self, line):
        self.said.append(line)

    def crashed(self, what, wrong):
        raise wrong


def serve(call, *args, words=("+compress",), **kwargs):
    session, stop = NoSession(*words, **kwargs), Copied(call, *args)
    table.serve(session, stop)
    return stop


UNIX, INET, NETLINK = socket.AF_UNIX, socket.AF_INET, socket.AF_NETLINK
STREAM, DGRAM, RAW = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW
CLOEXEC, NONBLOCK = socket.SOCK_CLOEXEC, socket.SOCK_NONBLOCK


@pytest.mark.parametrize(
    ("args", "given"),
    [
        ((UNIX, STREAM, 0), (UNIX, STREAM, 0, True, False)),
        ((UNIX, DGRAM | CLOEXEC, 0), (UNIX, DGRAM, 0, True, True)),
        ((NETLINK, RAW | NONBLOCK, 0), (NETLINK, RAW, 0, False, False)),
        ((INET, DGRAM, 0), (INET, DGRAM, socket.IPPROTO_UDP, True, False)),
    ],
)
def test_a_socket_is_made_of_the_arguments_that_were_seen(args, given):
    stop = serve("socket", *args)
    assert stop.given == [given] and stop.answers == [7]
    with pytest.raises(OSError):
        os.fstat(stop.ours)


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        ((-1, STREAM, 0), "EAFNOSUPPORT"),
        ((UNIX, 14, 0), "EINVAL"),
        ((UNIX, STREAM | 0x40, 0), "EINVAL"),
        ((UNIX, STREAM, 77), "EPROTONOSUPPORT"),
    ],
)
def test_the_kernel_says_what_is_wrong(args, answer):
    assert serve("socket", *args).answers == [answer]


@pytest.mark.parametrize(
    "args", [(INET, RAW, socket.IPPROTO_ICMP), (socket.AF_PACKET, DGRAM, 0), (INET, 10, 0)]
)
def test_what_takes_rights_is_not_for_who_has_others(args):
    stop = serve("socket", *args)
    assert stop.answers == ["EPERM"] and stop.given == []


def test_in_another_network_the_kernel_makes_it():
    assert serve("socket", UNIX, STREAM, 0, same_network=False).answers == ["proceed"]


def test_a_socket_that_a_rule_is_for_is_not_left():
    refused = serve("socket", INET, RAW, 0, words=["+socks=127.0.0.1:1080"])
    assert refused.answers == ["EPROTONOSUPPORT"]


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        ((3, 0x1000, 5, 0, 0, 0), "proceed"),
        ((3, 0x1000, 5, 0, 0x1000, 16), "ENOMEM"),
        ((3, 0x1000, 5, 0x20000000, 0, 0), "ENOMEM"),
    ],
)
def test_a_send_that_no_rule_is_for_goes_its_way(args, answer):
    assert serve("sendto", *args).answers == [answer]
