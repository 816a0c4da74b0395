"""A flow of datagrams, from the program's end of the pair to a peer on the network."""

import errno
import socket

import pytest

from tesla_trace.flow import Context, Stack, parse
from tesla_trace.io.datagram_pair import DatagramPair
from tesla_trace.io.datagram_top import FULL, DatagramTop
from tesla_trace.io.labels import LABEL_SPACE, Label
from tests.io.world import udp


class Program:
    """A program's end of a flow, and the owner of its top."""

    def __init__(self, world, words):
        self.world = world
        self.pair = DatagramPair(world.loop, socket.AF_INET)
        self.end = self.pair.app.dup()
        self.end.setblocking(False)
        self.pair.given()
        self.told, self.errors, self.offers, self.takes = [], [], [], False
        self.peer = None
        self.graph = world.graph()

        def below(domain, type):
            return world.network.another(self.graph, domain, type)

        plumb = Stack(parse(words)).plumber(self.graph, below, self.graph.flow)
        ctx = Context(
            socket.AF_INET, socket.SOCK_DGRAM, self.graph, None, plumb, flow=self.graph.flow
        )
        self.top = DatagramTop(ctx, self.graph, self.pair, self)
        self.pair.watch.hung_up = self.top._hung_up

    def connect(self, address):
        self.peer = address
        self.top.connect(address)

    def receive(self):
        """The next datagram, and where it is from."""
        found = []

        def more():
            try:
                data, ancillary, _, _ = self.end.recvmsg(70_000, LABEL_SPACE)
            except BlockingIOError:
                return False
            found.append((data, self.pair.label(tuple(ancillary))))
            return True

        self.world.until(more)
        return found[0]

    # ---- DatagramOwner ----

    def uncorked(self, data):
        return data

    def undelivered(self, error):
        self.errors.append(error.errno)

    def offered(self, data, label):
        self.offers.append(data)
        return self.takes

    def arrived(self):
        self.told.append("arrived")

    def may_send(self):
        self.told.append("may_send")

    def left(self):
        self.told.append("left")
        self.pair.close()


@pytest.fixture
def peer():
    with udp() as made:
        yield made


@pytest.fixture
def program(world):
    made = []

    def make(*words):
        made.append(Program(world, words))
        return made[-1]

    yield make
    for each in made:
        each.end.close()
        world.until(lambda each=each: each.pair.closed)
    world.until(lambda: not world.network.open)


def test_both_ways(world, program, peer):
    flow = program("+dummy")
    flow.connect(peer.getsockname())
    for data in (b"one", b"", b"three"):
        flow.end.send(data)
    world.turn()
    received = [peer.recvfrom(100) for _ in range(3)]
    assert [data for data, _ in received] == [b"one", b"", b"three"]
    for data, source in received:
        peer.sendto(data, source)
    label = Label(peer.getsockname())
    assert [flow.receive() for _ in range(3)] == [(b"one", label), (b"", label), (b"three", label)]


def test_with_addresses(world, program, peer):
    flow = program("+dummy")
    flow.top.bind(("127.0.0.1", 0))
    with udp() as second:
        for each in (peer, second, peer):
            each.sendto(b"hello", flow.top.getsockname())
            assert flow.receive() == (b"hello", Label(each.getsockname()))
        flow.top.write(b"back", second.getsockname())
        assert second.recv(10) == b"back"


def test_one_that_is_waited_for_is_not_put_into_the_pair(world, program, peer):
    flow = program("+dummy")
    flow.top.bind(("127.0.0.1", 0))
    flow.takes = True
    peer.sendto(b"taken", flow.top.getsockname())
    world.until(lambda: flow.offers)
    flow.takes = False
    peer.sendto(b"through", flow.top.getsockname())
    assert flow.receive() == (b"through", Label(peer.getsockname()))
    assert flow.offers == [b"taken", b"through"] and flow.told == ["arrived"]


def test_what_was_sent_before_it_closed_still_goes(world, program, peer):
    flow = program("+dummy")
    flow.connect(peer.getsockname())
    flow.end.send(b"last")
    flow.end.send(b"")
    flow.end.close()
    world.until(lambda: flow.told == ["left"])
    assert (peer.recv(10), peer.recv(10)) == (b"last", b"")


def test_an_error_of_one_does_not_end_the_flow(world, program, peer):
    flow = program("+dummy")
    with udp() as gone:
        address = gone.getsockname()
    flow.connect(address)
    flow.end.send(b"lost")
    world.until(lambda: flow.errors)
    flow.connect(peer.getsockname())
    flow.end.send(b"found")
    world.turn()
    assert peer.recv(10) == b"found" and flow.errors == [errno.ECONNREFUSED]


def test_a_program_that_does_not_read_is_given_so_much(world, program, peer):
    """Then we ask for a stop, and the kernel drops; what it has been given comes in order."""
    flow = program("+dummy")
    flow.top.bind(("127.0.0.1", 0))
    sent = 0
    while flow.top._may_avail:
        for _ in range(5):  # as many as the kernel has room for
            peer.sendto(sent.to_bytes(4, "big") + bytes(9996), flow.top.getsockname())
            sent += 1
        world.turn(2)
        assert sent < 2000
    assert FULL < flow.top._queued < FULL + 400_000
    first = [int.from_bytes(flow.receive()[0][:4], "big") for _ in range(100)]
    assert first == list(range(100))
    world.until(lambda: _drained(flow))
    assert flow.top._may_avail


def _drained(flow):
    try:
        while True:
            flow.end.recv(4)
    except BlockingIOError:
        return not flow.top._queued


def test_told_to_stop_it_leaves_what_the_program_sends_in_the_pair(world, program, peer):
    flow = program("+dummy")
    flow.connect(peer.getsockname())
    flow.top.may_write(flow.top.below, False)
    flow.end.send(b"x")
    world.turn()
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(10)
    flow.top.may_write(flow.top.below, True)
    world.turn()
    assert peer.recv(10) == b"x" and flow.told == ["may_send"]


def test_the_ends_of_its_directions(world, program, peer):
    flow = program("+dummy")
    flow.connect(peer.getsockname())
    flow.end.send(b"before")
    flow.top.shutdown(False, True)
    assert peer.recv(10) == b"before"
    with pytest.raises(BrokenPipeError):
        flow.end.send(b"x")
    flow.top.shutdown(True, False)
    assert flow.end.recv(10) == b"" and flow.told == ["arrived"]
    flow.end.close()
    world.until(lambda: "left" in flow.told)


def test_a_handler_that_raises_ends_the_flow(world, program, peer):
    flow = program("+fixtures.handlers:Raises")
    flow.connect(peer.getsockname())
    flow.end.send(b"x")
    world.until(lambda: flow.errors)
    assert flow.errors == [errno.ECONNABORTED]
    assert sum("RuntimeError: as it was told to" in line for line in world.log) == 1
    flow.end.send(b"dropped")
    world.turn()


def test_waking_is_nothing_to_read_for_whoever_asks_whence(world, program):
    flow = program("+dummy")
    flow.top.wake()
    data, label = flow.receive()
    assert (data, label.origin, flow.told) == (b"", None, ["arrived"])
