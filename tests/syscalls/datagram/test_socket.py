"""Calls that send and receive datagrams, on a real pair and a real network, without a program."""

import errno
import os
import socket
import struct

import pytest

from tesla_trace.flow import Stack, parse
from tesla_trace.kernel import proc, sockaddr
from tesla_trace.kernel.thread import Threads
from tesla_trace.syscalls.arguments.flags import (
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITFORONE,
)
from tesla_trace.syscalls.datagram import calls, receive, send
from tesla_trace.syscalls.datagram.socket import DatagramSocket
from tesla_trace.syscalls.session import Session
from tests.io.world import World, udp
from tests.syscalls.stop import BASE, FakeStop

DATA, NAME, LENGTH, HEADERS = BASE, BASE + 0x100, BASE + 0x180, BASE + 0x200
MEMORY = 0x800


class Caller(FakeStop):
    """A call of a program whose descriptor 3 is `end`."""

    def __init__(self, end, call, *args, memory=b""):
        super().__init__(call, 3, *args, memory=memory.ljust(MEMORY, b"\0"))
        self.end = end

    def borrow(self, fd, file):
        assert fd == 3
        return os.dup(self.end.fileno())

    def name(self):
        return "program"

    def process(self):
        return self.thread

    def standing(self):
        return Threads().standing(os.getpid())


class Bench:
    """A datagram socket of a program, and a peer."""

    def __init__(self, domain=socket.AF_INET, *words):
        self.world = World()
        log = self.world.log.append
        self.session = Session(self.world.loop, Stack(parse(words or ["+dummy"])), log, log)
        real = socket.socket(domain, socket.SOCK_DGRAM)
        self.socket = DatagramSocket(self.session, domain, real)
        self.end = self.socket.pair.app.dup()
        self.socket.pair.given()
        self.peer = udp()
        self.bind()

    def bind(self):
        name = ("127.0.0.1", 0) if self.socket.domain == socket.AF_INET else ("::", 0, 0, 0)
        self.socket.bind(self.stop("bind"), name)

    @property
    def here(self):
        return "127.0.0.1", self.socket.control.getsockname()[1]

    def stop(self, call, *args, memory=b""):
        return Caller(self.end, call, *args, memory=memory)

    def sendto(self, data, to=None, flags=0, size=None, length=None):
        """The result, or the name of the error."""
        name = to if isinstance(to, bytes) else sockaddr.pack(to, socket.AF_INET) if to else b""
        memory = data[:0x100].ljust(0x100, b"\0") + name
        where, length = (NAME, len(name) if length is None else length) if to else (0, 0)
        stop = self.stop("sendto", DATA, len(data) if size is None else size, flags, where, length)
        stop.memory[:] = memory.ljust(MEMORY, b"\0")
        return self.does(send.sendto, stop)

    def recvfrom(self, size=100, flags=0, room=16, name=NAME):
        """A call that receives."""
        memory = bytes(0x180) + struct.pack("=i", room)
        stop = self.stop("recvfrom", DATA, size, flags, name, LENGTH, memory=memory)
        try:
            receive.recvfrom(self.session, stop, self.socket)
        except OSError as error:
            stop.fail(error.errno)
        return stop

    def does(self, call, stop):
        try:
            call(self.session, stop, self.socket)
        except OSError as error:
            stop.fail(error.errno)
        return stop.answers[0] if stop.answers else None

    def arrive(self, *datagrams):
        """Datagrams from the peer, as far as the pair or who waits."""
        (bottom,) = self.socket.top.graph.bottoms
        before, count = bottom.moved, 0
        for data in datagrams:
            self.peer.sendto(data, self.here)
            count += len(data)
        self.world.until(lambda: bottom.moved == before + count)

    def close(self):
        self.session.end()
        self.end.close()
        self.world.until(lambda: self.socket.pair.closed)
        self.world.until(lambda: not self.world.network.open)
        self.peer.close()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.close()


def got(stop, size=20):
    """What a call that received gave: its answer, the bytes, and whence."""
    data = bytes(stop.memory[: stop.answers[0]]) if isinstance(stop.answers[0], int) else b""
    (length,) = struct.unpack_from("=i", stop.memory, LENGTH - BASE)
    return stop.answers[0], data[:size], bytes(stop.memory[NAME - BASE :][:length])


