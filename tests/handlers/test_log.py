import json
import socket
from errno import ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENOTCONN, ETIMEDOUT

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.flow import failure
from tesla_trace.handlers.log import Log
from tesla_trace.testing.network import SERVER, Network
from tesla_trace.testing.playbook import Playbook, app, net, wait

PEER = ("192.0.2.1", 80)
WHO = {"flow": 1, "pid": 4711, "program": "curl"}


def said(play):
    """The lines since the last time, without the name of the flow."""
    lines, play.lines[:] = list(play.lines), []
    name = "1 curl[4711]: "
    assert all(line.startswith(name) for line in lines)
    return [line.removeprefix(name) for line in lines]


def objects(play):
    """The same as JSON, without what is the same in all."""
    lines, play.lines[:] = list(play.lines), []
    found = [json.loads(line) for line in lines]
    assert all(each.items() >= WHO.items() for each in found)
    return [{key: each[key] for key in each if key not in WHO} for each in found]


@pytest.fixture
def log(play):
    """A flow that has just been connected."""
    made = play(Log) >> app.connect(PEER) << net.connect(PEER) >> wait(0.0123)
    made >> net.connected() << app.connected()
    assert said(made) == ["connecting to 192.0.2.1:80", "connected in 12.3 ms"]
    return made


def test_a_flow_from_beginning_to_end(log):
    log >> app.write(b"hello") << net.write(b"hello") >> net.avail(b"hi") << app.avail(b"hi")
    assert said(log) == [], "data only with -data"
    log >> app.shutdown(False, True) << net.shutdown(False, True) >> net.ended() << app.ended()
    assert said(log) == ["shut down out", "ended"]
    log >> wait(2) >> app.close() << net.close()
    assert said(log) == ["closed: out 5 bytes, in 2 bytes, 2.012 s"]


def test_the_same_as_json(play):
    log = play(Log, "-json", "-data") >> app.connect(("2001:db8::1", 80, 0, 0))
    log << net.connect(("2001:db8::1", 80, 0, 0)) >> wait(0.0123)
    log >> net.connected() << app.connected()
    log >> app.write(b"hello") << net.write(b"hello") >> net.avail(b"hi") << app.avail(b"hi")
    log >> app.shutdown(True, True) << net.shutdown(True, True)
    log >> net.ended() << app.ended() >> wait(2) >> app.close() << net.close()
    assert objects(log) == [
        {"time": 0, "event": "connecting", "address": "[2001:db8::1]:80"},
        {"time": 0.0123, "event": "connected", "took": 0.0123},
        {"time": 0.0123, "event": "data", "direction": "out", "size": 5},
        {"time": 0.0123, "event": "data", "direction": "in", "size": 2},
        {"time": 0.0123, "event": "shut down", "direction": "out"},
        {"time": 0.0123, "event": "shut down", "direction": "in"},
        {"time": 0.0123, "event": "ended"},
        {"time": 2.0123, "event": "closed", "out": 5, "in": 2},
    ]


def test_data_a_line_for_each_piece(play):
    log = play(Log, "-data") >> app.write(b"hello") << net.write(b"hello")
    log >> net.avail(b"hi") << app.avail(b"hi")
    assert said(log) == ["out 5 bytes", "in 2 bytes"]


def test_what_is_not_taken_is_not_counted(play):
    log = play(Log, "-data")
    log.below.answers["write"] = False
    log >> app.write(b"hello") << net.write(b"hello")
    log >> app.close() << net.close() >> net.avail(b"late") << None
    assert said(log) == ["closed: out 0 bytes, in 0 bytes, 0.000 s"]


def test_datagrams_have_addresses(play):
    log = play(Log, "-data", type=socket.SOCK_DGRAM)
    log >> app.write(b"q", ("192.0.2.53", 53)) << net.write(b"q", ("192.0.2.53", 53))
    log >> net.avail(b"", ("192.0.2.53", 53)) << app.avail(b"", ("192.0.2.53", 53))
    assert said(log) == ["out 1 bytes to 192.0.2.53:53", "in 0 bytes from 192.0.2.53:53"]
    log = play(Log, "-data", "-json", type=socket.SOCK_DGRAM)
    log >> app.write(b"q", ("192.0.2.53", 53)) << net.write(b"q", ("192.0.2.53", 53))
    (line,) = objects(log)
    assert line == {
        "time": 0,
        "event": "data",
        "direction": "out",
        "size": 1,
        "address": "192.0.2.53:53",
    }


def test_a_connect_that_fails_later_and_is_tried_again(play):
    log = play(Log) >> app.connect(PEER) << net.connect(PEER)
    why = failure(EHOSTUNREACH, "+socks 10.0.0.9:1080: the proxy says 4: host unreachable")
    log >> net.connected(why) << app.connected(EHOSTUNREACH)
    log >> wait(5) >> app.connect(PEER) << net.connect(PEER) >> wait(0.001)
    log >> net.connected() << app.connected()
    assert said(log) == [
        "connecting to 192.0.2.1:80",
        "failed: EHOSTUNREACH: +socks 10.0.0.9:1080: the proxy says 4: host unreachable",
        "connecting to 192.0.2.1:80",
        "connected in 1.0 ms",
    ]


@pytest.mark.parametrize("call", [app.connect(PEER), app.listen(5)], ids=str)
def test_a_call_that_fails_at_once(play, call):
    def fail(given):
        raise OSError(ECONNREFUSED, "Connection refused")

    log = play(Log)
    setattr(log.below, call.what, fail)
    with pytest.raises(ConnectionRefusedError):
        log >> call
    assert said(log)[-1] == "failed: ECONNREFUSED"


