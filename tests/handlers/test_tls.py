"""tls against peers made of the ssl module alone, so that nothing of ours is at the other end."""

import errno
import os
import re
import ssl
from pathlib import Path

import pytest

from tesla_trace.flow import Stack, UsageError, parse, usage
from tesla_trace.handlers._tls import PEER
from tesla_trace.handlers.tls import Tls
from tesla_trace.testing.network import SERVER, Network
from tests.certificates import PAST, Authority, certificate, new_key, pem, private


class Foreign:
    """A TLS peer on top of a plain application."""

    def __init__(self, network, app, *, server, host=None, **settings):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.asked = []
        if server:
            context.sni_callback = lambda _, name, __: self.asked.append(name)
        for name, value in settings.items():
            if name == "cert":
                context.load_cert_chain(value)
            elif name == "trusts":
                context.load_verify_locations(value)
                context.verify_mode = ssl.CERT_REQUIRED
            elif name == "alpn":
                context.set_alpn_protocols(value)
            else:
                setattr(context, name, value)
        self.read, self.written = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.read, self.written, server_side=server, server_hostname=host
        )
        self.network, self.app = network, app
        self.wrong = ""

    def step(self, call):
        """Do `call` with what has come in; what it has to say goes out."""
        if self.app.got:
            self.read.write(self.app.got)
            self.app.got = b""
        try:
            return call()
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as wrong:
            self.wrong = self.wrong or wrong.reason or ""
            return None
        finally:
            if words := self.written.read():
                self.app.write(words)
            self.network.run(1)

    def shake_hands(self):
        self.network.run(1)
        for _ in range(4):
            self.step(self.tls.do_handshake)
        return self

    def get(self):
        return self.step(lambda: self.tls.read(100_000))

    def say(self, data):
        self.step(lambda: self.tls.write(data))

    def goodbye(self):
        self.step(self.tls.unwrap)


def connected(words, host=None, number=None, **settings):
    """A client under tls and a foreign server, the handshake over."""
    network = Network()
    listener = network.application()
    listener.bind(SERVER)
    listener.listen(1)
    client = network.application(["+tls", *words])
    client.connect((host, 443) if host else (number, 443) if number else SERVER)
    network.run(0)
    app, _ = listener.accept()
    return client, Foreign(network, app, server=True, **settings).shake_hands()


def accepted(words, **settings):
    """A foreign client and a server under tls."""
    network = Network()
    app, server = network.pair([], ["+tls", *words])
    return server, Foreign(network, app, server=False, **settings).shake_hands()


@pytest.fixture(scope="session")
def ca(authority):
    return f"-ca={authority.path}"


@pytest.fixture(scope="session")
def good(authority):
    return authority.identity("server.test", "*.wild.test", "192.0.2.1", "2001:db8::7", file="good")


# ---- a client ----


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_ways_and_their_ends(ca, good, version):
    client, peer = connected(
        [ca], "server.test", cert=good, minimum_version=version, maximum_version=version
    )
    assert client.log == ["connected"] and peer.asked == ["server.test"]
    client.write(b"hello")
    client.ctx.clock.advance(1)
    assert peer.get() == b"hello"
    peer.say(b"hi")
    assert client.got == b"hi"
    peer.goodbye()
    assert client.end == 0, "told by TLS, with the connection still open"
    peer.app.shutdown(False, True)
    peer.network.run(1)
    assert client.log == ["connected", 0], "once"
    assert client.write(b"still")
    client.shutdown(False, True)
    peer.network.run(1)
    assert peer.get() == b"still" and peer.app.end == 0
    assert peer.step(lambda: peer.tls.read(1)) in (b"", None)


def test_what_comes_after_the_goodbye_is_nobodys(ca, good):
    client, peer = connected([ca], "server.test", cert=good)
    peer.goodbye()
    for _ in range(50):
        peer.app.write(bytes(60_000))
        peer.network.run(1)
    assert client.log == ["connected", 0] and client.got == b""
    assert client.below._read.pending == 0


def test_cut_short_is_a_reset(ca, good):
    client, peer = connected([ca], "server.test", cert=good)
    peer.say(b"half of it")
    peer.app.shutdown(False, True)
    peer.network.run(1)
    assert client.got == b"half of it" and client.end == errno.ECONNRESET
    assert any("+tls: the stream was cut short" in line for line in peer.network.log)


