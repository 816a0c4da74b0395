"""Two programs that know nothing of TLS, each under crypt; and strangers."""

import contextlib
import functools
import re
import socket
import ssl
import sys
from pathlib import Path

import pytest

from fixtures.peers.ports import free_port
from tesla_trace.keygen import keygen
from tests.e2e.peers import answers
from tests.e2e.process import TESLA_TRACE, eventually, run, start, supervisor_of, under
from tests.e2e.tap import tapped

SERVER = """\
import errno, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
flow, _ = listener.accept()
flow.settimeout(15)
try:
    if sys.argv[1] == "speaks":
        flow.sendall(b"220 as plain as can be\\r\\n")
    while data := flow.recv(65536):
        print("got", data, flush=True)
        flow.sendall(data.upper())
    print("end", flush=True)
except OSError as error:
    print("failed", errno.errorcode.get(error.errno, error), flush=True)
"""

CLIENT = """\
import errno, socket, sys
try:
    flow = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 15)
    flow.sendall(b"a secret")
    print("got", flow.recv(100))
    flow.shutdown(socket.SHUT_WR)
    print("end", flow.recv(100))
except OSError as error:
    print("failed", errno.errorcode.get(error.errno, error))
"""


class Server:
    """The server program under these handlers."""

    def __init__(self, program, log):
        self.program, self.log = program, log
        self.port = int(program.until("port").split()[1])


@contextlib.contextmanager
def serving(handlers, log, how="listens"):
    under_us = [TESLA_TRACE, "--log", log, *handlers] if handlers else []
    with start(*under_us, sys.executable, "-c", SERVER, how) as program:
        yield Server(program, log)


def talk(ours, theirs, log, how="listens"):
    """What the client said and its log, what the server said and its log."""
    with serving(theirs, log, how) as server:
        words = [sys.executable, "-c", CLIENT, server.port]
        client = under(ours, *words) if ours else run(*words)
        out, _ = server.program.communicate()
    assert client.status == 0 and client.err == "", client
    return client.out, "\n".join(client.log), out, log.read_text() if theirs else ""


@pytest.fixture
def crypt(key):
    return ["+crypt", f"-key={key}", "-timeout=2s"]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def test_no_plain_text_passes(crypt, log):
    with serving(crypt, log) as server, tapped(server.port) as tap:
        client = under(crypt, sys.executable, "-c", CLIENT, tap.port)
        out, _ = server.program.communicate()
    assert client.out == "got b'A SECRET'\nend b''\n" and client.log == []
    assert out.endswith("got b'a secret'\nend\n") and log.read_text() == ""
    for heard in (tap.out, tap.back):
        assert heard[:3] in (b"\x16\x03\x01", b"\x16\x03\x03"), "a handshake of TLS"
        assert len(heard) > 300 and b"secret" not in heard.lower()


def test_the_tap_hears_what_is_plain(log):
    """A tap that hears nothing would have proved nothing."""
    with serving([], log) as server, tapped(server.port) as tap:
        assert run(sys.executable, "-c", CLIENT, tap.port).out == "got b'A SECRET'\nend b''\n"
    assert (tap.out, tap.back) == (b"a secret", b"A SECRET")


def test_another_key(crypt, tmp_path, log):
    keygen(tmp_path / "other.pem")
    other = ["+crypt", f"-key={tmp_path / 'other.pem'}"]
    said, why, heard, whose = talk(other, crypt, log)
    assert said == "failed EPROTO\n" and "+crypt: the peer's certificate is not good" in why
    assert re.fullmatch("port .*\nfailed (EPROTO|ECONNRESET)\n", heard), heard
    assert "+crypt: the peer refuses our certificate" in whose, whose


@pytest.mark.parametrize("how", ["listens", "speaks"])
def test_a_server_without_the_handler(crypt, log, how):
    said, why, heard, _ = talk(crypt, [], log, how)
    assert said == "failed EPROTO\n" and "secret" not in heard
    # One that listens gives our own words back, which are TLS, but not what is due.
    reason = "unexpected message" if how == "listens" else "what came is not TLS"
    assert f"+crypt: {reason}" in why, why


