"""Words between a tracer and one inside of it; what goes on the wire the end-to-end tests try."""

import json
import socket
import threading

import pytest

from tesla_trace.flow import Stack, parse
from tesla_trace.kernel import relay
from tesla_trace.kernel.filter import Masked, NonZero, Rule
from tesla_trace.kernel.spawn import OuterError
from tesla_trace.kernel.trap import Gone
from tesla_trace.syscalls import table


@pytest.mark.parametrize("words", [["+dummy"], ["+compress"], ["+socks=proxy:1080", "+log"]])
def test_rules_there_and_back(words):
    rules = table.rules(Stack(parse(words)), closed=True)
    assert relay.unpack_rules(json.loads(json.dumps(relay.pack_rules(rules)))) == rules


@pytest.mark.parametrize(
    "given",
    [None, 1, {}, [1], [[1]], ["ab"], [["a", [[]]]], [["a", [[6]]]], [["a", [[-1]]]]]
    + [[["a", [[1, 2]]]], [["a", [[1, 2, 3, 4]]]], [["a", [["x"]]]], [["a", [None]]]],
)
def test_what_are_no_rules(given):
    with pytest.raises((ValueError, TypeError)):
        relay.unpack_rules(given)


def test_conditions():
    rule = Rule("connect", (Masked(1, 2**64 - 1, 3), NonZero(5)))
    assert relay.pack_rules([rule]) == [["connect", [[1, 2**64 - 1, 3], [5]]]]


class Outer:
    """Somebody who answers one tracer with what he is told to."""

    def __init__(self, *answers):
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.door.bind("")
        self.door.listen(1)
        self.name = self.door.getsockname()[1:].decode()
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.asked = []
        self.thread = threading.Thread(target=self._answer, args=(answers, theirs), daemon=True)
        self.thread.start()

    def _answer(self, answers, theirs):
        channel, _ = self.door.accept()
        with channel, theirs:
            self.asked.append(json.loads(channel.recv(1 << 16)))
            socket.send_fds(channel, [b'{"why": ""}'], [theirs.fileno()])
            theirs.close()
            for answer in answers:
                self.asked.append(relay.REQUEST.unpack(channel.recv(99)))
                channel.send(relay.RESULT.pack(*answer))

    def trap(self):
        return relay.RelayTrap(self.name, [Rule("connect")], closed=True, heirs=(5, 4))


def event(call, serial=7, copied=False):
    return relay.EVENT.pack(serial, 4711, 8, copied, 1, 2, 3, 4, 5, 6) + call.encode()


def test_a_call():
    outer = Outer((9, 0), (0, 13), (0, 3))
    trap = outer.trap()
    outer.ours.send(event("connect", copied=True))
    stop = trap.next()
    assert (stop.call, stop.thread, stop.args, stop.word) == (
        "connect",
        4711,
        (1, 2, 3, 4, 5, 6),
        8,
    )
    assert stop.copied
    assert stop.inject(0, cloexec=True, at=9) == 9
    with pytest.raises(PermissionError):
        stop.inject(0, cloexec=False)
    with pytest.raises(Gone):
        stop.inject(0, cloexec=False)
    outer.thread.join(5)
    assert outer.asked == [
        {"rules": [["connect", []]], "closed": True, "heirs": [5, 4]},
        (relay.INJECT, 7, 9, relay.CLOEXEC),
        (relay.INJECT, 7, relay.LOWEST, 0),
        (relay.INJECT, 7, relay.LOWEST, 0),
    ]
    assert not stop.waiting()  # he has gone
    assert trap.next() is None
    outer.ours.close()
    with pytest.raises(EOFError):
        trap.next()
    trap.close()


def test_a_call_that_was_not_asked_for_is_let_through():
    outer = Outer((0, 0))
    trap = outer.trap()
    outer.ours.send(event("bind"))
    assert trap.next() is None
    outer.thread.join(5)
    assert outer.asked[1] == (relay.PROCEED, 7, 0, 0)


def test_the_end():
    outer = Outer((0, 0))
    trap = outer.trap()
    trap.end()
    with pytest.raises(EOFError):
        trap.next()
    outer.thread.join(5)
    assert outer.asked[1] == (relay.LEAVE, 0, 0, 0)


@pytest.mark.parametrize(
    ("said", "error"), [(b'{"why": "so"}', OuterError), (b"{}", ConnectionError), (b"", OSError)]
)
def test_refused(said, error):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind("")
        door.listen(1)

        def answer():
            channel, _ = door.accept()
            with channel:
                channel.recv(1 << 16)
                if said:
                    channel.send(said)

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(error):
            relay.RelayTrap(door.getsockname()[1:].decode(), (), closed=False)
    with pytest.raises(ConnectionError):
        relay.RelayTrap("nobody is here", (), closed=False)
