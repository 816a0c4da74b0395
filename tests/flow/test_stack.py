import errno
import socket

import pytest

from tesla_trace.flow import FlowHandler, Stack, installed, parse
from tesla_trace.flow.naming import StreamNaming
from tesla_trace.handlers.dummy import Dummy
from tesla_trace.handlers.latency import Latency
from tesla_trace.handlers.socks import Socks
from tesla_trace.testing.network import CLIENT, SERVER, Network, Wire
from tesla_trace.testing.playbook import HandClock

PROXY = ("192.0.2.9", 1080)
SOCKS = ["+socks", "-proxy=192.0.2.9:1080"]


def down(flow, path):
    """The classes of what lies below, along one of the two paths."""
    found = []
    while flow := next(iter(getattr(flow, path)), None):
        found.append(type(flow))
    return found


def test_the_first_named_is_nearest_the_application():
    network = Network()
    application = network.application(["+dummy", "+latency", "-delay=2s", "+dummy"])
    kinds = [Dummy, Latency, Dummy, Wire]
    assert down(application, "downstream") == down(application, "plumbed") == kinds
    assert application.below.below.options.delay == 2


def test_no_handlers_at_all():
    assert down(Network().application(), "downstream") == [Wire]


def test_an_accepted_flow_has_the_same_handlers_in_the_same_order():
    client, server = Network().pair(["+dummy", "+latency", "-delay=2s"])
    assert down(server, "downstream") == down(server, "plumbed") == [Dummy, Latency, Wire]
    assert server.below.below.options is not client.below.below.options
    assert server.below.below.options == client.below.below.options
    assert server.below.upstream is server and server.below.below.upstream is server.below


def test_each_flow_has_its_own_handlers():
    network = Network()
    plumb = Stack(parse(["+dummy"])).plumber(network.clock, network.wire)
    flows = [plumb(socket.AF_INET, socket.SOCK_STREAM) for _ in "ab"]
    assert flows[0] is not flows[1] and flows[0].below is not flows[1].below


def test_a_handler_that_does_not_serve_datagrams_is_left_out_or_refuses_them(key):
    network = Network()
    bottom = network.wire
    for name in ("dummy", "latency", "log", "shape", "socks", "http"):
        handler = installed()[name]
        plumb = Stack([(name, handler.Options())]).plumber(network.clock, bottom)
        assert plumb(socket.AF_INET, socket.SOCK_DGRAM).below.ctx.type == socket.SOCK_DGRAM
    plumb = Stack(parse(["+compress"])).plumber(network.clock, bottom)
    assert isinstance(plumb(socket.AF_INET, socket.SOCK_DGRAM), Wire)
    flow = Stack(parse(["+crypt", f"-key={key}"])).plumber(network.clock, bottom)(
        socket.AF_INET, socket.SOCK_DGRAM
    )
    with pytest.raises(OSError, match=r"\+crypt to 192.0.2.1:53: ") as error:
        flow.write(b"x", ("192.0.2.1", 53))
    assert error.value.errno == errno.ENETUNREACH
    with pytest.raises(OSError) as error:
        Stack(parse(["+socks"])).plumber(network.clock, bottom)(socket.AF_INET, socket.SOCK_RAW)
    assert error.value.errno == errno.EPROTONOSUPPORT and "+socks" in str(error.value)


@pytest.mark.parametrize(
    ("words", "serves", "refuses"),
    [
        ("+compress", False, False),
        ("+dummy +log", True, False),
        ("+compress +latency", True, False),
        ("+dummy +socks", True, True),
        ("+latency +http +log", True, True),
    ],
)
def test_which_sockets_are_served_left_alone_or_refused(words, serves, refuses):
    stack = Stack(parse(words.split()))
    assert stack.serves(socket.SOCK_DGRAM) is serves
    assert not stack.refuses(socket.SOCK_DGRAM)
    assert stack.serves(socket.SOCK_STREAM) and not stack.refuses(socket.SOCK_STREAM)
    assert stack.refuses(socket.SOCK_RAW) is refuses


def test_the_flows_of_a_handler_share_a_dict_and_those_of_another_do_not():
    network = Network()
    stack = Stack(parse(["+dummy", "+dummy"]))
    one, two = (stack.plumber(network.clock, network.wire)(2, 1) for _ in "ab")
    assert one.ctx.shared is two.ctx.shared and one.below.ctx.shared is two.below.ctx.shared
    assert one.ctx.shared is not one.below.ctx.shared
    other = Stack(parse(["+dummy"])).plumber(network.clock, network.wire)(2, 1)
    assert other.ctx.shared is not one.ctx.shared


def test_all_handlers_of_a_flow_know_the_same_of_it():
    client = Network().application(["+dummy", "+latency"])
    assert client.ctx.flow is client.below.ctx.flow is client.below.below.ctx.flow


# ---- stepping aside ----