def test_a_client_without_the_handler(crypt, log):
    said, _, heard, why = talk([], crypt, log)
    assert "got b'A" not in said and "a secret" not in heard
    assert re.fullmatch("port .*\nfailed ECONNRESET\n", heard), heard
    assert "+crypt: what came is not TLS" in why, why


def test_silence(crypt, log):
    with serving(crypt, log) as server:
        with socket.create_connection(("127.0.0.1", server.port), 10):
            out, _ = server.program.communicate()
        assert out.endswith("failed ECONNRESET\n"), out
    assert "+crypt: no agreement in 2 s" in log.read_text()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = under(crypt, sys.executable, "-c", CLIENT, listener.getsockname()[1])
    assert client.out == "failed ETIMEDOUT\n"
    assert "+crypt: no agreement in 2 s" in client.log[0]


def test_hung_up_on_in_the_handshake(crypt, log):
    with serving(crypt, log) as server:
        socket.create_connection(("127.0.0.1", server.port), 10).close()
        out, _ = server.program.communicate()
        assert out.endswith("failed ECONNRESET\n"), out
    assert "+crypt: hung up on in the talk" in log.read_text()


def test_cut_short_on_the_way(crypt, log, key):
    with serving(crypt, log) as server:
        with tls(key, server.port) as (peer, flow):
            peer.sendall(b"half")
            assert peer.recv(10) == b"HALF"
            flow.shutdown(socket.SHUT_WR)
            out, _ = server.program.communicate()
    assert out.endswith("got b'half'\nfailed ECONNRESET\n"), out
    assert "+crypt: the stream was cut short" in log.read_text()


# ---- bounds ----

MOST = 48 * 2**20
"""Bytes by which a supervisor may grow: twice what it is with nothing to do."""


@pytest.mark.needs("socat")
@pytest.mark.parametrize("hostile", ["never reads", "never ends the handshake", "no record ends"])
def test_the_memory_is_bounded(hostile, key, tmp_path):
    port = free_port()
    words = ["socat", f"TCP-LISTEN:{port},fork,bind=127.0.0.1", "EXEC:cat"]
    with start(TESLA_TRACE, "--log", tmp_path / "log", "+crypt", f"-key={key}", *words) as server:
        eventually("socat listens", functools.partial(answers, port))
        before = memory(server.pid)
        with contextlib.ExitStack() as open:
            if hostile == "never reads":
                peer, _ = open.enter_context(tls(key, port))
                piece = bytes(2**18)
            else:
                peer = open.enter_context(socket.create_connection(("127.0.0.1", port)))
                size = b"\x01\x00" if hostile == "never ends the handshake" else b"\x40\x00"
                piece = (b"\x16\x03\x01" + size + bytes(256)) * 1000
            peer.settimeout(2)
            sent = 0
            with contextlib.suppress(OSError):  # in the end it is stopped, or told to go
                while sent < 10 * MOST:
                    sent += peer.send(piece)
            assert memory(server.pid) - before < MOST
            assert sent < 10 * MOST, "it is taken without end"
        eventually("the next one is served", functools.partial(answers, port))


def memory(pid):
    """Bytes that the front and the supervisor have in memory, the largest of them."""
    status = [Path(f"/proc/{each}/status").read_text() for each in (pid, supervisor_of(pid))]
    return max(int(re.search(r"VmRSS:\s+(\d+)", each)[1]) for each in status) * 1024


@contextlib.contextmanager
def tls(key, port):
    """A peer with the key, made of the ssl module alone; and its connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_cert_chain(key)
    context.load_verify_locations(key)
    with socket.create_connection(("127.0.0.1", port), 10) as flow:
        # Its own descriptor, for the ssl module closes what it wraps.
        with context.wrap_socket(flow.dup(), suppress_ragged_eofs=False) as peer:
            yield peer, flow
