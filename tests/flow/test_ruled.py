"""The graph of a flow where rules decide which handlers it has."""

import errno
import socket

import pytest

from tesla_trace.flow import Flow, FlowHandler, Stack, parse
from tesla_trace.flow.condition_text import read
from tesla_trace.flow.names import Names
from tesla_trace.flow.naming import DatagramNaming, StreamNaming
from tesla_trace.flow.rules import Mention, Rule, Unusable
from tesla_trace.flow.selecting import Above, Below
from tesla_trace.flow.sentry import Sentry
from tesla_trace.flow.stack import DECIDED
from tesla_trace.handlers.dummy import Dummy
from tesla_trace.handlers.latency import Latency
from tesla_trace.handlers.socks import Socks
from tesla_trace.testing.datagrams import Air
from tesla_trace.testing.network import SERVER, Network, Wire
from tests.flow.test_stack import down


def built(words, flow, network=None, type=socket.SOCK_STREAM, domain=socket.AF_INET):
    """The handlers that a flow has, the first nearest the program."""
    network = network or Network()
    stack = words if isinstance(words, Stack) else Stack(parse(words))
    top = stack.plumber(network.clock, network.wire, flow)(domain, type)
    return [top.__class__, *down(top, "plumbed")]


def flow(target=SERVER, program="curl", **facts):
    made = Network().flow(program, target=target)
    for name, value in facts.items():
        setattr(made, name, value)
    return made


# ---- what goes out ----


def test_a_flow_has_the_handlers_that_are_for_it():
    words = ["+dummy", "-for=port 80", "+latency", "-except=net 192.0.2.0/24"]
    assert built(words, flow()) == [Dummy, Wire]
    assert built(words, flow(("198.51.100.1", 443))) == [Latency, Wire]
    assert built(words, flow(("198.51.100.1", 80))) == [Dummy, Latency, Wire]
    assert built(words, flow(("192.0.2.1", 443))) == [Wire]


def test_rules_of_a_file_come_behind_those_of_the_handler():
    skip = Rule(read("program wget"), "program wget", "f:1:1", (), (Mention("*", "f:2:1"),))
    named = parse(["+dummy", "-for=port 80", "+latency"])
    stack = Stack(named, rules=[skip])
    assert built(stack, flow()) == [Dummy, Latency, Wire]
    assert built(stack, flow(program="wget")) == [Dummy, Wire]


def test_what_a_handler_opens_for_a_flow_has_the_same_handlers():
    """A relay's stream to its proxy is decided with the flow that it is for."""
    network = Network()
    named = parse(["+socks=192.0.2.9:1080", "+dummy", "-for=udp"])
    top = Stack(named).plumber(network.clock, network.wire, flow())(
        socket.AF_INET, socket.SOCK_DGRAM
    )
    socks = next(each for each in chain(top) if each.name == "socks")
    assert isinstance(socks.plumb(socket.AF_INET, socket.SOCK_STREAM), Dummy)


def chain(flow):
    while flow is not None:
        yield flow
        flow = next(iter(flow.plumbed), None)


PROXY = ["+socks=192.0.2.9:1080"]


def test_a_name_is_known_before_it_is_decided():
    stack = Stack(parse([*PROXY, "-except=host *.corp or net 10.0.0.0/8"]))
    names = stack._naming.shared.setdefault("names", Names())
    inside = str(names.invent("www.CORP.").ipv4), 80
    outside = str(names.invent("www.example.org").ipv6), 80, 0, 0
    assert built(stack, flow(inside)) == [StreamNaming, Wire]
    assert built(stack, flow(("10.1.1.1", 80))) == [StreamNaming, Wire]
    # It may be in that network; nothing may bypass a proxy.
    assert built(stack, flow(outside)) == [StreamNaming, Socks, Wire]


def test_what_is_open_keeps_what_nothing_may_bypass_and_nothing_else():
    words = [*PROXY, "-for=net 10.0.0.0/8", "+dummy", "-for=net 10.0.0.0/8"]
    stack = Stack(parse(words))
    name = str(stack._naming.shared.setdefault("names", Names()).invent("a.test").ipv4), 80
    assert built(stack, flow(name)) == [StreamNaming, Socks, Wire]
    assert built(stack, flow(("10.0.0.1", 80))) == [StreamNaming, Socks, Dummy, Wire]
    assert built(stack, flow(("192.0.2.1", 80))) == [StreamNaming, Wire]


