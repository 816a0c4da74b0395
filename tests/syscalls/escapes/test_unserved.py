"""Calls that are trapped only because the filter could not see their arguments."""

import os
import socket

import pytest

from tesla_trace.flow import Stack, parse
from tesla_trace.syscalls import table
from tesla_trace.syscalls.acting import OURS
from tesla_trace.syscalls.escapes.ways import WAYS
from tests.syscalls.stop import FakeStop


class Copied(FakeStop):
    """A sub-call of socketcall(2)."""

    def __init__(self, call, *args):
        super().__init__(call, *args)
        self.copied, self.word = True, 4
        self.given = []

    def give(self, fd, *, cloexec):
        with socket.socket(fileno=os.dup(fd)) as made:
            blocks = os.get_blocking(fd)
            self.given.append((made.family, made.type, made.proto, blocks, cloexec))
        self.ours = fd
        self.reply(7)
        return 7


class NoSession:
    """Has the handlers, and no sockets."""

    def __init__(self, *words, guise=OURS, closed=False):
        self.stack = Stack(parse(words))
        self.closed = closed
        self.acting = self.strangers = self.handing = self.held = self
        self.must_not_send = False
        self.parting = None
        self._guise = guise
        self.passed = []

    def of(self, stop):
        return self._guise

    def born(self, fd):
        """It is known from now on."""

    def calls(self, thread):
        """None of its calls waits."""

    def uncovered(self, stop, way):
        self.passed.append(way)
        if self.closed:
            raise OSError(way.errno, "refused")

    def socket(self, stop, fd):
        raise OSError(12, "this is where it is done")

    def crashed(self, what, wrong):
        raise wrong


def serve(call, *args, words=("+compress",), **kwargs):
    session, stop = NoSession(*words, **kwargs), Copied(call, *args)
    table.serve(session, stop)
    stop.passed = session.passed
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


class Another:
    """A guise that only shows that it was taken on."""

    def __init__(self):
        self.happened = []

    def __enter__(self):
        self.happened.append("taken on")

    def __exit__(self, *raised):
        self.happened.append("off again")


@pytest.mark.parametrize("args", [(UNIX, STREAM, 0), (UNIX, 14, 0), (INET, DGRAM, 0)])
def test_it_is_made_with_the_rights_of_the_caller(args):
    guise = Another()
    serve("socket", *args, guise=guise)
    assert guise.happened == ["taken on", "off again"]


CLOSED = WAYS["closed namespace"]


def test_where_we_have_no_rights_the_kernel_makes_it():
    stop = serve("socket", UNIX, STREAM, 0, guise=CLOSED)
    assert stop.answers == ["proceed"] and stop.passed == []


def test_but_not_where_nothing_may_pass():
    """For it would read the arguments once more."""
    stop = serve("socket", UNIX, STREAM, 0, guise=CLOSED, closed=True)
    assert stop.answers == ["EAFNOSUPPORT"] and stop.given == []


def test_what_no_handler_can_be_given_is_counted():
    stop = serve("socket", INET, DGRAM, 0)
    assert stop.passed == [WAYS["udp"]] and stop.answers == [7]
    stop = serve("socket", INET, DGRAM, 0, closed=True)
    assert stop.answers == ["EPROTONOSUPPORT"] and stop.given == []


def test_what_the_kernel_does_not_have_is_not():
    stop = serve("socket", INET, 14, 0)
    assert stop.answers == ["EINVAL"] and stop.passed == []


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