def test_a_tunnel_is_in_the_control_path_only():
    network = Network()
    client, server = network.pair(SOCKS, ["+socks-proxy"])
    assert down(client, "downstream") == [StreamNaming, Socks, Wire]
    network.run()
    assert down(client, "downstream") == [Wire]
    assert down(client, "plumbed") == [StreamNaming, Socks, Wire]
    assert client.below.upstream is client
    assert client.getpeername() == SERVER and client.below.getpeername() == PROXY


def test_nothing_passes_through_a_tunnel_but_control():
    passed = []

    class Watched(Socks):
        def __getattribute__(self, name):
            if name in vars(FlowHandler) and not name.startswith("_"):
                passed.append(name)
            return super().__getattribute__(name)

    network = Network([7], room=100, socks=Watched)
    client, server = network.pair(SOCKS, ["+socks-proxy"])
    network.run()
    passed.clear()
    client.write(b"x" * 1000)
    server.write(b"y" * 1000)
    client.take(False)
    network.run()
    client.take(True)
    server.shutdown(False, True)
    network.run()
    assert server.got == b"x" * 1000 and client.got == b"y" * 1000 and client.end == 0
    assert passed == []
    client.getpeername()
    client.ioctl(1, b"")
    client.shutdown(False, True)
    client.close()
    assert {"getpeername", "ioctl", "shutdown", "close"} <= set(passed)
    assert not {"write", "avail", "may_avail", "may_write", "ended"} & set(passed)


def test_a_dummy_stays():
    network = Network()
    client, server = network.pair(["+dummy"])
    network.run()
    client.write(b"x")
    network.run()
    assert down(client, "downstream") == down(server, "downstream") == [Dummy, Wire]


def test_tunnels_through_tunnels():
    network = Network([1])
    inner = ["+socks", "-proxy=192.0.2.8:1080"]
    client, server = network.pair(SOCKS + inner, ["+socks-proxy", "+socks-proxy"])
    network.run()
    assert client.log == ["connected"]
    assert down(client, "downstream") == [Wire]
    assert down(client, "plumbed") == [StreamNaming, Socks, Socks, Wire]
    far = client.control.control.control
    assert client.getpeername() == SERVER and far.getpeername() == PROXY
    client.write(b"hello")
    network.run()
    assert server.got == b"hello"


def test_what_is_above_a_tunnel_is_joined_to_what_is_below(key):
    network = Network()
    crypt = ["+crypt", f"-key={key}"]
    client, server = network.pair([*crypt, *SOCKS, "+dummy"], [*crypt, "+socks-proxy", "+dummy"])
    network.run()
    client.write(b"hello")
    network.run()
    assert server.got == b"hello"
    assert [kind.name for kind in down(client, "downstream")] == ["crypt", "dummy", "null"]
    plumbed = [kind.name for kind in down(client, "plumbed")]
    assert plumbed == ["naming", "crypt", "socks", "dummy", "null"]
    assert client.getpeername() == SERVER and server.getpeername() == CLIENT


def test_a_stop_outlives_the_tunnel_that_passed_it_on():
    network = Network()
    client, server = network.pair(SOCKS, ["+socks-proxy"])
    client.take(False)
    network.run()
    assert down(client, "downstream") == [Socks, Wire], "until it is known that nothing is left"
    server.write(b"hello")
    network.run()
    assert client.log == ["connected"] and client.got == b""
    client.take(True)
    network.run()
    assert client.got == b"hello" and down(client, "downstream") == [Wire]


class Control(FlowHandler):
    """In the control path only, from birth."""

    name = "control"

    def __init__(self, ctx):
        super().__init__(ctx)
        self.step_aside()


def test_a_handler_may_step_aside_at_birth():
    network = Network(control=Control)
    words = ["+control", "+dummy", "+control", "+control"]
    client, server = network.pair(words)
    for flow in client, server:
        assert down(flow, "downstream") == [Dummy, Wire]
        assert down(flow, "plumbed") == [Control, Dummy, Control, Control, Wire]
        assert flow.below.upstream is flow and flow.below.below.upstream is flow.below
    network.run()
    client.write(b"question")
    server.write(b"answer")
    network.run()
    assert client.log == ["connected"] and (client.got, server.got) == (b"answer", b"question")


def test_a_closed_handler_steps_nowhere():
    client, _ = Network().pair(["+dummy"])
    dummy = client.below
    client.close()
    dummy.step_aside()
    assert client.below is dummy


def test_the_hand_clock_is_a_clock():
    done = []
    clock = HandClock()
    clock.at(0, lambda: (done.append(1), clock.at(0, lambda: done.append(2))))
    clock.at(5, lambda: done.append(3)).cancel()
    clock.turn()
    assert done == [1]
    clock.turn()
    assert done == [1, 2]
    clock.advance(10)
    assert done == [1, 2] and clock.pending() == 0
