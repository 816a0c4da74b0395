"""What the kernel makes of a pair of datagrams, in the ways that datagram_pair.py relies on."""

import os
import select
import socket

import pytest

from tesla_trace.io.datagram_pair import PAYLOAD, DatagramPair
from tesla_trace.io.labels import KEPT, LABEL_SPACE, LABELS, WAKE, Label
from tesla_trace.io.loop import Loop

ONE, OTHER = Label(("192.0.2.1", 53)), Label(("2001:db8::1", 53, 7, 2), ((0, 8, b"info"),))


def _raised(wrong):
    raise wrong


@pytest.fixture
def make():
    """Pairs, each with the program's end as the program has it."""
    made = []

    def make(domain=socket.AF_INET):
        pair = DatagramPair(Loop(_raised), domain)
        app = pair.app.dup()
        app.setblocking(False)
        pair.given()
        made.append((pair, app))
        return pair, app

    yield make
    for pair, app in made:
        pair.close()
        app.close()
    LABELS.close()


def received(pair, app):
    """The next datagram, and its label; and whether one went with it."""
    data, ancillary, _, _ = app.recvmsg(70_000, LABEL_SPACE)
    return data, pair.label(tuple(ancillary)), bool(ancillary)


def test_each_datagram_is_whole(make):
    pair, app = make()
    for data in (b"one", b"", b"three"):
        assert pair.send(data, ONE)
        app.send(data)
    assert [app.recv(100) for _ in range(3)] == [b"one", b"", b"three"]
    assert [pair.receive() for _ in range(3)] == [b"one", b"", b"three"]
    with pytest.raises(BlockingIOError):
        pair.receive()


def test_the_source_that_came_first_needs_no_label(make):
    pair, app = make()
    for label in (ONE, OTHER, ONE, OTHER):
        pair.send(b"x", label)
    assert [received(pair, app) for _ in range(4)] == [
        (b"x", ONE, False),
        (b"x", OTHER, True),
        (b"x", ONE, False),
        (b"x", OTHER, True),
    ]


def test_a_label_is_dropped_by_who_does_not_ask(make):
    pair, app = make()
    pair.send(b"", ONE)
    pair.send(b"labelled", OTHER)
    before = len(os.listdir("/proc/self/fd"))
    assert (app.recv(1), os.read(app.fileno(), 100)) == (b"", b"labelled")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_peeked_label_can_be_read_again(make):
    pair, app = make()
    pair.send(b"first", ONE)
    app.recv(10)
    pair.send(b"x", OTHER)
    for flags in (socket.MSG_PEEK, socket.MSG_PEEK, 0):
        data, ancillary, _, _ = app.recvmsg(10, LABEL_SPACE, flags)
        assert (data, pair.label(tuple(ancillary))) == (b"x", OTHER)


def test_waking_is_no_source(make):
    pair, app = make()
    pair.send(b"", WAKE)
    pair.send(b"x", ONE)
    assert received(pair, app) == (b"", WAKE, True)
    assert received(pair, app) == (b"x", ONE, False)


def test_the_labels_of_few_sources_are_kept(make):
    pair, app = make()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for number in range(2 * KEPT):
            label = Label(("192.0.2.2", number))
            assert pair.send(b"x", label)
            assert received(pair, app) == (b"x", label, number > 0)
    assert len(os.listdir("/proc/self/fd")) <= before + KEPT
    LABELS.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_the_label_that_was_used_last_is_kept_longest(make):
    pair, app = make()
    often = Label(("192.0.2.9", 9))
    pair.send(b"", ONE)
    pair.send(b"", often)
    file = LABELS.file(often)
    for number in range(2 * KEPT):
        app.recv(1)
        pair.send(b"", Label(("192.0.2.2", number)))
        app.recv(1)
        pair.send(b"", often)
    assert LABELS.file(often) == file


def test_empty_datagrams_before_the_end(make):
    pair, app = make()
    for data in (b"x", b"", b""):
        app.send(data)
    app.close()
    assert [pair.receive() for _ in range(4)] == [b"x", b"", b"", None]


@pytest.mark.parametrize("domain", [socket.AF_INET, socket.AF_INET6])
def test_as_much_as_udp_takes_and_no_more(make, domain):
    pair, app = make(domain)
    most = PAYLOAD[domain]
    assert app.send(bytes(most)) == most
    with pytest.raises(OSError, match="Message too long"):
        app.send(bytes(most + 2))  # one more than most fits: a buffer has an even size
    assert pair.receive() == bytes(most)
    pair.send(bytes(most), ONE)
    assert len(app.recv(2**16)) == most


def test_when_it_is_full_it_says_so(make):
    pair, app = make()
    sent = 0
    while pair.send(bytes(1000), ONE):
        sent += 1
    assert sent > 50
    for _ in range(sent):
        assert len(app.recv(2000)) == 1000
    assert pair.send(b"x", ONE)


def test_what_is_unread_is_seen_be_it_empty(make):
    pair, app = make()
    assert not pair.unread()
    pair.send(b"", ONE)
    assert pair.unread()
    app.recv(1)
    assert not pair.unread()


def test_a_close_is_seen_by_poll(make):
    pair, app = make()
    poll = select.poll()
    poll.register(pair.master, 0)
    app.close()
    assert poll.poll(0)[0][1] & select.POLLHUP
