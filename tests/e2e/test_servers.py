"""Real servers under us, asked by real clients that are not."""

import contextlib
import functools
import signal
import socket
import sys
import urllib.request

import pytest

from fixtures.peers.ports import free_port
from tests.e2e.backends import BACK_ENDS
from tests.e2e.peers import answers, redis
from tests.e2e.plain import let_in
from tests.e2e.process import TESLA_TRACE, eventually, run, start
from tests.e2e.rungs import RUNGS, each_rung, ways

PAGE = "a page\n"

NGINX = """\
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    sendfile on; tcp_nopush on;
    server {{ listen 127.0.0.1:{port} {listen}; root {folder}; }}
}}
"""


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture(params=[*BACK_ENDS.values()], ids=[*BACK_ENDS])
def traced(log, request):
    """The words that put a program under us."""
    return [TESLA_TRACE, *request.param, "--log", log, "+log", "+dummy"]


def get(port, path="page"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return answer.read()


@contextlib.contextmanager
def nginx(traced, folder, listen="", get=get):
    """Nginx under us: a port that it serves `folder` on."""
    let_in(folder)  # its workers are nobody
    port = free_port()
    (folder / "conf").write_text(NGINX.format(folder=folder, port=port, listen=listen))
    (folder / "page").write_text(PAGE)
    (folder / "big").write_bytes(bytes(range(256)) * 4096 * 4)
    with start(*traced, "nginx", "-p", folder, "-c", folder / "conf") as server:
        eventually("nginx answers", functools.partial(answers, port))
        get(port)  # it listens before it has workers, and before it handles signals
        yield port, server


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("listen", ["", "reuseport", "deferred"])
def test_nginx(traced, tmp_path, log, listen):
    with nginx(traced, tmp_path, listen) as (port, server):
        for _ in range(20):
            assert get(port) == PAGE.encode()
        assert get(port, "big") == (tmp_path / "big").read_bytes()
        server.send(signal.SIGQUIT)  # to tesla_trace, so to the master: a graceful end
        assert server.wait() == 0
    assert log.read_text().count("accepted from") >= 21
    assert (tmp_path / "access.log").read_text().count('"GET /page') == 21


@each_rung
@pytest.mark.needs("nginx")
def test_nginx_on_every_rung(rung, tmp_path):
    report = tmp_path / "report"
    words = [TESLA_TRACE, "--wait", "--report", report, *RUNGS[rung]]
    with nginx(words, tmp_path) as (port, server):
        for _ in range(5):
            assert get(port) == PAGE.encode()
            assert get(port, "big") == (tmp_path / "big").read_bytes()
        server.send(signal.SIGQUIT)
        assert server.wait() == 0
    assert rung in ways(report)
    assert rung == "spliced" or ways(report) == {rung}


@pytest.mark.needs("nginx")
def test_nginx_reloads(traced, tmp_path):
    with nginx(traced, tmp_path) as (port, server):
        server.send(signal.SIGHUP)
        for _ in range(20):
            assert get(port) == PAGE.encode()
        server.send(signal.SIGTERM)
        assert server.wait() == 0


@pytest.mark.needs("redis-server", "redis-benchmark")
def test_redis(traced, log):
    with redis(*traced) as port:
        ran = run("redis-benchmark", "-p", port, "-c", 20, "-n", 2000, "-t", "set,get", "--csv")
        assert ran.status == 0 and len(ran.out.splitlines()) == 3, ran
    assert log.read_text().count("accepted from") >= 40


@pytest.mark.needs("curl")
def test_http_server_of_python(traced, tmp_path, log):
    (tmp_path / "page").write_text(PAGE)
    words = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with start(*traced, *words, "--directory", tmp_path) as server:
        port = server.until("Serving HTTP on").split("port ")[1].split()[0]
        ran = run("curl", "-s", "--noproxy", "*", f"http://127.0.0.1:{port}/page")
        assert ran.out == PAGE
        server.send(signal.SIGINT)
        server.wait()
    assert "accepted from 127.0.0.1:" in log.read_text()


@pytest.mark.needs("socat")
def test_composition(key, tmp_path):
    """Both ends under the same handlers; on the wire between them is nothing to be read."""
    handlers = ["+compress", "+crypt", f"-key={key}"]
    far, wire = free_port(), free_port()
    seen = tmp_path / "wire"
    with contextlib.ExitStack() as stack:
        listens_there = f"TCP-LISTEN:{far},fork,bind=127.0.0.1"
        echo = [TESLA_TRACE, *handlers, "socat", listens_there, "EXEC:cat"]
        stack.enter_context(start(*echo))
        tap = ["socat", "-r", seen, f"TCP-LISTEN:{wire},bind=127.0.0.1", f"TCP:127.0.0.1:{far}"]
        eventually("socat listens", functools.partial(listens, far))
        stack.enter_context(start(*tap))
        eventually("socat listens", functools.partial(listens, wire))
        text = "as plain as can be\n" * 1000
        ran = run(TESLA_TRACE, *handlers, "socat", "-t5", "-", f"TCP:127.0.0.1:{wire}", given=text)
    assert (ran.status, ran.out) == (0, text), ran.err
    written = seen.read_bytes()
    assert 0 < len(written) < len(text) / 4 and b"plain" not in written


def listens(port):
    """Whether somebody listens, found out without connecting."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
