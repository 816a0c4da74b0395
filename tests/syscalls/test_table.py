"""Which calls are trapped, for which handlers; whose each option is."""

import errno
import inspect
import socket

import pytest

from tesla_trace.flow import Stack, parse
from tesla_trace.kernel import arches
from tesla_trace.kernel import filter as filters
from tesla_trace.kernel.trap import Gone
from tesla_trace.syscalls import table
from tesla_trace.syscalls.arguments import layout
from tesla_trace.syscalls.escapes.ways import HARMLESS
from tesla_trace.syscalls.options import sockopt
from tests.syscalls.stop import FakeStop


def rules(*words):
    return table.rules(Stack(parse(words)))


def test_every_rule_can_be_built():
    assert len(filters.build(rules("+dummy"))) % 8 == 0
    assert len(filters.build(rules("+socks=127.0.0.1:1080", "+log"))) % 8 == 0


@pytest.mark.parametrize("call", ["read", "write", "close", "poll", "epoll_ctl", "fork", "execve"])
def test_what_is_never_trapped(call):
    assert call not in {rule.call for rule in rules("+socks=127.0.0.1:1080", "+dummy")}


@pytest.mark.parametrize("words", [["+dummy"], ["+socks=127.0.0.1:1080", "+log"]])
def test_a_call_is_trapped_by_the_name_of_its_64_bit_time_too(words):
    all_rules = rules(*words)
    for rule in all_rules:
        other = rule.call + layout.TIME64
        if arches.I386.number(other) is not None:
            assert filters.Rule(other, rule.conditions) in all_rules


@pytest.mark.parametrize("family", range(2**table.FAMILIES))
def test_every_family_is_trapped_but_the_harmless(family):
    conditions = [rule.conditions for rule in rules("+compress") if rule.call == "socket"]
    trapped = [each for (each,) in conditions if family & each.mask == each.value]
    assert len(trapped) == (family not in HARMLESS)


LEVELS = {"SO": socket.SOL_SOCKET, "TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP}


def test_every_option_is_there_once_and_explained():
    for (level, number), option in sockopt.OPTIONS.items():
        assert option.note and option.name.startswith(("SO_", "TCP_", "UDP_", "IP_", "IPV6_"))
        known = getattr(socket, option.name, number)
        assert known == number, option.name
        assert level == LEVELS.get(option.name.partition("_")[0], level)
    names = [option.name for option in sockopt.OPTIONS.values()]
    assert len(names) == len(set(names))
    assert set(sockopt.STORED) <= set(sockopt.OPTIONS)


def test_no_value_with_pointers_is_passed_on():
    """iptables' counters, say: the kernel would write them into our memory."""
    for call in ("setsockopt", "getsockopt"):
        for level, option in [(0, 64), (0, 65), (0, 96), (0, 128), (0, 1152), (41, 64), (41, 65)]:
            stop = FakeStop(call, 3, level, option, 0x1000, 4, memory=bytes(64))
            if call == "getsockopt":
                stop = FakeStop(call, 3, level, option, 0x1000, 0x1000, memory=bytes(64))
            with pytest.raises(OSError) as wrong:
                getattr(sockopt, call)(None, stop, NoOptions())
            assert wrong.value.errno == errno.ENOPROTOOPT


class NoOptions:
    """A socket that nobody asks for options."""

    pair_has_error = False


# ---- what becomes of a call that goes wrong ----


class NoSession:
    def __init__(self, wrong):
        self.wrong = wrong
        self.said = []
        self.held = self
        self.parting = None

    def socket(self, stop, fd):
        raise self.wrong

    def release(self, stop):
        self.said.append("released")

    def calls(self, thread):
        """None of its calls waits."""

    def crashed(self, stop, wrong):
        self.said.append(wrong)


@pytest.mark.parametrize("call", sorted(table.CALLS | table.DATAGRAM_CALLS))
def test_a_call_fails_closed(call):
    """Whatever goes wrong in us, the call is never let through."""
    session, stop = NoSession(wrong := RuntimeError("a bug")), FakeStop(call, 3)
    table.serve(session, stop)
    assert stop.answers == ["ECONNABORTED"] and session.said == [wrong]


def test_errors_are_the_program_s():
    stop = FakeStop("listen", 3)
    table.serve(NoSession(OSError(errno.ENOBUFS, "no room")), stop)
    assert stop.answers == ["ENOBUFS"]


def test_a_call_that_is_gone_is_not_answered():
    session, stop = NoSession(Gone()), FakeStop("listen", 3)
    table.serve(session, stop)
    assert stop.answers == [] and session.said == ["released"]


def test_the_fake_has_what_the_real_one_promises():
    from tesla_trace.kernel.trap import Stop

    for name, member in inspect.getmembers(FakeStop, inspect.isfunction):
        if not name.startswith("_"):
            real = inspect.signature(getattr(Stop, name))
            assert list(inspect.signature(member).parameters) == list(real.parameters)
