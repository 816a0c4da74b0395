import statistics
from errno import ECONNREFUSED, ECONNRESET, EMFILE

import pytest

from tesla_trace.flow import UsageError, parse
from tesla_trace.handlers.latency import DELAY, LEAST, Latency
from tesla_trace.testing.network import SERVER, Network
from tesla_trace.testing.playbook import Playbook, app, net, turn, wait


def test_latency(play):
    far = play(Latency, "-delay=100ms") >> app.write(b"a") >> wait(0.05) >> app.write(b"b") << None
    far >> wait(0.06) << net.write(b"a") >> wait(0.05) << net.write(b"b")
    far >> net.avail(b"c") >> net.ended() >> wait(0.2) << app.avail(b"c") << app.ended()


def test_latency_passes_an_early_end_at_once(play):
    play(Latency, "-delay=100ms") >> app.shutdown(False, True) << net.shutdown(False, True)


def test_close_forgets_what_was_coming_in(play):
    far = play(Latency, "-delay=100ms")
    far >> net.avail(b"c") >> app.close() << net.close() >> wait(1) << None


def test_much_may_be_under_way_but_not_without_bound(play):
    far = play(Latency, "-delay=80ms", "-rate=100MB")
    for _ in range(31):
        far >> app.write(bytes(250_000)) << None
    far >> app.write(bytes(250_000)) >> turn << app.may_write(False)
    far >> wait(0.1) << net.write(bytes(8_000_000)) << app.may_write(True)


def test_room_is_never_less_than_a_mebibyte(play):
    far = play(Latency, "-delay=1ms", "-rate=1kB") >> net.avail(bytes(LEAST - 1000)) >> turn
    far >> net.avail(bytes(1000)) >> turn << net.may_avail(False)
    far >> wait(0.1) << app.avail(bytes(LEAST)) << net.may_avail(True)


def test_room_has_a_bound():
    with pytest.raises(UsageError, match="must have a bound"):
        parse(["+latency", "-rate=unlimited"])


# ---- jitter ----


def delays(*words, count=400, number=1):
    """How long each of many pieces is held, far apart from each other."""
    far = Playbook(Latency, *words)
    far.handler.ctx.flow.number = number
    went = []
    far.below.write = lambda data, to=None: went.append(far.clock.now()) or True
    found = []
    for _ in range(count):
        begun = far.clock.now()
        far.handler.write(b"x")
        far.clock.advance(10)
        found.append(went.pop() - begun)
        assert not went
    return found


def test_uniform_jitter():
    found = delays("-delay=100ms", "-jitter=40ms")
    assert 0.06 <= min(found) < 0.065 and 0.135 < max(found) <= 0.14
    assert abs(statistics.mean(found) - 0.1) < 0.004
    assert abs(statistics.pstdev(found) - 0.04 / 3**0.5) < 0.002


def test_normal_jitter():
    found = delays("-delay=100ms", "-jitter=20ms", "-distribution=normal")
    assert abs(statistics.mean(found) - 0.1) < 0.003
    assert abs(statistics.pstdev(found) - 0.02) < 0.002
    assert max(found) > 0.14, "it has tails"


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_nothing_arrives_before_it_was_sent(distribution):
    found = delays("-delay=10ms", "-jitter=50ms", f"-distribution={distribution}")
    assert min(found) == pytest.approx(0) and max(found) > 0.05


def test_a_seed_makes_the_same_jitter_again():
    words = ["-delay=1s", "-jitter=1s"]
    assert delays(*words, "-seed=7", count=9) == delays(*words, "-seed=7", count=9)
    assert delays(*words, "-seed=7", count=9) != delays(*words, "-seed=8", count=9)
    assert delays(*words, count=9) != delays(*words, count=9)


def test_nothing_overtakes(play):
    far = play(Latency, "-delay=100ms", "-jitter=90ms", "-seed=1")
    data = bytes(range(200))
    for each in data:
        far >> net.avail(bytes([each]))
        far.clock.advance(0)
    far >> wait(1) << app.avail(data)


# ---- connections ----


@pytest.mark.parametrize("error", [None, ECONNREFUSED])
def test_a_connect_takes_a_round_trip_more(play, error):
    far = play(Latency, "-delay=100ms") >> app.connect(SERVER) << net.connect(SERVER)
    far >> net.connected(OSError(error, "") if error else None) << None >> wait(0.19) << None
    far >> wait(0.02) << app.connected(*([error] if error else []))


