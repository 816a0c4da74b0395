"""Names that go down in place of numbers, and the name server that is everywhere."""

import socket
from errno import ECONNREFUSED, EHOSTUNREACH, EISCONN

import dns.message
import pytest

from tesla_trace.flow import FlowHandler, Proxied
from tesla_trace.flow.naming import REMEMBERED, DatagramNaming, Naming, StreamNaming
from tesla_trace.testing.network import CLIENT, Network
from tesla_trace.testing.playbook import app, net, turn

PEER = ("192.0.2.1", 80)
SERVERS = [("192.168.1.1", 53), ("127.0.0.53", 53), ("::1", 53, 0, 0), ("198.18.0.1", 53)]
QUERY = dns.message.make_query("Example.org", "A", id=7).to_wire()


def framed(message):
    return len(message).to_bytes(2, "big") + message


def number(answer):
    """The address in an answer."""
    return str(dns.message.from_wire(answer).answer[0][0])


def invent(naming, name="example.org"):
    return str(naming.handler._names.invent(name).ipv4)


@pytest.fixture
def stream(play):
    return play(StreamNaming)


@pytest.fixture
def datagrams(play):
    return play(DatagramNaming, type=socket.SOCK_DGRAM)


def answers(naming):
    """What goes up, apart from what the playbook checks."""
    said = []

    def avail(source, data, origin=None):
        said.append((data, origin))
        return True

    naming.above.avail = avail
    return said


# ---- streams ----


def test_a_number_of_ours_goes_down_as_the_name(stream):
    host = invent(stream)
    stream >> app.connect((host, 80)) << net.connect(("example.org", 80))
    assert stream.handler.ctx.flow.target == ("example.org", 80)
    stream >> net.connected() << app.connected() << app.join()
    assert (stream >> app.getpeername() << net.getpeername()).result == (host, 80)


@pytest.mark.parametrize("form", ["::ffff:{0.ipv4}", "{0.ipv6}"])
def test_so_does_one_of_ipv6(stream, form):
    given = stream.handler._names.invent("example.org")
    address = (form.format(given), 443, 0, 0)
    stream >> app.connect(address) << net.connect(("example.org", 443))
    stream >> net.connected() << app.connected() << app.join()
    assert (stream >> app.getpeername() << net.getpeername()).result == address


def test_other_numbers_and_names_go_down_as_they_are(stream):
    stream >> app.connect(PEER) << net.connect(PEER)
    stream >> net.connected(OSError(ECONNREFUSED, "no")) << app.connected(ECONNREFUSED)
    stream >> app.connect(("example.org", 80)) << net.connect(("example.org", 80))


@pytest.mark.parametrize("host", ["198.18.3.4", "::ffff:198.19.3.4", "fd1d:837f:9569::77"])
def test_a_number_that_no_name_has_is_out_of_reach(stream, datagrams, host):
    for each in (stream, datagrams):
        with pytest.raises(OSError, match=f"nobody looked up a name for {host}") as error:
            each >> app.connect((host, 80))
        assert error.value.errno == EHOSTUNREACH
    with pytest.raises(OSError, match="nobody looked up"):
        datagrams >> app.write(b"x", (host, 80))


@pytest.mark.parametrize("server", SERVERS)
def test_every_name_server_is_us(stream, server):
    stream >> app.connect(server) << None >> turn << app.connected() << app.join()
    assert (stream >> app.getpeername()).result == server
    said = answers(stream)
    talk = stream.handler._server
    talk.upstream = stream.above  # as `join` does
    assert talk.write(framed(QUERY))
    stream >> turn
    ((answer, _),) = said
    assert number(answer[2:]) == invent(stream) and answer[:2] == (len(answer) - 2).to_bytes(2)
    stream >> app.close() << net.close()
    assert talk.closed


def test_connected_to_the_name_server_it_is_connected(stream):
    stream >> app.connect(SERVERS[0]) >> turn << app.connected() << app.join()
    with pytest.raises(OSError) as error:
        stream >> app.connect(PEER)
    assert error.value.errno == EISCONN
    stream >> app.abort() << net.abort()