# ---- sending ----


def test_a_datagram_goes(bench):
    assert bench.sendto(b"hello", bench.peer.getsockname()) == 5
    assert bench.peer.recvfrom(10) == (b"hello", bench.here)
    assert bench.sendto(b"", bench.peer.getsockname()) == 0
    assert bench.peer.recv(10) == b""


@pytest.mark.parametrize(
    ("facts", "number"),
    [
        ({"to": None}, "EDESTADDRREQ"),
        ({"to": ("127.0.0.1", 0)}, "EINVAL"),
        ({"to": ("127.0.0.1", 9), "length": 1}, "EINVAL"),
        ({"to": ("127.0.0.1", 9), "length": 15}, "EINVAL"),
        ({"to": ("127.0.0.1", 9), "length": -1}, "EINVAL"),
        ({"to": ("127.0.0.1", 9), "length": 129}, "EINVAL"),
        ({"to": sockaddr.pack(("::1", 9, 0, 0), socket.AF_INET6)}, "EAFNOSUPPORT"),
        ({"to": struct.pack("=H", 1) + bytes(14)}, "EAFNOSUPPORT"),
        ({"to": ("127.0.0.1", 9), "flags": MSG_OOB}, "ENOTSUP"),
        ({"to": ("127.0.0.1", 9), "size": 2**16}, "EMSGSIZE"),
        ({"to": None, "size": 2**16}, "EMSGSIZE"),
        ({"to": ("127.0.0.1", 9), "size": MEMORY + 1}, "EFAULT"),
        ({"to": ("255.255.255.255", 9)}, "EACCES"),
    ],
)
def test_what_cannot_be_sent(bench, facts, number):
    assert bench.sendto(b"x", **facts) == number


def test_corked_pieces_are_one_datagram(bench):
    there = bench.peer.getsockname()
    assert bench.sendto(b"one ", there, MSG_MORE) == 4
    assert bench.sendto(b"two ", there, MSG_MORE) == 4
    assert bench.sendto(b"three", there) == 5
    assert bench.peer.recv(100) == b"one two three"


def test_an_error_is_told_by_the_next_call_once(bench):
    bench.socket.undelivered(OSError(errno.ECONNREFUSED, ""))
    there = bench.peer.getsockname()
    assert [bench.sendto(b"x", there) for _ in range(2)] == ["ECONNREFUSED", 1]
    bench.socket.undelivered(OSError(errno.EHOSTUNREACH, ""))
    assert bench.recvfrom().answers == ["EHOSTUNREACH"]
    assert bench.recvfrom(flags=MSG_DONTWAIT).answers == ["EAGAIN"]


def test_where_there_is_no_room_a_call_waits(bench):
    bench.socket.top.may_write(bench.socket.top.below, False)
    there = bench.peer.getsockname()
    assert bench.sendto(b"x", there, MSG_DONTWAIT) == "EAGAIN"
    stop = bench.stop("sendto", DATA, 1, 0, NAME, 16)
    stop.memory[NAME - BASE : NAME - BASE + 16] = sockaddr.pack(there, socket.AF_INET)
    assert bench.does(send.sendto, stop) is None and bench.socket.waited_on
    bench.socket.top.may_write(bench.socket.top.below, True)
    assert stop.answers == [1] and not bench.socket.waited_on
    assert bench.peer.recv(10) == b"\0"


# ---- receiving ----


def test_a_datagram_comes_with_its_source(bench):
    bench.arrive(b"one", b"two")
    name = sockaddr.pack(bench.peer.getsockname(), socket.AF_INET)
    assert got(bench.recvfrom()) == (3, b"one", name)
    assert got(bench.recvfrom()) == (3, b"two", name)


def test_what_a_signal_kept_from_one_is_for_the_next(bench):
    name = sockaddr.pack(bench.peer.getsockname(), socket.AF_INET)
    waits = bench.recvfrom()
    bench.arrive(b"one")
    assert waits.answers == [3]
    waits.undo()
    bench.recvfrom().undo()
    bench.recvfrom(flags=MSG_PEEK).undo()
    assert got(bench.recvfrom()) == (3, b"one", name)
    assert bench.recvfrom(flags=MSG_DONTWAIT).answers == ["EAGAIN"]


