"""Names are looked up at the proxy, and nowhere else."""

import errno
import os
import sys

import pytest

from fixtures.peers.http_proxy import HttpProxy
from tests.e2e.apart import apart
from tests.e2e.datagrams import dante, echo
from tests.e2e.peers import HELLO, microsocks
from tests.e2e.process import TESLA_TRACE, run, under

NAME = "named.test"

LOOK_UP = """\
import socket, sys
import dns.message, dns.query
name, port = sys.argv[1], int(sys.argv[2])
answer = dns.query.tcp(dns.message.make_query(name, "A"), "192.0.2.53", timeout=10)
host = str(answer.answer[0][0])
print(host.rpartition(".")[0].rpartition(".")[0] in ("198.18", "198.19"))
flow = socket.create_connection((host, port), 10)
print(flow.getpeername() == (host, port))
flow.sendall(b"GET /hello HTTP/1.0\\r\\n\\r\\n")
print(b"".join(iter(lambda: flow.recv(4096), b"")).decode().partition("\\r\\n\\r\\n")[2], end="")
"""

BY_TCP = {"RES_OPTIONS": "use-vc"}
"""Makes glibc ask by TCP (resolv.conf(5))."""

CURL = ["curl", "--silent", "--show-error", "--noproxy", "*"]


@pytest.fixture
def knowing(tmp_path):
    """A microsocks that knows `NAME`, from a hosts file that nobody else sees."""
    with microsocks(tmp_path, hosts=f"127.0.0.1 {NAME}\n") as server:
        yield server


def through(proxy, *options):
    return [f"+socks=127.0.0.1:{proxy.port}", *options]


@pytest.mark.needs("microsocks", "unshare")
def test_a_name_looked_up_by_tcp_is_reached_through_the_proxy(knowing, web):
    ran = under(through(knowing), sys.executable, "-c", LOOK_UP, NAME, web.port)
    assert (ran.status, ran.out) == (0, "True\nTrue\n" + HELLO.decode()), ran
    assert f"connected to {NAME}:{web.port}" in knowing.log


GET = """\
import socket, sys
family, kind, protocol, _, address = socket.getaddrinfo(
    sys.argv[1], sys.argv[2], getattr(socket, sys.argv[3]), socket.SOCK_STREAM
)[0]
flow = socket.socket(family, kind, protocol)
flow.connect(address)
flow.sendall(b"GET /hello HTTP/1.0\\r\\n\\r\\n")
print(b"".join(iter(lambda: flow.recv(4096), b"")).decode().partition("\\r\\n\\r\\n")[2], end="")
"""


@pytest.mark.needs("microsocks", "unshare")
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNSPEC"])
def test_so_is_one_that_libc_looks_up(knowing, web, family):
    """By IPv6 too, though the proxy and the server have none."""
    words = ["+log", *through(knowing)]
    ran = under(words, sys.executable, "-c", GET, NAME, web.port, family, **BY_TCP)
    assert (ran.status, ran.out, ran.err) == (0, HELLO.decode(), ""), ran
    assert f"connected to {NAME}:{web.port}" in knowing.log
    assert any(f"connecting to {NAME}:{web.port}" in line for line in ran.log)
    assert not any("198.1" in line or "fd1d:" in line for line in ran.log)


@pytest.mark.needs("curl")
def test_a_name_that_the_proxy_does_not_find(web):
    with HttpProxy() as proxy:
        handlers = [f"+http=127.0.0.1:{proxy.port}"]
        ran = under(handlers, *CURL, f"http://none.test:{web.port}/hello", **BY_TCP)
    assert ran.status == 7 and proxy.asked[0].startswith(f"none.test:{web.port}: ")
    assert f"connect to none.test:{web.port}: " in "\n".join(ran.log)


