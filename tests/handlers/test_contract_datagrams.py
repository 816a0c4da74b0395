"""What every handler must keep of datagrams, tried on each that serves them, and on all of them."""

import errno
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesla_trace.flow import installed
from tests.datagrams import PROXY, Air, Proxy

SERVE = [name for name, each in installed().items() if each.serving(socket.SOCK_DGRAM)]
OPTIONS = {"latency": ["-delay=100ms"], "shape": ["-out=200kB", "-in=300kB"]}
RELAYED = ["+socks=10.0.0.9:1080"]

NEAR = [("127.0.0.1", 5000), ("127.0.0.1", 5001), ("127.0.0.2", 5000)]
"""Reached directly by whatever handler."""
FAR = [("192.0.2.1", 5000), ("192.0.2.2", 5001), ("192.0.2.3", 5000)]


@pytest.fixture(scope="session", params=[*SERVE, "all", "socks, relayed", "all, relayed"])
def words(request):
    """The words for one application."""
    name, _, relayed = request.param.partition(", ")
    names = SERVE if name == "all" else [name]
    if relayed:
        names = [each for each in names if each not in ("http", "socks")]
    found = [word for each in names for word in (f"+{each}", *OPTIONS.get(each, []))]
    return [*found, *RELAYED] if relayed else found


@pytest.fixture
def meet(words):
    """An application through the handlers, two that are native, and their names."""
    return lambda **facts: _meet(words, **facts)


def _meet(words, **facts):
    air = Air()
    names = FAR if words[-1:] == RELAYED else NEAR
    stacks = [words, [], []]
    return air, names, [air.application(*each, **facts) for each in zip(stacks, names, strict=True)]


def data_of(app):
    return [data for data, _ in app.got]


STEP = st.one_of(
    st.tuples(st.just("out"), st.integers(1, 2), st.binary(max_size=3000)),
    st.tuples(st.just("in"), st.integers(1, 2), st.binary(max_size=3000)),
    st.tuples(st.just("take"), st.just(0), st.booleans()),
    st.tuples(st.just("run"), st.just(0), st.sampled_from([0, 0.05, 1])),
)


@settings(max_examples=40)
@given(steps=st.lists(STEP, max_size=30), probed=st.booleans())
def test_each_arrives_once_whole_and_in_order(words, steps, probed):
    air, names, apps = _meet(words, probed=probed)
    app, *others = apps
    for other, name in zip(others, names[1:], strict=True):  # so that a relay knows us, and they it
        app.write(b"", name)
        air.run()
        assert data_of(other) == [b""]
    backs = [other.got[0][1] for other in others]
    sent, received = {1: [b""], 2: [b""]}, {1: [], 2: []}
    for what, which, value in steps:
        if what == "run":
            air.run(value)
        elif what == "take":
            app.take(value)
        elif what == "out":
            assert app.write(value, names[which])
            sent[which].append(value)
        else:
            assert apps[which].write(value, backs[which - 1])
            received[which].append(value)
    app.take(True)
    air.run(600)
    for which in (1, 2):
        assert data_of(apps[which]) == sent[which]
        assert {origin for _, origin in apps[which].got} == {backs[which - 1]}
        assert [data for data, origin in app.got if origin == names[which]] == received[which]
    assert len(app.got) == len(received[1] + received[2]) and not app.errors
    app.close()
    air.run(600)
    assert air.clock.pending() == 0, "a closed handler keeps a timer"


def test_a_peer_may_be_chosen_and_chosen_again(meet):
    air, names, (app, one, other) = meet()
    for name in (names[1], names[2], names[1]):
        app.connect(name)
        assert app.write(b"hello") and app.write(b"")
        air.run()
    assert data_of(one) == [b"hello", b""] * 2 and data_of(other) == [b"hello", b""]
    one.write(b"answer", one.got[-1][1])
    air.run()
    assert app.got == [(b"answer", names[1])] and not app.errors