def test_what_a_signal_kept_from_one_is_not_lost_where_there_is_no_room(bench):
    waits = bench.recvfrom()
    sent = [b"%d" % number for number in range(400)]
    for each in sent:
        bench.arrive(each)
    assert waits.answers == [1] and bench.socket.top._queued
    waits.undo()
    heard = []
    while isinstance((stop := bench.recvfrom(flags=MSG_DONTWAIT)).answers[0], int):
        heard.append(got(stop)[1])
        bench.world.turn()
    assert heard == [*sent[1:], sent[0]]


@pytest.mark.parametrize(
    ("size", "flags", "answer", "data"),
    [(2, 0, 2, b"lo"), (2, MSG_TRUNC, 4, b"lo"), (0, 0, 0, b""), (0, MSG_TRUNC, 4, b"")],
)
def test_what_there_is_no_room_for_is_cut_off(bench, size, flags, answer, data):
    bench.arrive(b"long")
    stop = bench.recvfrom(size, flags)
    assert stop.answers == [answer] and bytes(stop.memory[:4]) == data.ljust(4, b"\0")


def test_a_name_is_written_as_far_as_there_is_room(bench):
    bench.arrive(b"x")
    stop = bench.recvfrom(room=4)
    name = sockaddr.pack(bench.peer.getsockname(), socket.AF_INET)
    assert bytes(stop.memory[NAME - BASE :][:16]) == name[:4] + bytes(12)
    assert struct.unpack_from("=i", stop.memory, LENGTH - BASE) == (16,)
    bench.arrive(b"x")
    assert bench.recvfrom(room=-1).answers == ["EINVAL"]


def test_a_bad_pointer_costs_the_datagram(bench):
    bench.arrive(b"lost", b"next")
    assert bench.recvfrom(name=8).answers == ["EFAULT"]
    assert got(bench.recvfrom())[:2] == (4, b"next")


def test_a_peek_leaves_it(bench):
    bench.arrive(b"x")
    for flags in (MSG_PEEK, MSG_PEEK, 0):
        assert got(bench.recvfrom(flags=flags))[:2] == (1, b"x")


def test_nothing_there(bench):
    assert bench.recvfrom(flags=MSG_DONTWAIT).answers == ["EAGAIN"]
    assert bench.recvfrom(flags=MSG_ERRQUEUE | MSG_DONTWAIT).answers == ["EAGAIN"]
    bench.end.setblocking(False)
    assert bench.recvfrom().answers == ["EAGAIN"]


def test_who_waits_is_given_it_past_the_pair(bench):
    first, second = bench.recvfrom(), bench.recvfrom()
    assert first.answers == second.answers == []
    bench.arrive(b"one")
    assert got(first)[:2] == (3, b"one") and second.answers == []
    bench.arrive(b"two")
    assert got(second)[:2] == (3, b"two")
    assert not bench.socket.pair.unread() and not bench.socket.waited_on


def test_who_only_peeks_leaves_it_for_the_next(bench):
    peeks, takes = bench.recvfrom(flags=MSG_PEEK), bench.recvfrom()
    bench.arrive(b"x")
    assert got(peeks)[:2] == got(takes)[:2] == (1, b"x")


def test_who_has_died_waiting_is_passed_over(bench):
    first, second = bench.recvfrom(), bench.recvfrom()
    first.is_gone = True
    bench.arrive(b"x")
    assert first.answers == [] and got(second)[:2] == (1, b"x")
    assert not bench.socket.waited_on


def test_a_datagram_for_nobody_that_is_left_stays(bench):
    stop = bench.recvfrom()
    stop.is_gone = True
    bench.arrive(b"x")
    assert got(bench.recvfrom())[:2] == (1, b"x")


def test_a_bad_pointer_of_who_waits(bench):
    stop = bench.recvfrom(name=8)
    bench.arrive(b"x", b"y")
    assert stop.answers == ["EFAULT"] and got(bench.recvfrom())[:2] == (1, b"y")