@pytest.mark.needs("curl")
def test_who_looks_up_what_is_logged(web):
    with HttpProxy() as proxy:
        handlers = [f"+http=127.0.0.1:{proxy.port}", "-dns=leak-check"]
        ran = under(handlers, *CURL, f"http://localhost.test:{web.port}/", **BY_TCP)
    lines = [line for line in ran.log if "looks up localhost.test of " in line]
    assert lines and all(line.endswith(":53") and "curl[" in line for line in lines), ran


DATAGRAMS = """\
import socket, sys
for family in (socket.AF_INET, socket.AF_INET6):
    ((*_, there),) = socket.getaddrinfo(sys.argv[1], sys.argv[2], family, socket.SOCK_DGRAM)
    with socket.socket(family, socket.SOCK_DGRAM) as flow:
        flow.settimeout(10)
        flow.sendto(b"one", there)
        data, origin = flow.recvfrom(100)
        print(data, origin == there)
        flow.connect(there)
        flow.send(b"two")
        data, origin = flow.recvfrom(100)
        print(data, origin == there, flow.getpeername() == there)
"""


@pytest.mark.needs("danted", "unshare")
@pytest.mark.skipif(os.geteuid() != 0, reason="danted needs root")
def test_datagrams_go_to_a_name_and_come_back_from_its_number(tmp_path):
    with (
        echo() as origin,
        dante(tmp_path / "dante", hosts=f"127.0.0.1 {NAME}\n") as proxy,
    ):
        ran = under(through(proxy), sys.executable, "-c", DATAGRAMS, NAME, origin.port)
    assert ran.out.splitlines() == ["b'ONE' True", "b'TWO' True True"] * 2, (ran, proxy.log)
    assert len(origin.heard) == 4


QUICK = """\
import socket, statistics, time
import dns.message
query = dns.message.make_query("named.test", "A").to_wire()
took = []
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
    flow.settimeout(10)
    flow.connect(("192.0.2.53", 53))
    for _ in range(200):
        began = time.monotonic()
        flow.send(query)
        assert flow.recv(512)[:2] == query[:2]
        took.append(time.monotonic() - began)
print(statistics.median(took))
"""


def test_an_answer_takes_a_moment():
    """0.4 ms on two busy processors; the limit is for slower machines."""
    ran = under(["+socks=127.0.0.1:9"], sys.executable, "-c", QUICK)
    assert ran.status == 0 and float(ran.out) < 0.01, ran


UNKNOWN = """\
import os, socket
try:
    socket.create_connection(("198.18.7.7", 80), 10)
except OSError as error:
    print(os.strerror(error.errno))
"""


def test_a_number_that_was_not_looked_up_is_nowhere():
    ran = under(["+socks=127.0.0.1:9"], sys.executable, "-c", UNKNOWN)
    assert ran.out == os.strerror(errno.EHOSTUNREACH) + "\n"
    assert "198.18.7.7:80" in ran.log[0] and "nobody looked up a name" in ran.log[0]


CACHE = """\
import os, socket, subprocess, sys
path = "/run/nscd/socket"
os.makedirs(os.path.dirname(path))
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(path)
    listener.listen()
    subprocess.run(sys.argv[1:])
"""
ASK = """\
import os, socket
with socket.socket(socket.AF_UNIX) as flow:
    print(os.strerror(flow.connect_ex("/run/nscd/socket")))
"""


@pytest.mark.parametrize(
    ("handlers", "outcome"),
    [
        ([], 0),
        (["+dummy"], 0),
        (["+socks=127.0.0.1:9"], errno.ENOENT),
        (["+socks=127.0.0.1:9", "-dns=local"], 0),
    ],
)
def test_a_cache_of_names_is_not_there(handlers, outcome):
    """Of a program under a proxy; others find the one that listens in a /run made for this."""
    words = [*([TESLA_TRACE] if handlers else []), *handlers, sys.executable, "-c", ASK]
    ran = run(*apart("mount -t tmpfs none /run", sys.executable, "-c", CACHE, *words))
    assert (ran.out, ran.err) == (os.strerror(outcome) + "\n", "")
