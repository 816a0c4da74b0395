"""Real programs that send datagrams, through real proxies and through handlers."""

import os
import sys

import pytest

from fixtures.peers.socks_server import SocksServer
from tests.e2e.datagrams import dante, echo
from tests.e2e.process import eventually, run, under

BLOCKING = """\
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
    flow.settimeout(10)
    for word in (b"one", b"", b"three"):
        flow.sendto(word, ("127.0.0.1", int(sys.argv[1])))
        print(flow.recvfrom(100))
    print(flow.getsockname()[1] > 0)
"""
CONNECTED = """\
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
    flow.settimeout(10)
    flow.connect(("127.0.0.1", int(sys.argv[1])))
    for word in (b"one", b"two", b"x" * 60000):
        flow.send(word)
        print(flow.recv(65536))
    print(flow.getpeername())
"""
ASYNCIO = """\
import asyncio, sys
class Client(asyncio.DatagramProtocol):
    def __init__(self): self.got = asyncio.Queue()
    def datagram_received(self, data, source): self.got.put_nowait((data, source))
    def error_received(self, error): print(error)
async def main(port):
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(Client, local_addr=("127.0.0.1", 0))
    other, second = await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", port))
    for word in (b"one", b"two"):
        transport.sendto(word, ("127.0.0.1", port))
        print(await asyncio.wait_for(client.got.get(), 10))
        other.sendto(word)
        print(await asyncio.wait_for(second.got.get(), 10))
    transport.close()
    other.close()
asyncio.run(main(int(sys.argv[1])))
"""
NODE = """\
const flow = require("dgram").createSocket("udp4"), words = ["one", "two"];
flow.on("message", (data, from) => {
    console.log(`${data} ${from.address} ${from.size}`);
    words.length ? flow.send(words.shift(), process.argv[1]) : flow.close();
});
flow.send("zero", process.argv[1]);
"""
MANY = """\
import select, socket, sys
flows = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
poll = select.epoll()
for number, flow in enumerate(flows):
    flow.setblocking(False)
    poll.register(flow, select.EPOLLIN)
    flow.sendto(b"flow %d" % number, ("127.0.0.1", int(sys.argv[1])))
waiting = {flow.fileno(): flow for flow in flows}
while waiting:
    ready = poll.poll(10)
    assert ready, len(waiting)
    for fd, _ in ready:
        if flow := waiting.pop(fd, None):
            assert flow.recv(100) == b"FLOW %d" % flows.index(flow)
            flow.close()
print("all")
"""

CLIENTS = {
    "blocking": [sys.executable, "-c", BLOCKING],
    "connected": [sys.executable, "-c", CONNECTED],
    "asyncio": [sys.executable, "-c", ASYNCIO],
    "node": ["node", "-e", NODE],
    "many sockets": [sys.executable, "-c", MANY],
}
each_client = pytest.mark.parametrize(
    "client",
    [pytest.param(words, marks=pytest.mark.needs(words[0]), id=n) for n, words in CLIENTS.items()],
)
needs_dante = [
    pytest.mark.needs("danted"),
    pytest.mark.skipif(os.geteuid() != 0, reason="danted needs root"),
]


def with_dante(test):
    for mark in needs_dante:
        test = mark(test)
    return test


@pytest.fixture
def origin():
    with echo() as server:
        yield server


@pytest.fixture
def proxy(tmp_path):
    with dante(tmp_path / "near") as server:
        yield server


def through(proxy, *options):
    return [f"+socks=127.0.0.1:{proxy.port}", "-loopback", *options]


@pytest.mark.parametrize(
    "handlers",
    [["+log", "+dummy"], ["+latency=20ms"], ["+shape", "-out=1MB"], ["+log", "-data", "+socks"]],
    ids=["dummy", "latency", "shape", "socks, direct"],
)
@each_client
def test_same_as_natively(client, handlers, origin):
    native = run(*client, origin.port)
    assert native.status == 0 and native.out, native
    traced = under(handlers, *client, origin.port)
    assert traced == native


@with_dante
@each_client
def test_through_dante(client, origin, proxy):
    native = run(*client, origin.port)
    before = len(origin.heard)
    traced = under(through(proxy), *client, origin.port)
    assert traced == native
    # The positive control: each flow had a relay, whence all came.
    sources = {source for _, source in origin.heard[before:]}
    assert len(sources) == proxy.associated > 0
    assert len(origin.heard) == 2 * before


