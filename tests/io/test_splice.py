"""Flows whose handlers have stepped aside: the kernel moves the bytes, and nothing else changes."""

import random
import select
import socket

import pytest

from tesla_trace.flow import FlowHandler
from tesla_trace.io.datapath import Datapath
from tesla_trace.io.loop import READ
from tesla_trace.io.urgent import prepare, take
from tests.io.world import NOISE

ASIDE = "+fixtures.handlers:Aside"
MIB = 2**20
DATA = random.Random(2).randbytes(4 * MIB)


class AsideWhenFull(FlowHandler):
    """Step aside when the network takes no more: something waits behind us then."""

    name = "aside-when-full"

    def may_write(self, source, may):
        if not self.aside:
            self.step_aside()
        super().may_write(source, may)


class Flow:
    """A program and a peer, which write and read as the loop turns."""

    def __init__(self, world, words):
        self.world = world
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.application = world.flow(*words)
            self.application.connect(listener.getsockname())
            self.peer, _ = listener.accept()
        self.end = self.application.end
        self.peer.setblocking(False)
        self.top = self.application.top
        (self.bottom,) = self.application.graph.bottoms

    def crosses(self, source, sink, data):
        """Write all of it at one end and read it at the other."""
        got, sent = bytearray(), 0

        def done():
            nonlocal sent
            try:
                sent += source.send(data[sent : sent + 300_000])
            except BlockingIOError:
                pass
            self.read(sink, got)
            return len(got) == len(data)

        self.world.until(done)
        assert got == data

    def read(self, sink, got):
        """What there is by now; False at the end."""
        try:
            piece = sink.recv(MIB)
        except BlockingIOError:
            return True
        got.extend(piece)
        return bool(piece)

    def until_stuck(self, source):
        """Write until nothing more is taken; what it was."""
        sent, calm = bytearray(), 0
        while calm < 30:
            try:
                sent += DATA[len(sent) % MIB :][: source.send(DATA[len(sent) % MIB :][:65536])]
                calm = 0
            except BlockingIOError:
                calm += 1
                self.world.loop.turn(0.001)
        return sent

    def rest(self, sink):
        """All up to the end."""
        got = bytearray()
        self.world.until(lambda: not self.read(sink, got))
        return got


@pytest.fixture
def spliced(world):
    """Makes such flows; what the kernel has moved is `world.network.pipes.moved`."""
    flows = []

    def make(*words, datapath=Datapath.SPLICE):
        world.allow(datapath)
        flows.append(Flow(world, words or (ASIDE,)))
        return flows[-1]

    yield make
    for flow in flows:
        flow.end.close()
        flow.peer.close()
        world.until(lambda flow=flow: flow.application.told[1:])
        for bottom in list(flow.application.graph.bottoms):
            bottom.abort()


def holds_none(world):
    pipes = world.network.pipes
    return 0 < pipes.made == len(pipes.idle)


def test_all_bytes_are_moved_by_the_kernel(world, spliced):
    flow = spliced()
    flow.crosses(flow.end, flow.peer, DATA)
    assert world.network.pipes.moved == flow.application.graph.flow.out == len(DATA)
    flow.crosses(flow.peer, flow.end, DATA)
    assert world.network.pipes.moved == 2 * len(DATA)
    assert flow.application.graph.flow.into == len(DATA)
    assert flow.bottom.moved == 2 * len(DATA)
    assert flow.application.deliveries > 0
    assert flow.application.graph.flow.datapath == "spliced"
    assert holds_none(world)


@pytest.mark.parametrize("words", [["+dummy"], [ASIDE, "+dummy"], ["+dummy", ASIDE]])
def test_none_are_while_a_handler_is_between(world, spliced, words):
    flow = spliced(*words)
    flow.crosses(flow.end, flow.peer, DATA)
    flow.crosses(flow.peer, flow.end, DATA)
    assert world.network.pipes.moved == 0
    assert flow.application.graph.flow.datapath == "handlers"


def test_none_are_where_they_may_not(world, spliced):
    flow = spliced(datapath=Datapath.HANDLERS)
    flow.crosses(flow.end, flow.peer, DATA)
    assert world.network.pipes.moved == 0


def test_where_we_may_choose_we_copy_little_and_splice_much(world, spliced):
    flow = spliced(datapath=Datapath.AUTO)
    for _ in range(20):
        flow.crosses(flow.end, flow.peer, b"a word")
        flow.crosses(flow.peer, flow.end, b"another")
    assert world.network.pipes.moved == 0
    flow.crosses(flow.end, flow.peer, DATA)
    assert world.network.pipes.moved > len(DATA) // 2
    world.turn()
    before = world.network.pipes.moved
    flow.crosses(flow.end, flow.peer, b"a word")  # perhaps
    for _ in range(20):
        flow.crosses(flow.end, flow.peer, b"a word")
    assert world.network.pipes.moved <= before + 6


def test_from_the_middle_of_a_flow_on(world, spliced):
    """What waits when the last handler steps aside comes first, and is not spliced."""
    flow = spliced("+tests.io.test_splice:AsideWhenFull")
    sent = flow.until_stuck(flow.end)
    assert flow.bottom.outlet.queued > 0 and world.network.pipes.moved == 0
    got = bytearray()
    world.until(lambda: flow.read(flow.peer, got) and len(got) == len(sent))
    assert got == sent
    flow.crosses(flow.end, flow.peer, DATA)
    assert world.network.pipes.moved > 0