def test_to_nobody(meet):
    _, _, (app, *_) = meet()
    try:
        app.write(b"x")
    except OSError as error:
        assert error.errno == errno.EDESTADDRREQ
    else:
        app.ctx.clock.advance(60)
        assert app.errors == [errno.EDESTADDRREQ]


def test_an_error_of_one_is_that_of_one(meet, words):
    air, names, (app, one, _) = meet()
    for target, data in (((names[1][0], 9), b"nobody"), (names[1], bytes(65508))):
        try:
            app.write(data, target)
        except OSError as error:
            app.errors.append(error.errno)
        air.run()
        app.write(b"next", names[1])
        air.run()
    assert data_of(one) == [b"next", b"next"]
    # A relay says nothing of who was not there.
    expected = [errno.EMSGSIZE] if words[-1:] == RELAYED else [errno.ECONNREFUSED, errno.EMSGSIZE]
    assert app.errors == expected


@pytest.mark.parametrize("how", ["close", "abort"])
def test_given_up_inside_an_event_it_is_silent(meet, how):
    air, names, (app, one, other) = meet()
    app.closes = how
    app.write(b"hello", names[1])
    air.run()
    for _ in range(3):
        one.write(b"answer", one.got[0][1])
    air.run(600)
    assert data_of(app) == [b"answer"] and app.closed
    one.close()
    other.close()
    assert all(end.closed for end in air.ends) and air.clock.pending() == 0


@pytest.mark.parametrize("before", [0, 0.05, 20])
@pytest.mark.parametrize("how", ["close", "abort"])
def test_given_up_at_any_time_it_is_silent(meet, how, before):
    air, names, (app, one, other) = meet()
    for data in (b"one", b"two"):
        app.write(data, names[1])
    air.run(before)
    app.write(b"three", names[1])
    getattr(app, how)()
    air.run(600)
    assert not app.got and not app.errors
    assert data_of(one) == [b"one", b"two", b"three"][: len(one.got)]
    assert how == "abort" or len(one.got) == 3
    one.close()
    other.close()
    air.run(600)
    assert all(end.closed for end in air.ends) and air.clock.pending() == 0


@pytest.mark.parametrize("before", [None, 0, 20])
def test_what_was_written_at_once_still_goes_after_close(meet, before):
    air, names, (app, one, other) = meet()
    if before is not None:
        app.write(b"first", names[1])
        air.run(before)
    app.write(b"last", names[1])
    app.close()
    air.run(600)
    assert one.got[-1][0] == b"last"
    one.close()
    other.close()
    assert all(end.closed for end in air.ends) and air.clock.pending() == 0


def test_a_reader_that_stops_is_given_nothing(meet):
    air, names, (app, one, _) = meet()
    app.write(b"hello", names[1])
    air.run()
    app.take(False)
    for number in range(100):
        one.write(b"%d" % number, one.got[0][1])
        air.run(0.1)
    assert not app.got
    app.take(True)
    air.run(600)
    assert data_of(app) == [b"%d" % number for number in range(100)]


def test_control_calls_pass(meet):
    air, names, (app, *_) = meet()
    for _ in range(2):
        assert app.getsockname() == names[0] and app.getsockopt(1, 2, 1) == b"\1"
        app.write(b"data", names[1])
        air.run()


def test_a_proxy_that_hangs_up_is_asked_again():
    air, names, (app, one, _) = _meet(RELAYED)
    for _ in range(2):
        app.write(b"hello", names[1])
        air.run()
        one.write(b"answer", one.got[-1][1])
        air.run()
        (proxy,) = (end for end in air.ends if isinstance(end, Proxy) and not end.closed)
        proxy.hang_up()
        air.run()
    assert data_of(one) == [b"hello"] * 2 and app.got == [(b"answer", names[1])] * 2


def test_there_is_something_to_test():
    assert {"dummy", "latency", "log", "shape", "socks", "http"} <= set(SERVE)
    assert RELAYED == [f"+socks={PROXY[0]}:{PROXY[1]}"]