def test_what_is_shut_down_is_the_talk(stream):
    stream >> app.connect(SERVERS[0]) >> turn << app.connected() << app.join()
    talk = stream.handler._server
    talk.upstream = stream.above
    stream >> app.shutdown(False, True) >> turn << app.ended()


def test_a_flow_below_is_shut_down_as_ever(stream):
    stream >> app.connect(PEER) << net.connect(PEER) >> app.shutdown(False, True)
    stream << net.shutdown(False, True)


# ---- datagrams ----


@pytest.mark.parametrize("server", SERVERS)
def test_a_datagram_for_a_name_server_is_answered_from_there(datagrams, server):
    said = answers(datagrams)
    assert (datagrams >> app.write(QUERY, server)).result is True and said == []
    datagrams >> turn
    ((answer, origin),) = said
    assert origin == server and number(answer) == invent(datagrams)


def test_one_connected_to_a_name_server_is_answered_by_its_peer(datagrams):
    datagrams >> app.connect(SERVERS[0])
    said = answers(datagrams)
    datagrams >> app.write(QUERY) >> app.write(QUERY, SERVERS[0]) >> turn
    assert [origin for _, origin in said] == [None, None]
    datagrams >> app.write(QUERY, SERVERS[1]) >> turn
    assert len(said) == 2, "the kernel drops what comes from others than the peer"
    assert (datagrams >> app.getpeername()).result == SERVERS[0]


def test_what_is_no_question_gets_no_answer(datagrams):
    datagrams >> app.write(b"x", SERVERS[0]) >> turn << None


def test_a_flow_that_is_closed_hears_no_answer(datagrams):
    said = answers(datagrams)
    datagrams >> app.write(QUERY, SERVERS[0])
    datagrams.handler.close()
    datagrams << net.close() >> turn
    assert said == []


def test_datagrams_go_to_names_and_come_from_numbers(datagrams):
    host = invent(datagrams)
    datagrams >> app.write(b"x", (host, 123)) << net.write(b"x", ("example.org", 123))
    datagrams >> net.avail(b"y", ("example.org", 123)) << app.avail(b"y", (host, 123))
    datagrams >> app.write(b"x", PEER) << net.write(b"x", PEER)
    datagrams >> net.avail(b"y", PEER) << app.avail(b"y", PEER)


def test_a_peer_may_be_a_name_and_then_another(datagrams):
    host = invent(datagrams)
    datagrams >> app.connect((host, 123)) << net.connect(("example.org", 123))
    datagrams >> app.write(b"x") << net.write(b"x")
    datagrams >> net.avail(b"y", ("example.org", 123)) << app.avail(b"y", (host, 123))
    assert (datagrams >> app.getpeername() << net.getpeername()).result == (host, 123)
    assert datagrams.handler.ctx.flow.target == ("example.org", 123)
    datagrams >> app.connect(SERVERS[0]) >> net.avail(b"late") << None
    datagrams >> app.connect(PEER) << net.connect(PEER) >> net.avail(b"y") << app.avail(b"y")


def test_of_many_names_that_a_flow_sends_to_the_last_are_remembered(datagrams):
    for port in range(1000, 1000 + REMEMBERED + 1):
        datagrams >> app.write(b"x", (host := invent(datagrams), port))
        datagrams << net.write(b"x", ("example.org", port))
    datagrams >> net.avail(b"y", ("example.org", 1001)) << app.avail(b"y", (host, 1001))
    datagrams >> net.avail(b"y", ("example.org", 1000)) << None


# ---- what is said of it ----