@pytest.mark.parametrize("words", [["+dummy"], [*PROXY, "-dns=local"]])
def test_a_rule_for_a_name_where_no_flow_has_one_is_refused(words):
    with pytest.raises(Unusable, match=r"-for='host a\.test': flows have no names here"):
        Stack(parse([*words, "-for=host a.test"]))


def test_no_more_kinds_of_flows_are_remembered_than_there_may_be():
    network, stack = Network(), Stack(parse(["+dummy", "-for=port 80"]))
    for port in range(1, DECIDED + 10):
        facts = Flow(target=("192.0.2.1", port))
        top = stack.plumber(network.clock, network.wire, facts)(socket.AF_INET, 1)
        assert isinstance(top, Dummy) is (port == 80)
        assert 0 < len(stack._decided) <= DECIDED
    assert built(stack, flow()) == [Dummy, Wire]


# ---- what comes in ----


def listening(words, port=80, program="httpd"):
    made = flow(None, program)
    made.port = port
    return built(words, made)


def test_a_listener_has_what_some_that_come_in_may_have():
    assert listening(["+dummy", "-for=port 80"]) == [Dummy, Wire]
    assert listening(["+dummy", "-for=port 81"]) == [Wire]
    assert listening(["+dummy", "-for=out"]) == [Wire]
    assert listening(["+dummy", "-for=program nginx"]) == [Wire]
    assert listening(["+dummy", "-for=net 10.0.0.0/8"]) == [Above, Dummy, Below, Wire]
    assert listening(["+dummy", "-for=net 10.0.0.0/8 and port 81"]) == [Wire]
    assert listening(["+dummy", "-for=port 80"], port=None) == [Above, Dummy, Below, Wire]


def accepted(words, handlers=None):
    """What a listener at SERVER has and what it accepts from CLIENT."""
    network = Network(**(handlers or {}))
    server = network.application(words)
    server.bind(SERVER)
    server.listen(1)
    client = network.application([])
    client.connect(SERVER)
    return network, server, client, network.accepted(server)


@pytest.mark.parametrize(
    ("condition", "there"),
    [
        ("net 192.0.2.2/32", True),
        ("net 192.0.2.1/32", False),
        ("port 80", True),
        ("port 81", False),
        ("in and program curl", True),
        ("in and program wget", False),
    ],
)
def test_what_is_accepted_goes_through_it_or_past_it(condition, there):
    network, _, client, flow = accepted(["+dummy", f"-for={condition}", "+latency"])
    assert down(flow, "downstream") == ([Dummy] if there else []) + [Latency, Wire]
    assert down(flow, "plumbed") == down(flow, "downstream")
    client.write(b"question")
    flow.write(b"answer")
    network.run()
    assert (flow.got, client.got) == (b"question", b"answer")


def test_several_of_which_each_decides_for_itself():
    words = ["+dummy", "-for=net 192.0.2.2/32", "+latency", "-except=net 192.0.2.0/24"]
    _, server, _, flow = accepted(words)
    assert down(flow, "plumbed") == [Dummy, Wire]
    assert down(server, "plumbed") == [Above, Dummy, Below, Above, Latency, Below, Wire]
    with pytest.raises(BlockingIOError):
        server.accept()


class Eager(FlowHandler):
    """Accepts before it is asked."""

    name = "eager"

    def __init__(self, ctx):
        super().__init__(ctx)
        self.waiting = []

    def accept_ready(self, source):
        try:
            self.waiting.append(super().accept())
        except BlockingIOError:
            return
        super().accept_ready(source)

    def accept(self):
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.pop()


def test_what_a_handler_was_offered_in_vain_is_told_of():
    network, server, _, flow = accepted(["+eager", "-for=net 10.0.0.0/8"], {"eager": Eager})
    assert down(flow, "plumbed") == [Wire]
    assert down(server, "plumbed") == [Above, Eager, Below, Wire]


@pytest.mark.parametrize("way", ["close", "abort"])
def test_what_nobody_has_accepted_is_reset(way):
    network = Network(eager=Eager)
    server = network.application(["+eager", "-for=net 10.0.0.0/8"])
    server.bind(SERVER)
    server.listen(1)
    client = network.application([])
    client.connect(SERVER)
    network.run(0)
    getattr(server, way)()
    network.run()
    assert client.end == errno.ECONNRESET


