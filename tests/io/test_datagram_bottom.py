"""The network's end of a graph of datagrams, against real sockets."""

import errno
import socket
import struct

import pytest

from tesla_trace.io.datagram import Reported, ancillary_of, with_ancillary
from tesla_trace.io.datagram_bottom import KEPT
from tests.io.world import udp

IP_PKTINFO, IP_RECVERR, IP_RECVTTL = 8, 11, 12


@pytest.fixture
def peer():
    with udp() as made:
        yield made


@pytest.fixture
def flow(world):
    """A handler above, and a bottom."""
    above, bottom = world.datagrams()
    yield above, bottom
    bottom.abort()
    assert bottom not in world.network.open


def nobody():
    """An address where nobody is."""
    with udp() as made:
        return made.getsockname()


def test_each_way_with_addresses(world, flow, peer):
    above, bottom = flow
    assert bottom.write(b"one", peer.getsockname()) and bottom.write(b"", peer.getsockname())
    data, source = peer.recvfrom(10)
    assert (data, peer.recv(10)) == (b"one", b"")
    for answer in (b"two", b"", b"three"):
        peer.sendto(answer, source)
    world.until(lambda: len(above.datagrams) == 3)
    origin = peer.getsockname()
    assert above.datagrams == [(b"two", origin), (b"", origin), (b"three", origin)]


def test_a_peer_may_be_chosen_again(world, flow, peer):
    above, bottom = flow
    with udp() as second:
        for each in (second, peer):
            bottom.connect(each.getsockname())
            bottom.write(b"hello")
            assert each.recv(10) == b"hello"
            assert bottom.getpeername() == each.getsockname()
        world.turn()
        assert above.told == [("connected", None)] * 2


@pytest.mark.parametrize("call", ["connect", "write"])
def test_names_are_not_looked_up(flow, call):
    _, bottom = flow
    with pytest.raises(OSError) as error:
        bottom.connect(("localhost", 9)) if call == "connect" else bottom.write(b"", ("a", 9))
    assert error.value.errno == errno.EHOSTUNREACH


def test_v4_mapped_addresses(world, peer):
    above, bottom = world.datagrams(socket.AF_INET6)
    bottom.write(b"plain", peer.getsockname())
    assert peer.recv(10) == b"plain"
    bottom.write(b"mapped", ("::ffff:127.0.0.1", peer.getsockname()[1], 0, 0))
    data, source = peer.recvfrom(10)
    peer.sendto(data, source)
    world.until(lambda: above.datagrams)
    assert above.datagrams == [(b"mapped", ("::ffff:127.0.0.1", peer.getsockname()[1], 0, 0))]
    bottom.close()


def test_what_did_not_get_there_is_told_and_the_flow_goes_on(world, flow, peer):
    above, bottom = flow
    bottom.connect(nobody())
    bottom.write(b"lost")
    world.until(lambda: [each for each in above.told if isinstance(each, OSError)])
    assert [each.errno for each in above.told if isinstance(each, OSError)] == [errno.ECONNREFUSED]
    bottom.write(b"again", peer.getsockname())
    assert peer.recv(10) == b"again"


def test_one_that_cannot_be_sent_is_an_error_of_that_one(flow, peer):
    _, bottom = flow
    with pytest.raises(OSError) as error:
        bottom.write(bytes(65508), peer.getsockname())
    assert error.value.errno == errno.EMSGSIZE
    assert bottom.write(bytes(65507), peer.getsockname())
    assert len(peer.recv(70_000)) == 65507


def test_the_error_queue_is_emptied_where_it_is_asked_for(world, flow):
    above, bottom = flow
    bottom.setsockopt(socket.IPPROTO_IP, IP_RECVERR, b"\1\0\0\0")
    target = nobody()
    bottom.write(b"lost", target)
    world.until(lambda: [each for each in above.told if isinstance(each, Reported)])
    (report,) = (each for each in above.told if isinstance(each, Reported))
    assert (report.data, report.to, report.errno) == (b"lost", target, errno.ECONNREFUSED)
    assert [each[:2] for each in report.ancillary] == [(socket.IPPROTO_IP, IP_RECVERR)]
    assert not world.loop.epoll.poll(0)  # nothing is left that would wake us for ever