@pytest.mark.parametrize("out", [True, False])
def test_a_sink_that_is_full_stops_the_source(world, spliced, out):
    flow = spliced()
    source, sink = (flow.end, flow.peer) if out else (flow.peer, flow.end)
    outlet, watch = (
        (flow.bottom.outlet, flow.top._watch) if out else (flow.top.outlet, flow.bottom._watch)
    )
    sent = flow.until_stuck(source)
    assert 0 < outlet.queued <= MIB + 2**18
    assert not watch.wants(READ)
    got = bytearray()
    world.until(lambda: flow.read(sink, got) and len(got) == len(sent))
    assert got == sent
    assert outlet.queued == 0 and watch.wants(READ) and holds_none(world)


def test_a_small_socket_stops_it_early(world, spliced):
    flow = spliced()
    flow.application.pair.full = 4096
    sent = flow.until_stuck(flow.peer)
    assert 4096 < flow.top.outlet.queued and not flow.bottom._watch.wants(READ)
    got = bytearray()
    world.until(lambda: flow.read(flow.end, got) and len(got) == len(sent))
    assert got == sent


@pytest.mark.parametrize("out", [True, False])
@pytest.mark.parametrize("how", ["close", "shutdown"])
def test_the_end_comes_behind_what_is_in_the_pipe(world, spliced, out, how):
    flow = spliced()
    source, sink = (flow.end, flow.peer) if out else (flow.peer, flow.end)
    sent = flow.until_stuck(source)
    outlet = flow.bottom.outlet if out else flow.top.outlet
    assert outlet.queued > 0
    source.close() if how == "close" else source.shutdown(socket.SHUT_WR)
    world.turn()
    assert flow.rest(sink) == sent
    if how == "shutdown":
        flow.crosses(sink, source, b"still here")


def test_the_peer_resets_with_something_in_the_pipe(world, spliced):
    flow = spliced()
    sent = flow.until_stuck(flow.peer)
    flow.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    flow.peer.close()
    got = bytearray()
    with pytest.raises(ConnectionResetError):
        world.until(lambda: not flow.read(flow.end, got))
    assert sent.startswith(got) and len(got) > 0


def test_the_program_closes_with_something_in_the_pipe_for_it(world, spliced):
    flow = spliced()
    flow.until_stuck(flow.peer)
    assert flow.top.outlet.queued > 0
    flow.end.close()
    world.until(lambda: "left" in flow.application.told)
    assert holds_none(world) or world.network.pipes.made == 0
    with pytest.raises(ConnectionResetError):
        flow.read(flow.peer, bytearray())


def test_the_peer_has_gone(world, spliced):
    """The first that is written is answered by a reset; from then on nothing can be."""
    flow = spliced()
    flow.crosses(flow.end, flow.peer, b"hello")
    flow.peer.close()
    flow.end.send(b"x")
    world.until(lambda: "lost" in flow.application.told)
    with pytest.raises(ConnectionResetError):
        flow.end.recv(1)


def test_the_program_reads_no_more(world, spliced):
    flow = spliced()
    flow.end.shutdown(socket.SHUT_RD)
    flow.peer.send(NOISE)
    world.until(lambda: not flow.bottom._watch.wants(READ))
    flow.crosses(flow.end, flow.peer, b"but it writes")


@pytest.mark.parametrize("out", [True, False])
@pytest.mark.parametrize("first", [b"", b"abc", DATA])
def test_an_urgent_byte_keeps_its_place(world, spliced, out, first):
    flow = spliced()
    source, sink = (flow.end, flow.peer) if out else (flow.peer, flow.end)
    prepare(sink)
    flow.crosses(source, sink, first)
    source.send(b"right before")
    source.send(b"!", socket.MSG_OOB)
    source.send(b"and after")
    poll = select.poll()
    poll.register(sink, select.POLLPRI)
    world.until(lambda: poll.poll(0))
    got = bytearray()
    world.until(lambda: flow.read(sink, got) and len(got) == 12)
    assert got == b"right before" and take(sink) == b"!"
    world.until(lambda: flow.read(sink, got) and len(got) == 21)
    assert got[12:] == b"and after"
    flow.crosses(source, sink, DATA)


@pytest.mark.parametrize("end", [b"", b"and after"])
def test_an_urgent_byte_right_before_the_end(world, spliced, end):
    """Where splice(2) would say that the end has come."""
    flow = spliced()
    prepare(flow.end)
    flow.peer.send(b"!", socket.MSG_OOB)
    flow.peer.send(end)
    flow.peer.close()
    assert flow.rest(flow.end) == b"!" + end


def test_more_flows_than_pipes(world, spliced):
    """Who finds none is served as if there were no such thing."""
    first = spliced()
    pipes = world.network.pipes
    taken = []
    while pipe := pipes.take():
        taken.append(pipe)
    first.crosses(first.end, first.peer, DATA)
    assert pipes.moved == 0
    for pipe in taken:
        pipe.let_go()
    first.crosses(first.end, first.peer, DATA)
    assert pipes.moved > 0