def test_an_address_that_cannot_be_shown_fails_nobodys_listen(play):
    def fail():
        raise OSError(ENOTCONN, "no")

    log = play(Log)
    log.below.getsockname = fail
    log >> app.listen(5) << net.listen(5)


def test_a_shutdown_that_fails_did_not_happen(play):
    def fail(read, write):
        raise OSError(ENOTCONN, "no")

    log = play(Log)
    log.below.shutdown = fail
    with pytest.raises(OSError):
        log >> app.shutdown(True, True)
    assert said(log) == []


def test_how_a_flow_is_lost(play):
    log = play(Log) >> net.ended() << app.ended()
    log >> net.ended(OSError(ECONNRESET, "Connection reset by peer")) << app.ended(ECONNRESET)
    assert said(log) == ["ended", "reset: ECONNRESET"]
    log >> net.ended(OSError(ETIMEDOUT, "Connection timed out")) << app.ended(ETIMEDOUT)
    assert said(log) == ["failed: ETIMEDOUT"]
    log = play(Log, "-json") >> net.ended(failure(ECONNRESET, "cut")) << app.ended(ECONNRESET)
    lost = {"time": 0, "event": "reset", "errno": "ECONNRESET", "reason": "cut"}
    assert objects(log) == [lost]


@pytest.mark.parametrize(
    ("calls", "word"),
    [
        (["close"], "closed"),
        (["abort"], "aborted"),
        (["close", "abort"], "closed"),
        (["abort", "abort", "close"], "aborted"),
        (["close", "close"], "closed"),
    ],
)
def test_totals_are_said_once(log, calls, word):
    for call in calls:
        getattr(log.handler, call)()
    log._reactions.clear()
    assert said(log) == [f"{word}: out 0 bytes, in 0 bytes, 0.012 s"]
    log.done()
    assert said(log) == []


def test_closed_by_the_flow_above_when_it_is_handed_data(play):
    log = play(Log)
    log.above.avail = lambda *given: log.handler.close() or False
    log >> net.avail(b"hello") << net.close()
    assert said(log) == ["closed: out 0 bytes, in 5 bytes, 0.000 s"]


def test_listen_and_accept():
    network = Network()
    server = network.application(["+log"])
    server.bind(SERVER)
    server.listen(5)
    client = network.application()
    client.connect(SERVER)
    network.run(1)
    accepted, _ = server.accept()
    client.write(b"hello")
    network.run(2)
    accepted.close()
    assert network.log == [
        "1 curl[4711]: listening on 192.0.2.1:80",
        "3 httpd[4711]: accepted from 192.0.2.2:5000 by 1",
        "3 httpd[4711]: closed: out 0 bytes, in 5 bytes, 2.000 s",
    ]
    network.log.clear()
    with pytest.raises(BlockingIOError):
        server.accept()
    assert network.log == []


def test_listen_and_accept_as_json():
    network = Network()
    server = network.application(["+log", "-json"])
    server.listen(5)
    network.application().connect(SERVER)
    network.run(1)
    server.accept()
    listening, accepted = map(json.loads, network.log)
    assert listening["event"] == "listening" and listening["address"] == "192.0.2.1:80"
    assert accepted == {
        "time": 0,
        "flow": 3,
        "pid": 4711,
        "program": "httpd",
        "event": "accepted",
        "address": "192.0.2.2:5000",
        "listener": 1,
    }


KEYS = {
    *("time", "flow", "pid", "program", "event", "address", "took", "listener"),
    *("direction", "size", "out", "in", "errno", "reason"),
}


def test_the_usage_text_names_every_key():
    assert all(f"{key}" in (Log.__doc__ or "") for key in KEYS)


@given(
    program=st.text(max_size=16),
    steps=st.lists(st.sampled_from(["write", "avail", "shutdown", "ended", "reset", "wait"])),
    words=st.sampled_from([[], ["-data"], ["-json"], ["-json", "-data"]]),
)
def test_each_event_is_one_line_and_one_object(program, steps, words):
    log = Playbook(Log, *words)
    log.handler.ctx.flow.program = program
    lost = OSError(ECONNRESET, "Connection reset by peer")
    events = {
        "write": app.write(b"x"),
        "avail": net.avail(b"xy"),
        "shutdown": app.shutdown(False, True),
        "ended": net.ended(),
        "reset": net.ended(lost),
        "wait": wait(0.5),
    }
    for step in steps:
        log >> events[step]
        log._reactions.clear()
    log >> app.close() << net.close()
    log.done()
    quiet = {"wait"} if "-data" in words else {"wait", "write", "avail"}
    assert len(log.lines) == 1 + sum(step not in quiet for step in steps)
    assert all(line.isprintable() for line in log.lines)
    out, in_ = steps.count("write"), 2 * steps.count("avail")
    if "-json" in words:
        found = [json.loads(line) for line in log.lines]
        assert all(set(each) <= KEYS for each in found)
        assert found[-1]["out"] == out and found[-1]["in"] == in_
        assert found[-1]["program"] == program
    else:
        assert f"closed: out {out} bytes, in {in_} bytes, " in log.lines[-1]
        assert not any(word in log.lines[-1] for word in ("upstream", "downstream"))


def test_it_serves_every_type_of_socket():
    assert {socket.SOCK_STREAM, socket.SOCK_DGRAM} == set(Log.types)


def test_a_datagram_that_did_not_get_there(play):
    log = play(Log, type=socket.SOCK_DGRAM) >> app.write(b"x", PEER) << net.write(b"x", PEER)
    lost = failure(ECONNREFUSED, "nobody there")
    log >> net.undelivered(lost) << app.undelivered(ECONNREFUSED)
    assert said(log) == ["undelivered: ECONNREFUSED: nobody there"]