@pytest.mark.parametrize(
    ("words", "host", "number"),
    [
        ([], "server.test", None),
        ([], "SERVER.test.", None),
        ([], "a.wild.test", None),
        ([], None, "192.0.2.1"),
        ([], None, "::ffff:192.0.2.1"),
        ([], None, "2001:db8::7"),
        (["-name=server.test"], "other.test", None),
        (["-name=server.test"], None, "192.0.2.9"),
        (["-name=192.0.2.1"], "other.test", None),
    ],
)
def test_the_right_name(ca, good, words, host, number):
    client, peer = connected([ca, *words], host, number, cert=good)
    assert client.log == ["connected"], peer.network.log


@pytest.mark.parametrize(
    ("words", "host", "number", "why"),
    [
        ([], "other.test", None, "Hostname mismatch"),
        ([], "a.b.wild.test", None, "Hostname mismatch"),
        ([], None, "192.0.2.9", "IP address mismatch.*-name"),
        ([], None, "2001:db8::8", "IP address mismatch.*-name"),
        (["-name=other.test"], "server.test", None, "Hostname mismatch"),
    ],
)
def test_a_wrong_name(ca, good, words, host, number, why):
    client, peer = connected([ca, *words], host, number, cert=good)
    assert client.log == [errno.EPROTO] and client.got == b""
    assert peer.wrong.startswith(("SSLV3_ALERT_BAD_CERTIFICATE", "TLSV1_ALERT"))
    error = client.errors[0].strerror
    assert re.search(rf"\+tls: the peer's certificate is not good: {why}", error), error


def test_a_number_is_not_asked_for_by_name(ca, good):
    _, peer = connected([ca], None, "192.0.2.1", cert=good)
    assert peer.asked == [None]


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("unknown", "unable to get local issuer certificate"),
        ("self-signed", "self-signed certificate"),
        ("expired", "certificate has expired"),
        ("system", "unable to get local issuer certificate"),
    ],
)
def test_a_certificate_that_is_not_believed(case, why, ca, good, authority, tmp_path):
    words = [ca]
    if case == "unknown":
        cert = Authority(tmp_path, "other").identity("server.test")
    elif case == "self-signed":
        key = new_key()
        cert = private(tmp_path / "self.pem", pem(key, certificate("a", key, "a", key)))
    elif case == "expired":
        cert = authority.identity("server.test", file="expired", valid=PAST)
    else:
        words, cert = [], good
    client, _ = connected(words, "server.test", cert=cert)
    assert client.log == [errno.EPROTO] and why in client.errors[0].strerror


def test_insecure_believes_anybody_and_says_so(tmp_path):
    cert = Authority(tmp_path).identity("other.test")
    client, peer = connected(["-insecure"], "server.test", cert=cert)
    assert client.log == ["connected"] and peer.asked == ["server.test"]
    assert any("-insecure" in line for line in peer.network.log)
    assert "-insecure" in usage(Tls)