def test_control_messages_come_and_go_with_a_datagram(world, flow, peer):
    above, bottom = flow
    bottom.bind(("127.0.0.1", 0))
    bottom.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, b"\1\0\0\0")
    peer.sendto(b"x", bottom.getsockname())
    world.until(lambda: above.datagrams)
    (((level, kind, _),), data) = ancillary_of(above.datagrams[0][0]), above.datagrams[0][0]
    assert (level, kind, data) == (socket.IPPROTO_IP, socket.IP_TTL, b"x")
    picked = struct.pack("=I4s4s", 0, socket.inet_aton("127.0.0.7"), bytes(4))
    above.told.clear()
    _, other = world.datagrams()
    other.write(
        with_ancillary(b"from", ((socket.IPPROTO_IP, IP_PKTINFO, picked),)), peer.getsockname()
    )
    data, source = peer.recvfrom(10)
    assert (data, source[0]) == (b"from", "127.0.0.7")
    other.close()


def test_told_to_stop_it_leaves_what_comes_with_the_kernel(world, flow, peer):
    above, bottom = flow
    bottom.bind(("127.0.0.1", 0))
    bottom.may_avail(False)
    peer.sendto(b"x", bottom.getsockname())
    world.turn()
    assert not above.datagrams
    bottom.may_avail(True)
    world.until(lambda: above.datagrams)


def test_stopped_by_one_it_hands_up_no_other(world, flow, peer):
    above, bottom = flow
    bottom.bind(("127.0.0.1", 0))
    above.avail = lambda source, data, origin=None: bottom.may_avail(False) or above.got_it(data)
    got = []
    above.got_it = lambda data: got.append(data) or True
    for data in (b"one", b"two"):
        peer.sendto(data, bottom.getsockname())
    world.turn()
    assert got == [b"one"]


class Full:
    """A socket with no room."""

    def __init__(self, real):
        self.real, self.full = real, True

    def __getattr__(self, name):
        return getattr(self.real, name)

    def sendto(self, *args):
        if self.full:
            raise BlockingIOError
        return self.real.sendto(*args)


def test_what_the_kernel_has_no_room_for_waits_in_order(world, flow, peer):
    above, bottom = flow
    bottom.real = real = Full(bottom.real)
    count = KEPT + 10
    for number in range(count):
        assert bottom.write(b"%d" % number, peer.getsockname())
    world.loop.turn(0)
    assert above.told == [("may_write", False)]
    bottom.close()
    assert bottom in world.network.open, "what was written is still sent"
    real.full = False
    world.until(lambda: bottom not in world.network.open)
    assert [peer.recv(10) for _ in range(count)] == [b"%d" % number for number in range(count)]


def test_with_room_again_it_says_so(world, flow, peer):
    above, bottom = flow
    bottom.real = real = Full(bottom.real)
    for _ in range(KEPT + 1):
        bottom.write(b"x", peer.getsockname())
    world.loop.turn(0)
    real.full = False
    world.until(lambda: above.told == [("may_write", False), ("may_write", True)])


def test_aborted_it_sends_nothing_more(world, flow, peer):
    _, bottom = flow
    bottom.real = Full(bottom.real)
    bottom.write(b"x", peer.getsockname())
    bottom.abort()
    world.turn()
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(1)


def test_after_the_end_of_the_way_out(flow, peer):
    _, bottom = flow
    bottom.connect(peer.getsockname())
    bottom.shutdown(False, True)
    assert bottom.write(b"x") is False and bottom.write(b"x", peer.getsockname()) is False


def test_without_peer_and_address(flow):
    _, bottom = flow
    with pytest.raises(OSError) as error:
        bottom.write(b"x")
    assert error.value.errno == errno.EDESTADDRREQ


def test_closed_in_the_middle_of_a_batch(world, flow, peer):
    above, bottom = flow
    bottom.bind(("127.0.0.1", 0))
    for data in (b"one", b"two"):
        peer.sendto(data, bottom.getsockname())
    got = []
    above.avail = lambda source, data, origin=None: bottom.close() or got.append(data) or True
    world.turn()
    assert got == [b"one"]
