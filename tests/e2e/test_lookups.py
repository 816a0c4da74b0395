"""Real resolvers, each natively and under a proxy: the name server hears of them natively only."""

import contextlib
import dataclasses
import re
import shutil
import sys

import pytest

from fixtures.peers.http_proxy import HttpProxy
from fixtures.peers.name_server import NameServer
from tests.e2e.apart import apart
from tests.e2e.conftest import BUILDS
from tests.e2e.peers import HELLO, microsocks
from tests.e2e.process import TESLA_TRACE, run

NAME = "named.test"

URLLIB = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode(), end='')"
NODE = """\
const get = (url, more) => require("http").get(url, more, r => r.pipe(process.stdout));
const url = new URL(process.argv[2]);
if (process.argv[1] == "libc") get(url, {});
else require("dns").resolve4(url.hostname, (error, [found]) => get(url, {host: found}));
"""

CLIENTS = {
    "curl": ["curl", "--silent", "--show-error", "--noproxy", "*"],
    "curl -6": ["curl", "--silent", "--show-error", "--noproxy", "*", "-6"],
    "wget": ["wget", "--quiet", "--no-proxy", "-O", "-"],
    "busybox": ["busybox", "wget", "-q", "-Y", "off", "-O", "-"],
    "urllib": [sys.executable, "-c", URLLIB],
    "node": ["node", "-e", NODE, "libc"],
    "c-ares": ["node", "-e", NODE, "c-ares"],
}
BUILT = {
    "getaddrinfo": ["lookup"],
    "connected": ["resolver", "connected"],
    "unconnected": ["resolver", "unconnected"],
    "tcp": ["resolver", "tcp"],
}
IPV6_ONLY = ("curl -6",)
"""Clients for which the recording name server, which gives IPv4 only, finds nothing."""


@pytest.fixture
def name_server():
    try:
        server = NameServer()
    except PermissionError:
        pytest.skip("needs to listen on port 53")
    with server:
        yield server


@pytest.fixture
def asks(name_server, tmp_path):
    """Run a command that finds the name server in /etc/resolv.conf."""
    (tmp_path / "resolv.conf").write_text(f"nameserver {name_server.host}\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files dns\n")
    prepare = "\n".join(
        f"mount --bind {tmp_path}/{name} /etc/{name}" for name in ("resolv.conf", "nsswitch.conf")
    )

    def ask(*words, handlers=()):
        name_server.asked.clear()
        if not handlers:
            return run(*apart(prepare, *words))
        log = tmp_path / "log"
        ran = run(*apart(prepare, TESLA_TRACE, "--log", log, *handlers, *words))
        return dataclasses.replace(ran, log=log.read_text().splitlines())

    return ask


@pytest.fixture(params=["socks", "http"])
def proxied(request, tmp_path):
    """The words that lead through a proxy which knows the name, and what it was asked for."""
    with contextlib.ExitStack() as stack:
        if request.param == "socks":
            if shutil.which("microsocks") is None:
                pytest.skip("needs microsocks")
            proxy = stack.enter_context(microsocks(tmp_path, hosts=f"127.0.0.1 {NAME}\n"))
            yield [f"+socks=127.0.0.1:{proxy.port}"], lambda: proxy.log
        else:
            proxy = stack.enter_context(HttpProxy())
            proxy.hosts[NAME] = "127.0.0.1"
            yield [f"+http=127.0.0.1:{proxy.port}"], lambda: "\n".join(proxy.asked)


def check(asks, name_server, proxied, web, words, only_traced=False):
    native = asks(*words)
    assert NAME in name_server.asked, "it asks someone else"
    if not only_traced:
        assert (native.status, native.out.endswith(HELLO.decode())) == (0, True), native
    handlers, log = proxied
    traced = asks(*words, handlers=handlers)
    assert (traced.status, traced.err) == (0, ""), traced
    assert traced.out.endswith(HELLO.decode()) and name_server.asked == []
    assert f"{NAME}:{web.port}" in log()


@pytest.mark.parametrize(
    "client",
    [pytest.param(name, marks=pytest.mark.needs(words[0])) for name, words in CLIENTS.items()],
)
def test_of_a_program(client, asks, name_server, proxied, web):
    words = [*CLIENTS[client], f"http://{NAME}:{web.port}/hello"]
    check(asks, name_server, proxied, web, words, only_traced=client in IPV6_ONLY)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("program", BUILT)
def test_of_a_libc(program, build, built, asks, name_server, proxied, web):
    fixture, *words = BUILT[program]
    path = built.path(fixture, build)
    check(asks, name_server, proxied, web, [path, *words, NAME, web.port, "/hello"])


@pytest.mark.needs("curl", "microsocks")
def test_of_a_program_that_is_to_look_up_itself(asks, name_server, proxy, web):
    """The name server is asked, and the proxy is told a number."""
    handlers = [f"+socks=127.0.0.1:{proxy.port}", "-dns=local", "-loopback"]
    words = [*CLIENTS["curl"], f"http://{NAME}:{web.port}/hello"]
    ran = asks(*words, handlers=handlers)
    assert (ran.status, ran.out) == (0, HELLO.decode()), ran
    assert NAME in name_server.asked
    assert f"connected to 127.0.0.1:{web.port}" in proxy.log and NAME not in proxy.log


@pytest.mark.needs("curl")
def test_that_would_have_leaked_are_told(asks, name_server, web):
    with HttpProxy() as proxy:
        proxy.hosts[NAME] = "127.0.0.1"
        handlers = [f"+http=127.0.0.1:{proxy.port}", "-dns=leak-check"]
        words = [*CLIENTS["curl"], f"http://{NAME}:{web.port}/hello"]
        ran = asks(*words, handlers=handlers)
    assert (ran.status, ran.out) == (0, HELLO.decode()), ran
    assert name_server.asked == []
    told = rf"[0-9] curl\[[0-9]+\]: looks up {NAME} of {name_server.host}:53"
    assert any(re.search(told, line) for line in ran.log)