def test_what_comes_with_a_connect_comes_after_it(play):
    far = play(Latency, "-delay=100ms") >> app.connect(SERVER) << net.connect(SERVER)
    far >> net.connected() >> net.avail(b"hello") >> wait(0.19) << None
    far >> wait(0.02) << app.connected() << app.avail(b"hello")


def test_what_comes_with_a_connect_waits_until_it_may(play):
    far = play(Latency, "-delay=100ms") >> app.connect(SERVER) << net.connect(SERVER)
    far >> net.connected() >> net.avail(b"hello") >> app.may_avail(False) >> wait(0.3)
    far << app.connected() >> wait(1) << None >> app.may_avail(True) >> turn << app.avail(b"hello")


def test_closed_while_it_connects_it_is_silent(play):
    far = play(Latency, "-delay=100ms") >> app.connect(SERVER) << net.connect(SERVER)
    far >> net.connected() >> app.close() << net.close() >> wait(1) << None


def listening(*words, backlog=5):
    network = Network()
    server = network.application(["+latency", *words])
    server.bind(SERVER)
    server.listen(backlog)
    return network, server


def connects(network, send=b""):
    client = network.application()
    client.connect(SERVER)
    network.run(0)
    if send:
        client.write(send)
    return client


def test_a_connection_that_comes_in_is_seen_a_round_trip_later():
    network, server = listening("-delay=100ms")
    client = connects(network, b"hello")
    network.run(0.05)
    other = connects(network)
    network.run(0.14)
    assert not server.arrived
    with pytest.raises(BlockingIOError):
        server.accept()
    network.run(0.02)
    assert server.arrived == 1
    accepted, _ = server.accept()
    assert not accepted.got
    network.run(0)
    assert accepted.got == b"hello"
    network.run(0.05)
    assert server.arrived == 2
    second, _ = server.accept()
    second.write(b"x")
    network.run(0.11)
    assert other.got == b"x" and not client.got


def test_of_what_has_not_been_accepted_no_more_comes_in_than_fits():
    network, server = listening("-delay=1s", backlog=2)
    for _ in range(9):
        connects(network)
    network.run(0.5)
    assert network.listener.may is False
    network.run(1.6)
    assert server.arrived >= 3 and network.listener.may is True


def test_one_that_is_gone_before_it_is_seen_ends_once_it_is():
    network, server = listening("-delay=100ms")
    client = connects(network, b"hello")
    network.run(0.01)
    client.abort()
    accepted = network.accepted(server)
    network.run()
    assert accepted.end == ECONNRESET


@pytest.mark.parametrize("when", [0.1, 0.3])
@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_listener_that_is_given_up_gives_up_who_has_come_in(how, when):
    network, server = listening("-delay=100ms")
    client = connects(network)
    network.run(when)
    getattr(server, how)()
    network.run(10)
    assert client.end == ECONNRESET
    client.close()
    network.run()
    assert network.clock.pending() == 0


def test_what_keeps_it_from_accepting_is_told(play):
    far = play(Latency) >> app.listen(1) << net.listen(1)

    def accept():
        raise OSError(EMFILE, "")

    far.below.accept = accept
    far >> net.accept_ready() << app.accept_ready()
    with pytest.raises(OSError) as error:
        far.handler.accept()
    assert error.value.errno == EMFILE
    with pytest.raises(BlockingIOError):
        far.handler.accept()


def test_a_program_may_ask_how_long(play):
    assert (play(Latency, "-delay=250ms") >> app.ioctl(DELAY, b"")).result == b"0.25"


@pytest.mark.parametrize("data", [b"", b"hello"])
@pytest.mark.parametrize("how", ["shutdown", "abort"])
def test_an_end_before_it_is_accepted_is_told(data, how):
    network = Network()
    server = network.application(["+latency", "-delay=50ms"])
    server.bind(SERVER)
    server.listen(1)
    client = network.application()
    client.connect(SERVER)
    network.run(0)
    if data:
        client.write(data)
    network.run(0.01)
    client.shutdown(False, True) if how == "shutdown" else client.abort()
    accepted = network.accepted(server)
    network.run()
    assert accepted.got == data and accepted.end == (0 if how == "shutdown" else 104)
