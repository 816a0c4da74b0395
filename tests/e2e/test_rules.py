"""Rules: which handlers the flows of real programs go through."""

import contextlib
import json
import socket
import sys

import pytest

from fixtures.peers.http_proxy import HttpProxy
from fixtures.peers.ports import free_port
from tesla_trace.cli.words import DATAPATHS
from tests.e2e.datagrams import echo
from tests.e2e.peers import HELLO, answers, origin
from tests.e2e.process import TESLA_TRACE, run, start, under
from tests.e2e.rungs import ways

CURL = ["curl", "--silent", "--show-error", "--noproxy", "*"]


@pytest.fixture
def other():
    """One more web server."""
    with origin() as server:
        yield server


def through(proxy, *options):
    """Through the proxy, to loopback too."""
    return [f"+socks=127.0.0.1:{proxy.port}", "-loopback", *options]


@pytest.mark.needs("curl", "microsocks")
@pytest.mark.parametrize("way", DATAPATHS)
@pytest.mark.parametrize("form", ["for", "except"])
def test_one_port_through_a_proxy_and_another_directly(web, other, proxy, form, way, tmp_path):
    port = web.port if form == "for" else other.port
    words = through(proxy, f"-{form}=port {port} and tcp")
    ours = [f"--datapath={way}", "--report", tmp_path / "report"]
    ran = under(words, *CURL, web.url(), other.url(), ours=ours)
    assert (ran.status, ran.out, ran.err) == (0, 2 * HELLO.decode(), "")
    assert f":{web.port}" in proxy.log and f":{other.port}" not in proxy.log
    assert (ways(tmp_path / "report") == {"handed back"}) is (way == "auto")


RULES = """\
include = "more/*.toml"

[[rule]]
match = "program wget"
skip = ["socks", "log"]
"""
INCLUDED = """\
[[rule]]
match = "port {port}"
use = "log"
skip = "socks"
"""


@pytest.fixture
def rules(tmp_path, other):
    """A file, and one that it includes."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more/ports.toml").write_text(INCLUDED.format(port=other.port))
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


@pytest.mark.needs("curl", "wget", "microsocks")
def test_a_file_and_what_it_includes(web, other, proxy, rules):
    """One program starts two others, of which each is judged by its own name."""
    shell = f"curl -s --noproxy '*' {web.url('/1')}; wget -qO- --no-proxy {web.url('/2')}"
    shell += f"; wget -qO- --no-proxy {other.url('/3')}; curl -s --noproxy '*' {other.url('/4')}"
    words = ["+log", *through(proxy)]
    ran = under(words, "sh", "-c", shell, ours=["--rules", rules])
    assert (ran.status, ran.out, ran.err) == (0, 4 * HELLO.decode(), ""), ran
    assert proxy.log.count(f":{web.port}") == 1 and f":{other.port}" not in proxy.log
    logged = [line.split()[-1] for line in ran.log if " connecting to " in line]
    programs = [line.split()[2].partition("[")[0] for line in ran.log if " connecting to " in line]
    there = [f"127.0.0.1:{port}" for port in (web.port, other.port, other.port)]
    assert logged == there and programs == ["curl", "wget", "curl"]


@pytest.mark.needs("curl", "microsocks")
def test_what_is_explained_is_what_happens(web, other, proxy, rules):
    for server, program in ((web, "curl"), (other, "curl"), (web, "wget")):
        words = [*through(proxy), "--rules", rules, "--explain"]
        ran = run(TESLA_TRACE, "+log", *words, f"127.0.0.1:{server.port}", "program", program)
        used = server is web and program == "curl"
        assert ("+socks  used" in ran.out) is used, ran.out
    assert answers(proxy.port) and ":" not in proxy.log.partition("connected to")[2], "nothing ran"


@pytest.mark.needs("curl")
def test_a_name_past_the_proxy_is_looked_up_here(web):
    """And one that goes through it is not."""
    with HttpProxy() as proxy:
        words = [f"+http=127.0.0.1:{proxy.port}", "-loopback", "-except=host ip6-*,local*.test"]
        here = socket.gethostname()
        named = under([*words[:2], f"-except=host {here}"], sys.executable, "-c", LOOK_UP, here)
        ran = under(words, sys.executable, "-c", LOOK_UP, "elsewhere.test", RES_OPTIONS="use-vc")
    assert "elsewhere.test" in str(proxy.asked), ran
    assert here not in str(proxy.asked) and named.out == "ConnectionRefusedError\n", named


LOOK_UP = """\
import socket, sys
import dns.message, dns.query
answer = dns.query.tcp(dns.message.make_query(sys.argv[1], "A"), "192.0.2.53", timeout=10)
try:
    socket.create_connection((str(answer.answer[0][0]), 1), 10)
except OSError as wrong:
    print(type(wrong).__name__)
"""


def test_the_program_is_the_process_whatever_its_threads_are_called(web):
    code = f"""\
import ctypes, socket, threading
def connect():
    ctypes.CDLL(None).prctl(15, b"another", 0, 0, 0)
    socket.create_connection(("127.0.0.1", {web.port})).close()
