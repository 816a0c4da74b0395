"""The network's end of a graph, against real sockets."""

import errno
import socket

import pytest

from tesla_trace.io.pair import FULL
from tests.io.world import tcp


@pytest.fixture
def connected(world):
    """A handler above, a bottom, and the peer."""
    real, peer = tcp()
    above, bottom = world.bottom(real)
    bottom.start()
    peer.settimeout(5)
    yield above, bottom, peer
    bottom.abort()
    peer.close()


def test_connect(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        above, bottom = world.bottom()
        bottom.connect(listener.getsockname())
        assert above.told == []
        world.until(lambda: above.told)
        assert above.told == [("connected", None)]
        assert bottom.getpeername() == listener.getsockname()
        peer, name = listener.accept()
        assert bottom.getsockname() == name
        bottom.close()
        assert peer.recv(1) == b""
        peer.close()
    assert world.network.open == set()


def test_connect_to_a_name(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        above, bottom = world.bottom()
        bottom.connect(("localhost", listener.getsockname()[1]))
        world.until(lambda: above.told)
        assert above.told == [("connected", None)]
        bottom.close()


def test_connect_to_nobody(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    above, bottom = world.bottom()
    bottom.connect(address)
    world.until(lambda: above.told)
    assert above.told == [("connected", errno.ECONNREFUSED)]
    bottom.close()


def test_a_name_that_is_not_known(world):
    above, bottom = world.bottom()
    bottom.connect(("nowhere.invalid", 80))
    world.until(lambda: above.told)
    assert above.told == [("connected", errno.EHOSTUNREACH)]
    bottom.close()


def test_closed_while_it_connects(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        above, bottom = world.bottom()
        bottom.connect(listener.getsockname())
        bottom.close()
        world.turn()
        assert above.told == []
    assert world.network.open == set()


def test_accept(world):
    above, bottom = world.bottom()
    bottom.bind(("127.0.0.1", 0))
    bottom.listen(5)
    with socket.create_connection(bottom.getsockname()) as client:
        world.until(lambda: above.told)
        accepted, name = bottom.accept()
        assert name == client.getsockname()
        assert accepted.ctx.flow.accepted and accepted.ctx.flow.target == name
        accepted.close()
        with pytest.raises(BlockingIOError):
            bottom.accept()
        assert client.recv(1) == b""
    bottom.close()


def test_data_and_its_end(world, connected):
    above, bottom, peer = connected
    assert bottom.write(b"hello")
    assert peer.recv(100) == b"hello"
    peer.sendall(b"answer")
    peer.shutdown(socket.SHUT_WR)
    world.until(lambda: above.told)
    assert above.got == b"answer" and above.told == [("ended", None)]
    assert bottom.write(b"more")
    bottom.shutdown(False, True)
    assert not bottom.write(b"too late")
    assert peer.recv(100) == b"more" and peer.recv(1) == b""


def test_data_before_a_reset(world, connected):
    above, bottom, peer = connected
    peer.sendall(b"last words")
    world.until(lambda: above.got)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    world.until(lambda: above.told)
    assert above.got == b"last words" and above.told == [("ended", errno.ECONNRESET)]


def test_who_may_not_read_leaves_it_to_the_kernel(world, connected):
    above, bottom, peer = connected
    bottom.may_avail(False)
    peer.sendall(b"later")
    world.turn()
    assert above.got == b""
    bottom.may_avail(True)
    world.until(lambda: above.got)
    assert above.got == b"later"


def test_who_takes_no_more_is_told_no_more(world, connected):
    above, bottom, peer = connected
    above.takes = False
    peer.sendall(b"once")
    world.until(lambda: above.got)
    peer.sendall(b"again")
    world.turn()
    assert above.got == b"once"


def test_back_pressure(world, connected):
    """Once what waits exceeds FULL a stop is asked for, and ended when half of it has gone."""
    above, bottom, peer = connected
    piece = bytes(64 * 1024)
    written = 0
    while above.told == []:
        bottom.write(piece)
        written += len(piece)
        world.turn(1)
    assert above.told == [("may_write", False)]
    waiting = bottom.outlet.queued
    assert FULL < waiting <= FULL + 2 * len(piece)
    received = 0
    peer.setblocking(False)

    def drained():
        nonlocal received
        try:
            received += len(peer.recv(2**20))
        except BlockingIOError:
            pass
        return received == written

    world.until(drained)
    assert above.told == [("may_write", False), ("may_write", True)]


@pytest.mark.parametrize("how", ["close", "shutdown"])
def test_what_was_written_goes_out_before_the_end(world, connected, how):
    above, bottom, peer = connected
    data = bytes(range(256)) * 4096 * 8
    assert bottom.write(data)
    bottom.close() if how == "close" else bottom.shutdown(False, True)
    received = bytearray()
    peer.setblocking(False)

    def over():
        try:
            piece = peer.recv(2**20)
        except BlockingIOError:
            return False
        received.extend(piece)
        return not piece

    world.until(over)
    assert received == data
    if how == "close":
        assert world.network.open == set() and above.told == []


def test_abort_throws_away(world, connected):
    above, bottom, peer = connected
    bottom.write(bytes(2**24))
    bottom.abort()
    with pytest.raises(ConnectionResetError):
        while peer.recv(2**20):
            pass
    assert world.network.open == set()


def test_writing_to_one_who_has_gone(world, connected):
    above, bottom, peer = connected
    peer.close()
    world.until(lambda: above.told)
    assert above.told == [("ended", None)]
    bottom.write(b"x")  # answered by a reset
    world.until(lambda: not bottom.write(b"x"))


def test_options(world, connected):
    _, bottom, _ = connected
    level, option = socket.SOL_SOCKET, socket.SO_KEEPALIVE
    assert bottom.getsockopt(level, option, 4) == bytes(4)
    bottom.setsockopt(level, option, b"\1\0\0\0")
    assert bottom.getsockopt(level, option, 4) == b"\1\0\0\0"
    assert bottom.getsockopt(level, option, 1) == b"\1"
    assert bottom.getsockopt(level, option, 100) == b"\1\0\0\0"
    with pytest.raises(OSError) as wrong:
        bottom.getsockopt(level, 999, 4)
    assert wrong.value.errno == errno.ENOPROTOOPT