def test_the_systems_authorities(authority, good, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    client, _ = connected([], "server.test", cert=good)
    assert client.log == ["connected"]


def test_nothing_older_than_tls_1_2(ca, good):
    with pytest.warns(DeprecationWarning):
        client, _ = connected(
            [ca],
            "server.test",
            cert=good,
            minimum_version=ssl.TLSVersion.TLSv1,
            maximum_version=ssl.TLSVersion.TLSv1_1,
        )
    assert client.log == [errno.EPROTO]


def test_a_client_certificate(ca, good, authority):
    me = authority.identity("me.test")
    client, peer = connected([ca, f"-cert={me}"], "server.test", cert=good, trusts=authority.path)
    client.write(b"it is me")
    peer.network.run(1)
    assert peer.get() == b"it is me"
    assert peer.tls.getpeercert()["subject"] == ((("commonName", "me.test"),),)


def test_a_client_certificate_that_is_missing(ca, good, authority):
    client, peer = connected([ca], "server.test", cert=good, trusts=authority.path)
    assert peer.wrong == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    assert client.end == errno.EPROTO
    assert any("+tls: the peer wants a certificate of ours" in line for line in peer.network.log)


def test_protocols(ca, good):
    _, peer = connected([ca, "-alpn=h2,http/1.1"], "server.test", cert=good, alpn=["http/1.1"])
    assert peer.tls.selected_alpn_protocol() == "http/1.1"
    _, peer = connected([ca], "server.test", cert=good, alpn=["http/1.1"])
    assert peer.tls.selected_alpn_protocol() is None


def test_a_server_that_speaks_first_and_no_tls(ca):
    network = Network()
    client, server = network.pair(["+tls", ca], [])
    server.write(b"220 mail.test ESMTP\r\n")
    network.run(1)
    assert client.log == [errno.EPROTO] and "what came is not TLS" in client.errors[0].strerror


# ---- a server ----


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_for_any_client(good, authority, version):
    server, peer = accepted(
        [f"-cert={good}"],
        host="server.test",
        trusts=authority.path,
        minimum_version=version,
        maximum_version=version,
    )
    peer.say(b"hello")
    assert server.got == b"hello"
    server.write(b"hi")
    peer.network.run(1)
    assert peer.get() == b"hi"
    server.close()
    peer.network.run(1)
    assert peer.get() == b"", "a good end" and not peer.wrong


def test_a_server_that_asks_who_it_is(good, ca, authority, tmp_path):
    words = [f"-cert={good}", ca]
    server, peer = accepted(words, cert=authority.identity("me.test"))
    peer.say(b"it is me")
    assert server.got == b"it is me"
    for settings in ({}, {"cert": Authority(tmp_path).identity("stranger.test")}):
        server, peer = accepted(words, **settings)
        peer.say(b"let me in")
        assert server.got == b"" and server.end == errno.EPROTO
        assert any("+tls: the peer" in line for line in peer.network.log)


def test_without_a_certificate_nothing_is_accepted(good):
    network = Network()
    server = network.application(["+tls"])
    with pytest.raises(OSError) as error:
        server.listen(1)
    assert error.value.errno == errno.EOPNOTSUPP
    assert any("-cert=FILE" in line for line in network.log)


def test_nor_by_a_listener_that_was_there_before():
    network = Network()
    before = network.application()
    before.listen(1)
    client = network.application()
    client.connect(SERVER)
    network.run(0)
    stack = Stack(parse(["+tls"]))
    network.listener.upstream = stack.plumber(network.clock, lambda *_: network.listener)(2, 1)
    flow, _ = network.listener.upstream.accept()
    assert flow.state.name == "TALKING"
    client.write(b"hello")
    network.run(1)
    assert flow.state.name == "OVER"


def test_plain_talk_to_a_server(good):
    network = Network()
    client, server = network.pair([], ["+tls", f"-cert={good}"])
    network.run(1)
    client.write(b"GET / HTTP/1.0\r\n\r\n")
    network.run(1)
    assert server.got == b"" and server.end == errno.EPROTO
    assert any("+tls: what came is not TLS but HTTP" in line for line in network.log)


# ---- hostile peers ----


def test_endless_handshakes_end(good):
    """A record of a handshake message of 16 MiB, and on and on."""
    network = Network()
    client, server = network.pair([], ["+tls", f"-cert={good}"])
    network.run(1)
    for start in (b"\x01\xff\xff\xff\x03\x03", b"", b"", b""):
        body = start.ljust(16000, b"a")
        client.write(b"\x16\x03\x01" + len(body).to_bytes(2, "big") + body)
        network.run(1)
    assert server.end == errno.EPROTO and server.below._read.pending < 20_000


def test_a_handshake_of_nothing_ends_with_the_time(good):
    """Records of no length are no progress, and nothing is kept of them."""
    network = Network()
    client, server = network.pair([], ["+tls", f"-cert={good}", "-timeout=5s"])
    for _ in range(10):
        client.write(b"\x16")
        network.run(1)
        client.write(b"\x03\x01\x40\x00")
    assert server.end in (errno.ETIMEDOUT, errno.EPROTO) and server.got == b""


def test_questions_without_end_and_no_ear_for_the_answers(key):
    """What is asked for must not pile up.  The ssl module cannot ask (RFC 8446, 4.6.3)."""
    network = Network()
    client, server = network.pair(["+crypt", f"-key={key}"])
    network.run(1)
    handler = server.below
    network.clock.at(network.clock.now(), lambda: handler.may_write(handler.below, False))

    class Asks:
        """An OpenSSL that finds a question in all that comes."""

        def __init__(self, tls):
            self.tls = tls

        def read(self, size):
            handler._read.read()
            handler._written.write(bytes(27))
            raise ssl.SSLWantReadError

    handler._tls = Asks(handler._tls)
    for _ in range(5000):
        if server.end is not None:
            break
        network.wires[2].upstream.ctx.clock.at(
            network.clock.now(), lambda: handler.avail(handler.below, b"?" * 27)
        )
        network.run(0.001)
    assert server.end == errno.EPROTO
    assert any("reads none of it" in line for line in network.log)


@pytest.mark.parametrize("role", ["client", "server"])
def test_cut_at_every_byte(role, key):
    """Whatever is cut off, nothing but a part of what was said comes, and the end is an error."""
    stack = Stack(parse(["+crypt", f"-key={key}"]))
    victim, whole = conversation(stack, role)
    assert victim.got == SECRET and victim.end == 0 and whole > 500
    for most in range(0, whole):
        victim, sent = conversation(stack, role, most)
        assert SECRET.startswith(victim.got)
        if victim.end == 0:  # signatures differ in length, so that nothing was cut off
            assert victim.got == SECRET and sent <= most and whole - most < 10
        else:
            assert victim.end in (errno.ECONNRESET, errno.ECONNREFUSED), (most, victim.log)


SECRET = b"secret" * 10


def conversation(stack, role, most=10**9):
    """Whom a peer tells the secret, the way to him cut after `most` bytes; and how many came."""
    network = Network()
    client, server = network.pair(stack)
    victim, other, wire = (client, server, 2) if role == "client" else (server, client, 1)
    speaker, sent = network.wires[wire], 0
    really = speaker.write

    def write(data, to=None):
        nonlocal sent
        room, sent = most - sent, sent + len(data)
        if room > 0:
            really(data[:room])
        if room <= len(data) and not speaker.shut:
            speaker.shutdown(False, True)
        return True

    speaker.write = write
    network.run(1)
    if other is server or other.log == ["connected"]:
        other.write(SECRET)
        other.shutdown(False, True)
    network.run(60)
    return victim, sent


# ---- options ----


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-cert=/nowhere"], "No such file"),
        (["-ca=/nowhere"], "No such file"),
        (["-ca=/etc/passwd"], "it holds no certificates"),
        (["-ca=/dev/null"], "it is not a regular file"),
        (["-name=*.example"], "the name of a host"),
        (["-name="], "the name of a host"),
        (["-name=" + "a" * 64 + ".test"], "label"),
        (["-alpn=,"], "names such as h2"),
        (["-timeout=never"], "a time"),
    ],
)
def test_bad_options_are_found_at_the_start(words, why):
    with pytest.raises(UsageError, match=why):
        parse(["+tls", *words])