@with_dante
def test_dante_wants_no_stranger(origin, tmp_path):
    with dante(tmp_path / "near", method="username") as proxy:
        ran = under(through(proxy), *CLIENTS["blocking"], origin.port)
    assert "PermissionError" in ran.err and not origin.heard
    assert any(f"127.0.0.1:{proxy.port}" in line and "login" in line for line in ran.log), ran.log


@with_dante
def test_two_proxies_in_a_row(origin, proxy, tmp_path):
    """The first named is nearest the program: its talk and its relay are the second's to reach."""
    with dante(tmp_path / "far") as far:
        ran = under(through(proxy) + through(far), *CLIENTS["blocking"], origin.port)
        assert (ran.status, ran.err) == (0, ""), ran
        assert far.associated == proxy.associated == 1
        assert f"127.0.0.1.{proxy.port}" in far.log  # the talk with the first


@with_dante
@pytest.mark.needs("socat")
def test_a_program_that_sends_and_goes(origin, proxy):
    """What it sent still gets there, though the proxy had to be asked first."""
    ran = under(through(proxy), "socat", "-u", "-", f"UDP:127.0.0.1:{origin.port}", given="hello")
    assert ran.status == 0, ran
    eventually("it is heard", lambda: [data for data, _ in origin.heard] == [b"hello"])


@with_dante
def test_an_ipv6_relay_for_an_ipv4_socket(origin, tmp_path):
    """What the program has bound itself to is no business of the relay either."""
    code = BLOCKING.replace("flow.settimeout", 'flow.bind(("127.0.0.9", 0)); flow.settimeout')
    with dante(tmp_path / "near", inside="::1") as proxy:
        words = [f"+socks=[::1]:{proxy.port}", "-loopback"]
        ran = under(words, sys.executable, "-c", code, origin.port)
        assert (ran.status, ran.err) == (0, ""), (ran, proxy.log)
        assert proxy.associated == 1


@pytest.mark.parametrize(
    "handlers",
    [["+http", "-loopback"], ["+socks", "-loopback", "-version=4"], ["+crypt"]],
    ids=lambda words: words[0],
)
def test_refused(handlers, origin, key):
    if handlers == ["+crypt"]:
        handlers = [*handlers, f"-key={key}"]
    ran = under(handlers, *CLIENTS["blocking"], origin.port)
    assert ran.err.splitlines()[-1] == "OSError: [Errno 101] Network is unreachable", ran
    assert not origin.heard and any(f"127.0.0.1:{origin.port}" in line for line in ran.log)


def test_a_proxy_without_relays(origin):
    with SocksServer() as proxy:
        ran = under(through(proxy), *CLIENTS["blocking"], origin.port)
    assert ran.status == 1 and not origin.heard


# ---- to many at once ----

MANY_AT_ONCE = """\
import socket, struct
GROUP = "239.1.2.3"
hearer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
hearer.settimeout(5)
hearer.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
hearer.bind(("", 0))
port = hearer.getsockname()[1]
here = socket.inet_aton("127.0.0.1")
hearer.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + here)
speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
print(speaker.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP))
try:
    speaker.sendto(b"to all", (GROUP, port))
    print(hearer.recvfrom(100)[0])
except OSError as error:
    print(error)
hearer.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, socket.inet_aton(GROUP) + here)
try:
    hearer.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, socket.inet_aton(GROUP) + here)
except OSError as error:
    print(error)
for allowed in (0, 1):
    speaker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, allowed)
    try:
        print(speaker.sendto(b"broadcast", ("127.255.255.255", port)))
        print(hearer.recvfrom(100)[0])
    except OSError as error:
        print(error)
"""


def test_multicast_and_broadcast():
    words = [sys.executable, "-c", MANY_AT_ONCE]
    native = run(*words)
    assert "b'to all'" in native.out and "b'broadcast'" in native.out, native
    assert under(["+dummy"], *words) == native
    refused = under(["+socks", "-loopback"], *words)
    assert "[Errno 101] Network is unreachable" in refused.out and "to all" not in refused.out
    assert any("no proxy leads to many at once" in line for line in refused.log)
