"""Programs without TLS under tls, and peers with it that are nothing of ours."""

import contextlib
import functools
import subprocess
import sys

import pytest

from fixtures.peers.ports import free_port
from tests.certificates import PAST, Authority
from tests.e2e.apart import with_hosts
from tests.e2e.peers import answers, microsocks
from tests.e2e.plain import let_in
from tests.e2e.process import TESLA_TRACE, eventually, run, start, under
from tests.e2e.test_names import LOOK_UP
from tests.e2e.test_servers import PAGE, listens, nginx

VERSIONS = pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])

CURL = ["curl", "--silent", "--show-error", "--noproxy", "*"]

SAYS = """\
import errno, socket, sys
try:
    flow = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 15)
    flow.sendall(b"stressed\\n")
    print(flow.recv(100))
    flow.shutdown(socket.SHUT_WR)
    print(flow.recv(100))
except OSError as error:
    print("failed", errno.errorcode.get(error.errno, error))
"""

ANSWERS = """\
import errno, socket
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
while True:
    flow, _ = listener.accept()
    try:
        while data := flow.recv(100):
            flow.sendall(data[::-1])
        print("end", flush=True)
    except OSError as error:
        print("failed", errno.errorcode.get(error.errno, error), flush=True)
    flow.close()
"""


@pytest.fixture(scope="session")
def good(authority):
    return authority.identity("server.test", file="e2e")


@contextlib.contextmanager
def s_server(cert, *options):
    """OpenSSL's server, which gives each line back turned round; its port."""
    port = free_port()
    words = ["openssl", "s_server", "-rev", "-accept", f"127.0.0.1:{port}", "-cert", cert]
    with start(*words, "-naccept", 3, *options):
        eventually("s_server listens", functools.partial(listens, port))
        yield port


def says(words, port):
    return under(["+tls", *words], sys.executable, "-c", SAYS, port)


# ---- clients ----


@VERSIONS
@pytest.mark.needs("openssl")
def test_a_client_of_openssl(version, good, authority):
    with s_server(good, version) as port:
        ran = says([f"-ca={authority.path}", "-name=server.test"], port)
    assert (ran.out, ran.log) == ("b'desserts\\n'\nb''\n", []), ran


@VERSIONS
@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("name", "Hostname mismatch, certificate is not valid for 'other.test'"),
        ("number", "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("authority", "unable to get local issuer certificate"),
        ("system", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
    ],
)
def test_servers_that_are_not_believed(version, case, why, good, authority, tmp_path):
    words, cert = {"-ca": authority.path, "-name": "server.test"}, good
    if case == "name":
        words["-name"] = "other.test"
    elif case == "number":
        del words["-name"]
    elif case == "system":
        del words["-ca"]
    elif case == "authority":
        words["-ca"] = Authority(tmp_path, "other").path
    else:
        cert = authority.identity("server.test", file="old", valid=PAST)
    with s_server(cert, version) as port:
        ran = says([f"{name}={value}" for name, value in words.items()], port)
    assert ran.out == "failed EPROTO\n", ran
    assert f"Protocol error: +tls: the peer's certificate is not good: {why}" in ran.log[0], ran.log


@pytest.mark.needs("openssl")
def test_insecure(good):
    with s_server(good) as port:
        ran = says(["-insecure"], port)
    assert ran.out == "b'desserts\\n'\nb''\n" and "-insecure" in ran.log[0], ran


@VERSIONS
@pytest.mark.needs("openssl")
@pytest.mark.parametrize("shown", [True, False])
def test_a_client_certificate(version, shown, good, authority):
    words = [f"-ca={authority.path}", "-name=server.test"]
    if shown:
        words.append(f"-cert={authority.identity('me.test')}")
    with s_server(good, version, "-Verify", 1, "-CAfile", authority.path) as port:
        ran = says(words, port)
    if shown:
        assert ran.out == "b'desserts\\n'\nb''\n", ran
    else:  # by TLS 1.3 it is known after the connect
        assert ran.out in ("failed EPROTO\n", "failed ECONNRESET\n"), ran
        assert "+tls: the peer" in ran.log[0], ran.log


NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    log_format asked "$ssl_server_name $request";
    access_log {folder}/access.log asked;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{
        listen 127.0.0.1:{port} ssl; root {folder};
        ssl_certificate {cert}; ssl_certificate_key {cert};
    }}
}}
"""


@pytest.fixture
def web(tmp_path, authority):
    """An nginx with TLS; its port."""
    port, folder = free_port(), tmp_path / "web"
    folder.mkdir()
    let_in(folder)  # its workers are nobody
    cert = authority.identity("server.test", file="nginx")
    (folder / "conf").write_text(NGINX.format(folder=folder, port=port, cert=cert))
    (folder / "hello").write_text(PAGE)
    with start("nginx", "-p", folder, "-c", folder / "conf"):
        eventually("nginx answers", functools.partial(answers, port))
        yield port, folder


@pytest.mark.needs("nginx", "curl")
def test_curl_without_tls_from_nginx_with_it(web, authority):
    port, folder = web
    ran = under(
        ["+tls", f"-ca={authority.path}", "-name=server.test"],
        *(*CURL, f"http://127.0.0.1:{port}/hello"),
    )
    assert (ran.status, ran.out, ran.log) == (0, PAGE, []), ran
    assert (folder / "access.log").read_text() == "server.test GET /hello HTTP/1.1\n"


@pytest.mark.needs("nginx", "unshare")
def test_the_name_that_was_looked_up_is_the_one_that_is_asked_for(web, authority, tmp_path):
    port, folder = web
    words = [TESLA_TRACE, "+tls", f"-ca={authority.path}", sys.executable, "-c", LOOK_UP]
    hosts = "127.0.0.1 server.test\n127.0.0.1 other.test\n"
    ran = run(*with_hosts(tmp_path, hosts, *words, "server.test", port))
    assert (ran.status, ran.out) == (0, "True\nTrue\n" + PAGE), ran
    assert (folder / "access.log").read_text().startswith("server.test GET /hello")
    ran = run(*with_hosts(tmp_path, hosts, *words, "other.test", port))
    assert ran.status == 1 and "certificate is not valid for 'other.test'" in ran.err, ran


# ---- servers ----


@contextlib.contextmanager
def answering(words, log):
    program = [sys.executable, "-c", ANSWERS]
    with start(TESLA_TRACE, "--log", log, "+tls", *words, *program) as server:
        yield server, int(server.until("port").split()[1])


def s_client(port, authority, *options):
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", authority.path]
    strict = ["-verify_return_error", "-verify_hostname", "server.test", "-servername", "x.test"]
    return start(*words, *strict, "-quiet", *options)


@VERSIONS
@pytest.mark.needs("openssl")
def test_a_server_for_openssl(version, good, authority, tmp_path):
    with answering([f"-cert={good}"], tmp_path / "log") as (server, port):
        with s_client(port, authority, version) as client:
            client.process.stdin.write(b"\ndesserts\n")
            client.process.stdin.flush()
            client.until("stressed")
            assert (tmp_path / "log").read_text() == ""


@pytest.mark.needs("openssl")
def test_keys_may_be_made_anew(good, authority, tmp_path):
    """A line that is K has s_client send a KeyUpdate, and ask for one."""
    with answering([f"-cert={good}"], tmp_path / "log") as (server, port):
        words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}"]
        both = subprocess.STDOUT
        with start(*words, "-CAfile", authority.path, stderr=both) as client:
            client.until("Verify return code: 0")
            for line, answer in ((b"K\n", "KEYUPDATE"), (b"\ndesserts\n", "stressed")) * 2:
                client.process.stdin.write(line)
                client.process.stdin.flush()
                client.until(answer)
            client.process.stdin.write(b"Q\n")
            client.process.stdin.flush()
            server.until("end")
        assert (tmp_path / "log").read_text() == ""


@VERSIONS
@pytest.mark.needs("openssl")
@pytest.mark.parametrize("who", ["known", "unknown", "nobody"])
def test_a_server_that_asks_who_it_is(version, who, good, authority, tmp_path):
    shown = []
    if who != "nobody":
        signer = authority if who == "known" else Authority(tmp_path, "other")
        shown = ["-cert", signer.identity("me.test", file="me")]
    log, words = tmp_path / "log", [f"-cert={good}", f"-ca={authority.path}"]
    with answering(words, log) as (server, port):
        with s_client(port, authority, version, *shown) as client:
            with contextlib.suppress(BrokenPipeError):
                client.process.stdin.write(b"\ndesserts\n")
                client.process.stdin.flush()
            if who == "known":
                client.until("stressed")
                assert log.read_text() == ""
            else:
                server.until("failed ECONNRESET")
                reason = {
                    "unknown": "the peer's certificate is not good: unable to get local issuer",
                    "nobody": "the peer shows no certificate",
                }
                assert f"+tls: {reason[who]}" in log.read_text(), log.read_text()


@pytest.mark.needs("openssl")
def test_a_server_knows_nothing_old(good, authority, tmp_path):
    log = tmp_path / "log"
    with answering([f"-cert={good}"], log) as (server, port):
        words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_1"]
        assert run(*words, "-cipher", "DEFAULT@SECLEVEL=0").status != 0
        server.until("failed ECONNRESET")
    assert "+tls: the peer knows no version of TLS that is good enough" in log.read_text()


@pytest.mark.needs("nginx", "curl")
def test_curl_with_tls_from_nginx_without_it(good, authority, tmp_path):
    (tmp_path / "web").mkdir()

    def get(port):
        address = f"server.test:{port}"
        words = [*CURL, "--cacert", authority.path, "--resolve", f"{address}:127.0.0.1"]
        return run(*words, f"https://{address}/page")

    traced = [TESLA_TRACE, "+tls", f"-cert={good}"]
    with nginx(traced, tmp_path / "web", get=get) as (port, _):
        ran = get(port)
        assert (ran.status, ran.out) == (0, PAGE), ran
        ran = run(*CURL, f"http://127.0.0.1:{port}/page")
        assert ran.status != 0 and PAGE not in ran.out


def test_a_server_without_a_certificate():
    program = [sys.executable, "-c", ANSWERS]
    ran = under(["+tls"], *program)
    assert ran.err.splitlines()[-1] == "OSError: [Errno 95] Operation not supported", ran
    assert "+tls: nothing can be accepted without -cert=FILE" in ran.log[0]


@pytest.mark.needs("nginx", "microsocks", "unshare")
def test_tls_with_the_peer_through_a_proxy(web, authority, tmp_path):
    """The proxy is told the name, and the peer is asked for it."""
    port, folder = web
    with microsocks(tmp_path, hosts="127.0.0.1 server.test\n") as proxy:
        words = ["+tls", f"-ca={authority.path}", f"+socks=127.0.0.1:{proxy.port}"]
        ran = under(words, sys.executable, "-c", LOOK_UP, "server.test", port)
        assert (ran.status, ran.out) == (0, "True\nTrue\n" + PAGE), ran
        assert f"connected to server.test:{port}" in proxy.log
    assert (folder / "access.log").read_text().startswith("server.test GET /hello")