def test_insecure_and_authorities_contradict_each_other(ca):
    with pytest.raises(UsageError, match="-insecure believes anybody"):
        parse(["+tls", "-insecure", ca])


# ---- files with keys ----


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
@pytest.mark.parametrize("handler", ["+crypt -key", "+tls -cert"])
def test_a_key_that_others_may_read_or_change(handler, mode, good, tmp_path):
    path = private(tmp_path / "key.pem", good.read_bytes())
    path.chmod(mode)
    name, option = handler.split()
    with pytest.raises(UsageError, match=f"others may read or write it: chmod 600 {path}"):
        parse([name, f"{option}={path}"])
    path.chmod(0o400)
    parse([name, f"{option}={path}"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_a_key_of_somebody_else(good, tmp_path):
    path = private(tmp_path / "key.pem", good.read_bytes())
    os.chown(path, 12345, -1)
    with pytest.raises(UsageError, match=f"it belongs to user 12345: chown 0 {path}"):
        parse(["+tls", f"-cert={path}"])


def test_a_key_with_a_pass_phrase_is_not_asked_for_at_the_terminal(tmp_path):
    key = new_key()
    text = pem(key, certificate("we", key, "we", key), password=b"secret")
    path = private(tmp_path / "key.pem", text)
    with pytest.raises(UsageError, match="its key is encrypted: openssl pkey"):
        parse(["+crypt", f"-key={path}"])


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UsageError, match="it is not a regular file"):
            parse(["+tls", f"-cert={path}"])


def test_a_chain_with_the_leaf_first(authority, tmp_path):
    """Others' files have the certificates before the key, or more of them than one."""
    text = authority.identity("server.test", file="leaf").read_text()
    secret, begin, leaf = text.partition("-----BEGIN CERT")
    chain = begin + leaf + authority.path.read_text() + secret
    path = private(tmp_path / "chain.pem", chain)
    client, _ = connected([f"-ca={authority.path}"], "server.test", cert=path)
    server, peer = accepted([f"-cert={path}"], trusts=authority.path)
    assert client.log == ["connected"] and peer.wrong == ""


def test_a_program_may_ask_for_the_peers_certificate(ca, good):
    client, peer = connected([ca], "server.test", cert=good)
    first = Path(good).read_text().partition("-----BEGIN CERTIFICATE")
    shown = "".join(first[1:]).partition("-----END CERTIFICATE-----\n")
    assert client.below.ioctl(PEER, b"") == ssl.PEM_cert_to_DER_cert("".join(shown[:2]))
    server, _ = accepted([f"-cert={good}"])
    assert server.below.ioctl(PEER, b"") == b"", "a client that shows none"