def test_who_looks_up_what_and_where_is_said_where_that_is_wanted(play):
    naming = play(DatagramNaming, "-leak-check", type=socket.SOCK_DGRAM)
    said = answers(naming)
    for kind in ("A", "AAAA"):
        query = dns.message.make_query("example.org", kind).to_wire()
        naming >> app.write(query, ("192.168.1.1", 53)) >> turn
    naming >> app.write(b"x", ("224.0.0.251", 5353)) << net.write(b"x", ("224.0.0.251", 5353))
    naming >> app.connect(("ff02::1:3", 5355, 0, 2)) << net.connect(("ff02::1:3", 5355, 0, 2))
    assert len(said) == 2 and naming.lines == [
        "1 curl[4711]: looks up example.org of 192.168.1.1:53",
        "1 curl[4711]: asks the machines nearby for names (mDNS): 224.0.0.251:5353",
        "1 curl[4711]: asks the machines nearby for names (LLMNR): [ff02::1:3]:5355",
    ]


def test_otherwise_it_is_not(datagrams):
    answers(datagrams)
    datagrams >> app.write(QUERY, ("192.168.1.1", 53)) >> turn
    assert datagrams.lines == []


# ---- in a stack ----


class Gate(Proxied):
    """Asks for the target by name, and is told yes."""

    name = "gate"

    def ask_for(self, target):
        self.below.write(f"{target[0]}?".encode())
        yield 1


class Gatekeeper(FlowHandler):
    """Says yes to whoever comes."""

    name = "gatekeeper"

    def avail(self, source, data, origin=None):
        if data.endswith(b"?"):
            return self.below.write(b"y")
        return super().avail(source, data, origin)


def look_up(network, words, server=("192.168.1.1", 53)):
    """The address that an application finds for example.org."""
    client = network.application(words)
    client.connect(server)
    network.run(0)
    client.write(framed(QUERY))
    network.run(0)
    host = number(client.got[2:])
    client.close()
    return host


def test_what_one_flow_looked_up_another_connects_to():
    network = Network(gate=Gate, gatekeeper=Gatekeeper)
    words = ["+log", "-data", "+gate=10.0.0.9:1080"]
    stack = network.stack(words)
    server = network.application(["+gatekeeper"])
    server.listen(1)
    host = look_up(network, stack)
    client = network.application(stack)
    client.connect((host, 80))
    network.run(0)
    accepted, _ = server.accept()
    network.run()
    assert client.log == ["connected"]
    assert accepted.ctx.flow.number and client.getpeername() == (host, 80)
    assert [line for line in network.log if "connecting" in line] == [
        "3 curl[4711]: connecting to example.org:80"
    ]
    client.write(b"hello")
    network.run()
    assert accepted.got == b"hello"
    assert Naming.name not in [each.name for each in client.downstream]


def test_local_names_are_left_to_the_program():
    asked = []

    class Ear(FlowHandler):
        name = "ear"

        def connect(self, address):
            asked.append(address)
            super().connect(address)

    network = Network(gate=Gate, ear=Ear)
    for server in SERVERS[:3]:
        words = ["+gate=10.0.0.9:1080", "-dns=local", "+ear"]
        network.application(words).connect(server)
    network.application(["+gate=10.0.0.9:1080", "-dns=local", "+ear"]).connect(PEER)
    assert asked == [*SERVERS[:3], ("10.0.0.9", 1080)]


@pytest.mark.parametrize(
    ("near", "far", "naming"),
    [("proxy", "local", True), ("local", "proxy", False), ("leak-check", "leak-check", True)],
)
def test_the_nearest_proxy_says_how(near, far, naming):
    """For it is the one that is told the names."""
    network = Network(gate=Gate)
    words = ["+gate=10.0.0.9:1", f"-dns={near}", "+gate=10.0.0.8:1", f"-dns={far}"]
    stack = network.stack(words)
    assert (stack.dns != "local") is naming
    client = network.application(stack)
    assert isinstance(client.below, Naming) is naming


def test_what_is_accepted_has_no_naming():
    network = Network(gate=Gate)
    server = network.application(["+gate=10.0.0.9:1"])
    server.listen(1)
    client = network.application()
    client.connect(PEER)
    network.run(0)
    accepted, peer = server.accept()
    assert peer == CLIENT and not isinstance(accepted.below, Naming)
    client.write(b"hello")
    network.run()
    assert accepted.got == b"hello"
