"""A probe writes a line for each call and event, and changes nothing."""

from errno import ECONNREFUSED, ENOTCONN

import pytest

from tesla_trace.flow.probe import Probe
from tesla_trace.testing.network import SERVER, Network
from tesla_trace.testing.playbook import app, net

PEER = ("192.0.2.1", 80)


@pytest.fixture
def probe(play):
    made = play(Probe)
    made.handler.options = "socks"
    return made


@pytest.mark.parametrize(
    ("call", "answer", "lines"),
    [
        (app.connect(PEER), None, ["connect(192.0.2.1:80)"]),
        (app.bind(("::1", 53, 0, 0)), None, ["bind([::1]:53)"]),
        (app.listen(5), None, ["listen(5)"]),
        (app.write(b"data"), True, ["write(4 bytes)", "write(4 bytes) = True"]),
        (
            app.write(b"data", ("example.org", 53)),
            False,
            ["write(4 bytes, example.org:53)", "write(4 bytes, example.org:53) = False"],
        ),
        (app.shutdown(True, False), None, ["shutdown(True, False)"]),
        (app.close(), None, ["close()"]),
        (app.abort(), None, ["abort()"]),
        (app.getpeername(), PEER, ["getpeername()", "getpeername() = 192.0.2.1:80"]),
        (app.getsockopt(1, 2, 4), b"1234", ["getsockopt(1, 2, 4)", None]),
        (app.may_avail(False), None, ["may_avail(False)"]),
    ],
    ids=str,
)
def test_calls(probe, call, answer, lines):
    probe.below.answers[call.what] = answer
    probe >> call << getattr(net, call.what)(*call.args)
    assert probe.result == answer
    told = [line or f"{lines[0]} = {len(answer)} bytes" for line in lines]
    assert probe.lines == [f"1 curl[4711]: out socks.{line}" for line in told]


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (net.connected(), "connected()"),
        (net.connected(OSError(ECONNREFUSED, "no")), "connected(ECONNREFUSED)"),
        (net.accept_ready(), "accept_ready()"),
        (net.may_write(False), "may_write(False)"),
        (net.ended(), "ended()"),
        (net.ended(OSError(4242, "odd")), "ended([Errno 4242] odd)"),
    ],
    ids=str,
)
def test_events(probe, event, told):
    shown = [arg.errno if isinstance(arg, OSError) else arg for arg in event.args]
    probe >> event << getattr(app, event.what)(*shown)
    assert probe.lines == [f"1 curl[4711]: in  socks.{told}"]


def test_data_that_comes_in(probe):
    probe >> net.avail(b"data", PEER) << app.avail(b"data", PEER)
    line = "1 curl[4711]: in  socks.avail(4 bytes, 192.0.2.1:80)"
    assert probe.lines == [line, f"{line} = True"]


def test_a_call_that_fails(probe):
    def fail():
        raise OSError(ENOTCONN, "no")

    probe.below.getpeername = fail
    with pytest.raises(OSError):
        probe >> app.getpeername()
    assert probe.lines[1] == "1 curl[4711]: out socks.getpeername() = ENOTCONN"


def test_one_above_each_handler_and_one_at_the_bottom():
    network = Network()
    client = network.application(["+dummy", "+latency"], probed=True)
    with pytest.raises(OSError):
        client.getpeername()
    asked = [line for line in network.log if "=" not in line]
    assert asked == [
        f"1 curl[4711]: out {name}.getpeername()" for name in ("dummy", "latency", "network")
    ]


def test_an_accepted_flow_has_probes_too_that_know_its_number():
    network = Network()
    server = network.application(["+dummy"], probed=True)
    server.listen(1)
    client = network.application()
    client.connect(SERVER)
    network.run(0)
    network.log.clear()
    accepted, _ = server.accept()
    assert network.log == [
        "1 curl[4711]: out dummy.accept()",
        "1 curl[4711]: out network.accept()",
        "1 curl[4711]: out network.accept() = 192.0.2.2:5000",
        "1 curl[4711]: out dummy.accept() = 192.0.2.2:5000",
    ]
    network.log.clear()
    accepted.write(b"hello")
    assert network.log[0] == "3 httpd[4711]: out dummy.write(5 bytes)"


def test_a_tunnel_steps_aside_between_probes():
    network = Network()
    client = network.application(["+socks=192.0.2.9:1080"], probed=True)
    server = network.application(["+socks-proxy"])
    server.listen(1)
    client.connect(SERVER)
    network.run(0)
    accepted, _ = server.accept()
    network.run()
    network.log.clear()
    client.write(b"hello")
    network.run()
    assert accepted.got == b"hello"
    assert [line for line in network.log if "=" not in line] == [
        "1 curl[4711]: out naming.write(5 bytes)",
        "1 curl[4711]: out socks.write(5 bytes)",
        "1 curl[4711]: out network.write(5 bytes)",
    ]
