"""Real programs that know nothing of proxies, through proxies that write down what they did."""

import sys

import pytest

from fixtures.peers.http_proxy import HttpProxy
from fixtures.peers.socks_server import SocksServer
from tests.e2e.peers import BIG, HELLO, LONG, microsocks, redis
from tests.e2e.process import run, under
from tests.e2e.rungs import RUNGS, each_rung, ways

URLLIB = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode(), end='')"
ASYNCIO = """\
import asyncio, sys
async def main(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /{path} HTTP/1.0\\r\\n\\r\\n".encode())
    print((await reader.read()).decode().partition("\\r\\n\\r\\n")[2], end="")
    writer.close()
port, _, path = sys.argv[1].split(":")[2].partition("/")
asyncio.run(main(int(port), path))
"""
NODE = """\
require("http").get(process.argv[1], r => r.on("data", d => process.stdout.write(d)))
"""

CLIENTS = {
    "curl": ["curl", "--silent", "--show-error", "--noproxy", "*"],
    "wget": ["wget", "--quiet", "--no-proxy", "-O", "-"],
    "busybox": ["busybox", "wget", "-q", "-Y", "off", "-O", "-"],
    "urllib": [sys.executable, "-c", URLLIB],
    "asyncio": [sys.executable, "-c", ASYNCIO],
    "node": ["node", "-e", NODE],
}
each_client = pytest.mark.parametrize(
    "client",
    [pytest.param(words, marks=pytest.mark.needs(words[0]), id=n) for n, words in CLIENTS.items()],
)


def socks(proxy, *options):
    return [f"+socks=127.0.0.1:{proxy.port}", "-loopback", *options]


@pytest.mark.needs("microsocks")
@each_client
def test_through_microsocks(client, proxy, web):
    ran = under(socks(proxy), *client, web.url())
    assert (ran.status, ran.out, ran.err) == (0, HELLO.decode(), "")
    assert f"connected to 127.0.0.1:{web.port}" in proxy.log


@each_client
def test_under_dummy(client, web):
    native = run(*client, web.url())
    assert native.out == HELLO.decode()
    traced = under(["+log", "+dummy"], *client, web.url())
    assert traced == native
    assert any(f"connecting to 127.0.0.1:{web.port}" in line for line in traced.log)


@each_rung
@each_client
def test_much_on_every_rung(client, rung, web, tmp_path):
    report = tmp_path / "report"
    traced = under(RUNGS[rung], *client, web.url("/long"), ours=["--report", report])
    assert traced == run(*client, web.url("/long")) and traced.out == LONG.decode()
    assert ways(report) == {rung}


@pytest.mark.needs("microsocks")
@pytest.mark.parametrize("build", ["glibc", "glibc-static", "musl-static"])
def test_a_static_binary_through_microsocks(built, build, proxy, web):
    ran = under(socks(proxy), built.path("get", build), "127.0.0.1", web.port, "/hello")
    assert ran.status == 0 and ran.out.endswith(HELLO.decode())
    assert f"connected to 127.0.0.1:{web.port}" in proxy.log


@pytest.mark.needs("microsocks", "redis-server", "redis-benchmark")
def test_many_connections_through_microsocks(proxy):
    with redis() as port:
        words = ["-p", port, "-c", 20, "-n", 2000, "-t", "ping_inline,set,get", "--csv"]
        ran = under(socks(proxy), "redis-benchmark", *words)
    assert ran.status == 0, ran
    assert len(ran.out.splitlines()) == 4
    assert proxy.log.count(f"connected to 127.0.0.1:{port}") >= 60


@pytest.mark.needs("microsocks", "curl")
def test_much_data(proxy, web, tmp_path):
    file = tmp_path / "big"
    ran = under(socks(proxy), "curl", "-s", "--noproxy", "*", "-o", file, web.url("/big"))
    assert ran.status == 0 and file.read_bytes() == BIG


@pytest.mark.needs("microsocks", "curl")
def test_loopback_goes_direct_unless_told_otherwise(proxy, web):
    before = proxy.log
    words = CLIENTS["curl"]
    ran = under([f"+socks=127.0.0.1:{proxy.port}"], *words, web.url())
    assert ran.out == HELLO.decode()
    assert "connected to" not in proxy.log.removeprefix(before)


@pytest.mark.needs("microsocks", "curl")
def test_two_proxies_in_a_row(proxy, web, tmp_path):
    """The first named is nearest the program, so it is reached through the second."""
    (tmp_path / "second").mkdir()
    with microsocks(tmp_path / "second") as second:
        handlers = socks(proxy) + socks(second)
        ran = under(handlers, *CLIENTS["curl"], web.url())
        assert ran.out == HELLO.decode()
        assert f"connected to 127.0.0.1:{proxy.port}" in second.log
    assert f"connected to 127.0.0.1:{web.port}" in proxy.log


@pytest.mark.needs("microsocks", "curl")
def test_password(web, tmp_path):
    password = tmp_path / "password"
    password.write_text("se cret\n")
    with microsocks(tmp_path, "-u", "me", "-P", "se cret") as proxy:
        handlers = socks(proxy, "-user=me", f"-password-file={password}")
        assert under(handlers, *CLIENTS["curl"], web.url()).out == HELLO.decode()
        assert f"connected to 127.0.0.1:{web.port}" in proxy.log


@pytest.mark.needs("curl")
@pytest.mark.parametrize("version", ["4", "4a", "5"])
def test_versions(version, web):
    with SocksServer() as proxy:
        ran = under(socks(proxy, f"-version={version}"), *CLIENTS["curl"], web.url())
        assert ran.out == HELLO.decode()
    assert proxy.asked == [f"{version[0]} 127.0.0.1:{web.port}: connected"]


@pytest.mark.needs("curl")
@pytest.mark.parametrize("login", ["", "me:secret"])
def test_http_proxy(login, web, tmp_path):
    options = []
    if login:
        (tmp_path / "password").write_text("secret")
        options = ["-user=me", f"-password-file={tmp_path}/password"]
    with HttpProxy(login) as proxy:
        handlers = [f"+http=127.0.0.1:{proxy.port}", "-loopback", *options]
        ran = under(handlers, *CLIENTS["curl"], web.url())
        assert ran.out == HELLO.decode()
    assert proxy.asked == [f"127.0.0.1:{web.port}: connected"]


@pytest.mark.needs("curl")
def test_a_proxy_of_the_other_kind_in_between(web):
    with SocksServer() as near, HttpProxy() as far:
        handlers = socks(near) + [f"+http=127.0.0.1:{far.port}", "-loopback"]
        ran = under(handlers, *CLIENTS["curl"], web.url())
        assert ran.out == HELLO.decode()
    assert near.asked == [f"5 127.0.0.1:{web.port}: connected"]
    assert far.asked == [f"127.0.0.1:{near.port}: connected"]