thread = threading.Thread(target=connect)
thread.start()
thread.join()
"""
    ran = under(["+log", "-for=program python*"], sys.executable, "-c", code)
    assert any(" connected in " in line for line in ran.log), ran
    assert under(["+log", "-for=program another"], sys.executable, "-c", code).log == []


# ---- what is accepted ----

LISTENERS = """\
import socket, sys
listeners = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[1:]]
print("ready", flush=True)
for listener in listeners:
    for _ in range(2):
        flow, peer = listener.accept()
        data = flow.recv(100)
        flow.sendall(data.upper())
        flow.close()
"""


def two_ports():
    """Two that nobody uses now, and not twice the same."""
    one = free_port()
    while (other := free_port()) == one:
        pass
    return one, other


def ask(port, source):
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as flow:
        flow.sendall(b"hello")
        return flow.recv(100)


@pytest.mark.parametrize("way", DATAPATHS)
def test_accepted_flows_by_the_port_and_by_the_peer(tmp_path, way):
    ports, log, report = two_ports(), tmp_path / "log", tmp_path / "report"
    words = ["--log", log, "--report", report, f"--datapath={way}"]
    words += ["+log", f"-for=in and port {ports[0]} and not net 127.0.0.2/32"]
    with start(TESLA_TRACE, *words, sys.executable, "-c", LISTENERS, *ports) as server:
        server.until("ready")
        for port in ports:
            assert [ask(port, f"127.0.0.{host}") for host in (2, 3)] == [b"HELLO"] * 2
        assert server.wait() == 0
    accepted = [line for line in log.read_text().splitlines() if " accepted from " in line]
    assert len(accepted) == 1 and " accepted from 127.0.0.3:" in accepted[0]
    flows = json.loads(report.read_text())["flows"]
    assert sum(flow["accepted"] for flow in flows) == 4
    assert [flow["outcome"] for flow in flows if flow["accepted"]] == ["closed"] * 4


INHERITED = """\
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as listener:
    print("ready", flush=True)
    for _ in range(2):
        with listener.accept()[0] as flow:
            flow.sendall(flow.recv(100).upper())
"""


def test_what_is_accepted_on_a_listener_that_was_there_before(tmp_path):
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd, port = listener.fileno(), listener.getsockname()[1]
        words = ["--log", log, "+log", f"-for=port {port} and net 127.0.0.3/32"]
        with start(TESLA_TRACE, *words, sys.executable, "-c", INHERITED, fd, fds=[fd]) as server:
            server.until("ready")
            assert [ask(port, f"127.0.0.{host}") for host in (2, 3)] == [b"HELLO"] * 2
            assert server.wait() == 0
    accepted = [line for line in log.read_text().splitlines() if " accepted from " in line]
    assert len(accepted) == 1 and " accepted from 127.0.0.3:" in accepted[0]


@pytest.mark.needs("redis-server", "redis-cli")
def test_encrypted_on_one_port_on_both_sides(tmp_path):
    """And what has no key is refused there, while another port is open to it."""
    key, ports = tmp_path / "key", two_ports()
    assert run(TESLA_TRACE, "--keygen", key).status == 0
    words = ["+crypt", f"-key={key}", f"-for=port {ports[0]}"]
    with contextlib.ExitStack() as stack:
        serve = [TESLA_TRACE, "--log", tmp_path / "log", *words]
        for port in ports:
            command = ("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "")
            server = stack.enter_context(start(*serve, *command, "--daemonize", "no"))
            server.until("eady to accept connections")
        for port in ports:
            ping = ["redis-cli", "-p", port, "ping"]
            assert under(words, *ping).out == "PONG\n"
            assert (run(*ping).out == "PONG\n") is (port == ports[1])


# ---- datagrams ----

SEND = """\
import errno, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
    flow.settimeout(10)
    if sys.argv[3:]:
        flow.bind(("127.0.0.1", 0))
    for port in map(int, sys.argv[1:3]):
        try:
            flow.sendto(b"hello", ("127.0.0.1", port))
            print(flow.recvfrom(100)[0])
        except OSError as wrong:
            print(errno.errorcode[wrong.errno])
"""


@pytest.mark.parametrize("bind", [[], ["bind"]])
def test_datagrams_that_an_encryption_is_for_are_refused_and_no_others(tmp_path, bind):
    key = tmp_path / "key"
    assert run(TESLA_TRACE, "--keygen", key).status == 0
    with echo() as free, echo() as secret:
        words = ["+crypt", f"-key={key}", f"-for=port {secret.port}"]
        ran = under(words, sys.executable, "-c", SEND, free.port, secret.port, *bind)
    assert ran.out.splitlines() == ["b'HELLO'", "ENETUNREACH"], ran


def test_datagrams_past_a_proxy_go_nowhere_that_it_is_for(proxy):
    with echo() as free, echo() as other:
        words = through(proxy, f"-except=udp and port {free.port}")
        ran = under(words, sys.executable, "-c", SEND, free.port, other.port)
    assert ran.out.splitlines() == ["b'HELLO'", "ENETUNREACH"], ran
    assert any("+socks is for what goes to 127.0.0.1:" in line for line in ran.log)


def test_a_datagram_server_by_its_port():
    port = free_port()
    code = """\
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
    flow.bind(("127.0.0.1", int(sys.argv[1])))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", flow.getsockname())
        flow.sendto(b"y", flow.recvfrom(9)[1])
        print(client.recv(9))
"""
    ran = under(["+log", f"-for=in and port {port}"], sys.executable, "-c", code, port)
    assert ran.out == "b'y'\n" and {line.split()[1] for line in ran.log} == {"1"}, ran.log
