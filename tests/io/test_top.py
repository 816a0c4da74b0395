"""A whole flow, from the program's end of the pair to a peer on the network."""

import errno
import socket

import pytest

from tesla_trace.io.datapath import Datapath
from tests.io.world import tcp

MIB = 2**20


ASIDE = "+fixtures.handlers:Aside"

WAYS = {
    "handlers": (Datapath.HANDLERS, "+dummy"),
    "splice": (Datapath.SPLICE, ASIDE),
    "auto": (Datapath.AUTO, "+fixtures.handlers:AsideOnceConnected"),
}
"""How bytes go, and the handlers that let them."""


@pytest.fixture(params=WAYS)
def peers(world, request):
    """A flow under handlers, or such as let its bytes go each way, and its peer."""
    made = []
    datapath, usual = WAYS[request.param]
    world.allow(datapath)

    def make(*words):
        words = words or (usual,)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            application = world.flow(*words)
            application.connect(listener.getsockname())
            assert application.told == [("connected", None)]
            peer, _ = listener.accept()
            peer.settimeout(5)
            made.append((application, peer))
            return made[-1]

    yield make
    for application, peer in made:
        application.end.close()
        peer.close()
        world.until(lambda application=application: application.told[1:])


def test_both_ways(world, peers):
    application, peer = peers()
    application.end.send(b"question")
    world.turn()
    assert peer.recv(100) == b"question"
    peer.sendall(b"answer")
    assert application.receive(6) == b"answer"


def test_the_program_ends_its_direction(world, peers):
    application, peer = peers()
    application.end.send(b"last")
    application.end.shutdown(socket.SHUT_WR)
    world.turn()
    assert peer.recv(100) == b"last" and peer.recv(1) == b""
    peer.sendall(b"still here")
    assert application.receive(10) == b"still here"
    peer.close()
    assert application.receive(1) == b""


def test_the_peer_ends_its_direction(world, peers):
    application, peer = peers()
    peer.sendall(b"last")
    peer.shutdown(socket.SHUT_WR)
    assert application.receive(100) == b"last"
    application.end.send(b"still here")
    world.turn()
    assert peer.recv(100) == b"still here"


def test_the_program_closes(world, peers):
    application, peer = peers()
    application.end.send(b"last")
    application.end.close()
    world.until(lambda: "left" in application.told)
    assert peer.recv(100) == b"last" and peer.recv(1) == b""


def test_the_program_closes_with_something_unread(world, peers):
    application, peer = peers()
    peer.sendall(b"nobody reads this")
    world.until(lambda: _readable(application))
    application.end.close()
    world.until(lambda: "left" in application.told)
    with pytest.raises(ConnectionResetError):
        peer.recv(1)


def _readable(application):
    try:
        return application.end.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False


def test_the_peer_resets(world, peers):
    application, peer = peers()
    peer.sendall(b"last words")
    world.until(lambda: _readable(application))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    world.until(lambda: "lost" in application.told)
    assert application.end.recv(100) == b"last words"
    with pytest.raises(ConnectionResetError):
        application.end.recv(1)


@pytest.mark.parametrize("words", [["+dummy"], ["+dummy", "+dummy", "+dummy"], ["+shape"], [ASIDE]])
def test_we_hold_little_of_what_the_program_writes(world, peers, words):
    """At most 1 MiB in this direction, however slow the peer: the rest waits in the kernel."""
    application, peer = peers(*words)
    taken = application.sends_no_more()
    (bottom,) = application.graph.bottoms
    held = bottom.outlet.queued
    assert 0 < held <= MIB
    assert taken > held
    received = 0
    peer.setblocking(False)

    def drained():
        nonlocal received
        try:
            received += len(peer.recv(MIB))
        except BlockingIOError:
            pass
        return received == taken

    world.until(drained)


@pytest.mark.parametrize("words", [["+dummy"], ["+dummy", "+dummy", "+dummy"], [ASIDE]])
def test_we_hold_little_of_what_the_peer_sends(world, peers, words):
    application, peer = peers(*words)
    peer.setblocking(False)
    sent = calm = 0
    while calm < 50:
        try:
            sent += peer.send(bytes(64 * 1024))
            calm = 0
        except BlockingIOError:
            calm += 1
            world.loop.turn(0.001)
    assert 0 < application.top.outlet.queued <= MIB
    assert len(application.receive(sent)) == sent


def test_connect_refused(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    application = world.flow("+dummy")
    application.connect(address)
    assert application.told == [("connected", "ECONNREFUSED")]
    application.top.abort()
    application.pair.close()
    application.end.close()


def test_a_handler_that_raises_ends_the_flow(world, peers):
    application, peer = peers("+fixtures.handlers:Raises")
    application.end.send(b"x")
    world.until(lambda: "lost" in application.told)
    with pytest.raises(ConnectionResetError):
        application.end.recv(1)
    with pytest.raises(ConnectionResetError):
        peer.recv(1)
    assert sum("RuntimeError: as it was told to" in line for line in world.log) == 1


def test_a_flow_that_crashes_says_so_once(world):
    graph = world.graph()
    first, second = graph.crash(RuntimeError("one")), graph.crash(RuntimeError("two"))
    assert first.errno == second.errno == errno.ECONNABORTED
    assert sum("RuntimeError" in line for line in world.log) == 1


def test_draining(world):
    """`drain` tells when the last bottom has gone."""
    real, peer = tcp()
    _, bottom = world.bottom(real)
    told = []
    bottom.write(bytes(2**23))
    bottom.close()
    world.network.drain(lambda: told.append("done"))
    world.turn()
    assert told == []
    peer.setblocking(False)

    def drained():
        try:
            peer.recv(MIB)
        except BlockingIOError:
            pass
        return told

    world.until(drained)
    peer.close()
