"""Real programs that send datagrams, through real proxies and through handlers."""

import contextlib
import os
import signal
import socket
import sys

import pytest

from fixtures.peers.socks_server import SocksServer
from tests.e2e.backends import each_back_end
from tests.e2e.datagrams import dante, echo
from tests.e2e.process import TESLA_TRACE, eventually, run, start, supervisor_of, under
from tests.io.world import udp

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
@each_back_end
@each_client
def test_through_dante(client, origin, proxy, trap):
    native = run(*client, origin.port)
    before = len(origin.heard)
    traced = under(through(proxy), *client, origin.port, ours=trap)
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


TO_MANY = """\
import socket
for host in ("224.0.0.251", "255.255.255.255"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaker:
        speaker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            speaker.sendto(b"x", (host, 9999))
        except OSError as error:
            print(error)
"""


def test_multicast_and_broadcast():
    words = [sys.executable, "-c", MANY_AT_ONCE]
    native = run(*words)
    assert "b'to all'" in native.out and "b'broadcast'" in native.out, native
    assert under(["+dummy"], *words) == native
    refused = under(["+socks", "-loopback"], *words)
    assert "[Errno 19] No such device" in refused.err, "to join is to send a packet past the proxy"
    sent = under(["+socks", "-loopback"], sys.executable, "-c", TO_MANY)
    assert sent.out == "[Errno 101] Network is unreachable\n" * 2, sent
    assert any("no proxy leads to many at once" in line for line in sent.log)


# ---- servers ----

SERVER = """\
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 0))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
    print(server.getsockname()[1], flush=True)
    while True:
        data, source = server.recvfrom(100)
        if data == b"end":
            break
        server.sendto(b"%d %s" % (source[1], data), source)
"""
ASYNCIO_SERVER = """\
import asyncio
class Server(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, source):
        if data == b"end": done.set_result(None)
        else: self.transport.sendto(b"%d %s" % (source[1], data), source)
async def main():
    global done
    done = asyncio.get_running_loop().create_future()
    made = asyncio.get_running_loop().create_datagram_endpoint(
        Server, local_addr=("127.0.0.1", 0))
    transport, _ = await made
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.wait_for(done, 60)
asyncio.run(main())
"""
NODE_SERVER = """\
const server = require("dgram").createSocket("udp4");
server.on("message", (data, from) => {
    if (`${data}` == "end") server.close();
    else server.send(`${from.port} ${data}`, from.port, from.address);
});
server.bind(0, "127.0.0.1", () => console.log(server.address().port));
"""
SERVERS = {
    "blocking": [sys.executable, "-c", SERVER],
    "asyncio": [sys.executable, "-c", ASYNCIO_SERVER],
    "node": ["node", "-e", NODE_SERVER],  # which takes them by recvmmsg(2)
}
SOURCES = 500
"""More than we keep labels for."""


@pytest.mark.parametrize(
    "words",
    [pytest.param(words, marks=pytest.mark.needs(words[0]), id=n) for n, words in SERVERS.items()],
)
def test_a_server_of_many_sources(words):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(start(TESLA_TRACE, "+dummy", *words))
        there = ("127.0.0.1", int(server.until("\n")))
        sources = [stack.enter_context(udp()) for _ in range(SOURCES)]
        for turn in range(2):
            for few in range(0, SOURCES, 50):  # as many as its buffer has room for
                for source in sources[few : few + 50]:
                    for number in range(2):
                        source.sendto(b"%d %d" % (turn, number), there)
                for source in sources[few : few + 50]:
                    port = source.getsockname()[1]
                    for number in range(2):
                        answer = b"%d %d %d" % (port, turn, number)
                        assert source.recvfrom(100) == (answer, there)
        sources[0].sendto(b"end", there)
        assert server.wait() == 0


# ---- how much ----


def flood(built, receiver, sender, count, rate, *how):
    """How many of so many datagrams a second came; and none twice, or overtaken by another."""
    program = built.path("flood", "glibc", "bench")
    with start(*receiver, program, "receive", count, *how) as server:
        port = int(server.until("\n"))
        sent = run(*sender, program, "send", port, count, rate, limit=60)
        assert sent.status == 0 and f"sent {count}" in sent.out, sent
        line = server.until("got")
    words = line.split()
    assert words[4:8] == ["0", "out", "of", "order,"], line
    return int(words[1])


@pytest.mark.parametrize("sender", [[], [TESLA_TRACE, "+dummy"]], ids=["native", "ours"])
def test_a_flood(built, sender):
    """At 20 000 a second none is lost: almost as many fit where they wait for us to have a CPU."""
    assert flood(built, [TESLA_TRACE, "+dummy"], sender, 5000, 20_000) >= 4950


def test_a_receiver_that_asks_whence(built):
    """Each is a trapped call, so that at a rate; bench says at which none is lost."""
    assert flood(built, [TESLA_TRACE, "+dummy"], [], 5000, 2000, "from") >= 4500


# ---- what is left ----

OPENED = """\
import ctypes, socket, sys
port = int(sys.argv[1])
def used():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.sendto(b"x", ("127.0.0.1", port))
        flow.settimeout(10)
        flow.recvfrom(10)
def connected():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.connect(("127.0.0.1", port))
        flow.send(b"x")
def unused():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
def bound():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as flow:
        flow.bind(("::1", 0))
def shut():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.connect(("127.0.0.1", port))
        flow.shutdown(socket.SHUT_RDWR)
def dissolved():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.connect(("127.0.0.1", port))
        ctypes.CDLL(None).connect(flow.fileno(), bytes(16), 16)  # AF_UNSPEC
print("begin", flush=True)
sys.stdin.readline()
for _ in range(200):
    for each in (used, connected, unused, bound, shut, dissolved): each()
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("handlers", [["+dummy"], ["+latency=1ms"], ["+socks"]], ids=str)
def test_no_descriptor_is_left(handlers, origin):
    with start(TESLA_TRACE, *handlers, sys.executable, "-c", OPENED, origin.port) as program:
        program.until("begin")
        supervisor = supervisor_of(program.pid)
        before = open_files(supervisor)
        go(program)
        program.until("done")
        eventually("all are closed", lambda: open_files(supervisor) <= before + 4)
        go(program)
        assert program.wait() == 0


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def go(program):
    program.process.stdin.write(b"\n")
    program.process.stdin.flush()


def test_killed_with_a_receive_that_waits(origin):
    """The port is free at once, and the supervisor goes."""
    code = """\
import os, socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 0))
    print(server.getsockname()[1], os.getpid(), flush=True)
    server.recvfrom(100)
"""
    with start(TESLA_TRACE, "+dummy", sys.executable, "-c", code) as program:
        port, pid = map(int, program.until("\n").split())
        os.kill(pid, signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as next_one:
            next_one.bind(("127.0.0.1", port))