def test_an_error_wakes_who_waits(bench):
    first, second = bench.recvfrom(), bench.recvfrom()
    bench.socket.undelivered(OSError(errno.ECONNREFUSED, ""))
    assert first.answers == ["ECONNREFUSED"] and second.answers == []
    bench.arrive(b"x")
    assert got(second)[:2] == (1, b"x")


def test_an_end_of_the_way_in_wakes_all(bench):
    bench.socket.connect(bench.stop("connect"), bench.peer.getsockname())
    stops = [bench.recvfrom() for _ in range(3)]
    bench.socket.shut(True, False)
    assert [stop.answers for stop in stops] == [[0], [0], [0]]
    assert bench.recvfrom().answers == [0]


def test_a_time_limit(bench):
    limit = struct.pack("ll", 0, 30_000)
    bench.end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    stop = bench.recvfrom()
    bench.world.until(lambda: stop.answers)
    assert stop.answers == ["EAGAIN"] and not bench.socket.waited_on


# ---- several at once ----


def messages(bench, count, flags=0, limit=0):
    """recvmmsg(2) with room for `count` datagrams of ten bytes each."""
    memory = bytearray(MEMORY)
    for number in range(count):
        at = HEADERS - BASE + number * 64
        pieces = 0x400 + number * 16
        struct.pack_into("@PNPN", memory, at, 0, 0, BASE + pieces, 1)
        struct.pack_into("@PN", memory, pieces, BASE + number * 10, 10)
    stop = bench.stop("recvmmsg", HEADERS, count, flags, limit, memory=bytes(memory))
    bench.does(receive.recvmmsg, stop)
    return stop


def lengths(stop, count):
    return [
        struct.unpack_from("=I", stop.memory, HEADERS - BASE + number * 64 + 56)[0]
        for number in range(count)
    ]


def test_as_many_as_there_are_with_the_flag_for_it(bench):
    bench.arrive(b"one", b"three")
    stop = messages(bench, 3, MSG_WAITFORONE)
    assert stop.answers == [2] and lengths(stop, 3) == [3, 5, 0]
    assert bytes(stop.memory[:15]) == b"one".ljust(10, b"\0") + b"three"
    assert messages(bench, 3, MSG_DONTWAIT).answers == ["EAGAIN"]


def test_without_it_they_are_waited_for(bench):
    stop = messages(bench, 2)
    bench.arrive(b"one")
    assert stop.answers == []
    bench.arrive(b"two")
    assert stop.answers == [2]


def test_an_error_behind_some_is_told_later(bench):
    stop = messages(bench, 2)
    bench.arrive(b"one")
    bench.socket.undelivered(OSError(errno.ECONNREFUSED, ""))
    assert stop.answers == [1]
    assert bench.recvfrom().answers == ["ECONNREFUSED"]


# ---- the program's end ----


def test_the_copy_of_the_programs_end_is_given_back(bench):
    name = os.readlink(f"/proc/self/fd/{bench.end.fileno()}")

    def copies():
        return [each for _, each in proc.files(os.getpid())].count(name) - 1

    assert copies() == 0
    stop = bench.recvfrom()
    assert not stop.answers and copies() == 1
    bench.arrive(b"x")
    assert stop.answers
    bench.world.until(lambda: copies() == 0)


def test_it_is_kept_while_a_call_waits(bench):
    """So the socket stays though the program closes it, as natively."""
    stop = bench.recvfrom()
    end, bench.end = bench.end, bench.end.dup()
    bench.end.close()
    end.close()
    bench.session.copies.give_back()
    bench.world.turn()
    bench.arrive(b"late")
    assert got(stop)[:2] == (4, b"late")
    bench.world.until(lambda: bench.socket.pair.closed)


def test_a_port_that_was_just_closed_is_free(bench):
    """Even if we still hold a copy of what was closed."""
    bench.arrive(b"x")
    bench.recvfrom()
    here = bench.here
    bench.end.close()
    other = DatagramSocket(
        bench.session, socket.AF_INET, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    )
    end = other.pair.app.dup()
    other.pair.given()
    stop = Caller(end, "bind", BASE, 16, memory=sockaddr.pack(here, socket.AF_INET))
    calls.bind(bench.session, stop, other)
    assert stop.answers == [0]
    end.close()
    bench.world.until(lambda: other.pair.closed)