# ---- datagrams ----


def test_datagrams_that_a_service_is_for_and_cannot_carry_are_refused(key):
    air = Air()
    crypt = ["+crypt", f"-key={key}", "-for=port 5432"]
    one = air.application(crypt, ("10.0.0.1", 5000))
    other = air.application([], ("10.0.0.1", 5001))
    elsewhere = air.application([], ("10.0.0.1", 5432))
    assert down(one, "plumbed")[0] is Sentry
    one.write(b"free", ("10.0.0.1", 5001))
    with pytest.raises(OSError, match=r"\+crypt is for what goes to 10.0.0.1:5432") as wrong:
        one.write(b"secret", ("10.0.0.1", 5432))
    assert wrong.value.errno == errno.ENETUNREACH
    elsewhere.write(b"forged", ("10.0.0.1", 5000))
    other.write(b"back", ("10.0.0.1", 5000))
    one.connect(("10.0.0.1", 5432))
    with pytest.raises(OSError, match="10.0.0.1:5432"):
        one.write(b"secret")
    air.run()
    assert [data for data, *_ in other.got] == [b"free"] and elsewhere.got == []
    assert [data for data, *_ in one.got] == [b"back"]


def datagrams(words, target, port=None):
    return built(words, flow(target, port=port), type=socket.SOCK_DGRAM)


def test_a_datagram_socket_is_decided_by_its_first_use():
    words = ["+dummy", "-for=port 53"]
    assert datagrams(words, ("192.0.2.1", 53)) == [Dummy, Wire]
    assert datagrams(words, ("192.0.2.1", 54)) == [Wire]
    assert datagrams(words, None, port=53) == [Dummy, Wire]
    assert datagrams(words, None, port=0) == [Wire]
    assert datagrams(["+dummy", "-for=tcp"], ("192.0.2.1", 53)) == [Wire]


def test_a_socket_that_is_bound_may_go_anywhere_and_so_bypasses_nothing():
    words = [*PROXY, "-dns=local", "-except=net 10.0.0.0/8"]
    socks = Socks.serving(socket.SOCK_DGRAM)
    assert datagrams(words, None, port=0) == [socks, Wire]
    assert datagrams(words, None, port=4000) == [socks, Wire]
    assert datagrams(words, ("10.0.0.1", 53)) == [Sentry, Wire]
    # It is bound, and so may be a server; but it is not one for sure.
    assert datagrams([*words[:2], "-for=out"], None, port=4000) == [socks, Wire]


def test_a_socket_past_a_proxy_sends_nothing_that_the_proxy_is_for():
    network = Network()
    stack = Stack(parse([*PROXY, "-except=net 10.0.0.0/8"]))
    facts = flow(("10.0.0.1", 53))
    top = stack.plumber(network.clock, network.wire, facts)(socket.AF_INET, socket.SOCK_DGRAM)
    assert [type(top), *down(top, "plumbed")] == [DatagramNaming, Sentry, Wire]
    sent = []
    top.below.below.write = lambda data, to=None: sent.append((data, to)) or True
    assert top.write(b"x", ("10.0.0.2", 1000))
    with pytest.raises(OSError, match=r"\+socks is for what goes to 192.0.2.1:53"):
        top.below.write(b"x", ("192.0.2.1", 53))
    assert sent == [(b"x", ("10.0.0.2", 1000))]


def test_datagrams_to_a_name_that_no_proxy_is_told_go_nowhere():
    network = Network()
    stack = Stack(parse([*PROXY, "-except=host *.corp"]))
    number = str(stack._naming.shared.setdefault("names", Names()).invent("a.corp").ipv4)
    facts = flow((number, 1000))
    top = stack.plumber(network.clock, network.wire, facts)(socket.AF_INET, socket.SOCK_DGRAM)
    assert [type(top), *down(top, "plumbed")] == [DatagramNaming, Sentry, Wire]
    for call in (lambda: top.write(b"x", (number, 1000)), lambda: top.connect((number, 1000))):
        with pytest.raises(OSError, match="a.corp, which is known by name only") as wrong:
            call()
        assert wrong.value.errno == errno.EHOSTUNREACH
