import socket
from errno import EINVAL, EPERM

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.flow import Flow
from tesla_trace.handlers.shape import LEAST, RATES, SEGMENT, SLACK, Shape
from tesla_trace.testing.network import Network
from tesla_trace.testing.playbook import Playbook, app, net, turn, wait


def written(shape):
    """Bytes that have gone out; whether more is wanted is not looked at."""
    lines = list(shape._reactions)
    shape._reactions.clear()
    return sum(len(line.args[0]) for line in lines if line.what == "write")


def test_burst_then_rate(play):
    shape = play(Shape, "-out=1kB", "-burst=100")
    shape >> app.write(b"x" * 100) >> turn << net.write(b"x" * 100)
    shape >> app.write(b"y" * 500) << None
    shape >> wait(0.4) << None >> wait(0.2) << net.write(b"y" * 500)


def test_each_way_has_its_own_rate(play):
    shape = play(Shape, "-in=1kB", "-burst=0")
    shape >> app.write(b"x" * 5000) >> turn << net.write(b"x" * 5000)
    shape >> net.avail(b"y" * 500) << None
    shape >> wait(0.4) << None >> wait(0.2) << app.avail(b"y" * 500)


def test_a_long_pause_earns_one_burst(play):
    shape = play(Shape, "-out=1kB", "-burst=100") >> wait(1000)
    shape >> app.write(b"x" * 100) >> app.write(b"y" * 100) << net.write(b"x" * 100)
    shape >> wait(0.05) << None >> wait(0.1) << net.write(b"y" * 100)


def test_what_could_not_go_for_a_while_is_not_made_up_for(play):
    shape = play(Shape, "-out=100kB", "-burst=3kB") >> net.may_write(False)
    shape >> app.write(b"x" * 10_000) >> turn << app.may_write(False) >> wait(60) << None
    shape >> net.may_write(True) >> turn << net.write(b"x" * 2 * SEGMENT)
    assert written(shape >> wait(1)) == 10_000 - 2 * SEGMENT


def test_a_burst_is_what_the_rate_brings_in_a_moment(play):
    assert SLACK == 0.025
    shape = play(Shape, "-out=1MB") >> app.write(b"x" * 60_000) << None
    shape >> turn << net.write(b"x" * (25_000 // SEGMENT * SEGMENT)) << app.may_write(False)
    assert written(shape >> wait(1)) == 60_000 - 25_000 // SEGMENT * SEGMENT


def test_bits_are_eighths_of_bytes(play):
    shape = play(Shape, "-out=8kbit", "-burst=0") >> app.write(b"x" * 1000)
    shape >> wait(0.9) << None >> wait(0.2) << net.write(b"x" * 1000)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 50_000)),
        st.tuples(st.just("wait"), st.floats(0, 0.2)),
        st.tuples(st.just("may"), st.booleans()),
    ),
    max_size=30,
)


@given(
    rate=st.integers(1000, 10**8),
    burst=st.integers(0, 100_000),
    late=st.floats(0, 0.02),
    steps=STEPS,
)
def test_in_any_time_no_more_goes_than_the_rate_and_one_burst(rate, burst, late, steps):
    """Whatever is written when, and however late the clock rings."""
    shape = Playbook(Shape, f"-out={rate}", f"-burst={burst}")
    went, written = [], 0

    def write(data, to=None):
        went.append((shape.clock.now(), len(data)))
        return True

    shape.below.write = write
    at = shape.clock.at
    shape.clock.at = lambda when, call: at(when + late, call)
    for what, value in [*steps, ("may", True), ("wait", 10**4)]:
        if what == "write":
            shape.handler.write(b"x" * value)
            written += value
        elif what == "may":
            shape.handler.may_write(shape.below, value)
        else:
            shape.clock.advance(value)
    assert sum(size for _, size in went) == written
    # The same in one pass: what is in the bucket never goes below nothing.
    most = max(burst, SEGMENT)
    level, before = float(most), 0.0
    for when, size in went:
        level, before = min(most, level + (when - before) * rate) - size, when
        assert level > -1 - 2e-6 * rate


def moved(network, apps, seconds):
    """Bytes that each application gets, of as much as its peer can send."""
    for each in apps:
        each.got = b""
    end = network.clock.now() + seconds
    while network.clock.now() < end:
        for each in apps:
            if each.peer.may:
                each.peer.write(bytes(100_000))
        network.run(0.01)
    return [len(each.got) for each in apps]


def flows(words, pids):
    """Flows of one program, each of the process given."""
    network = Network(room=50_000)
    stack = network.stack(words)
    clients = []
    for pid in pids:
        server = network.application()
        server.listen(1)
        client = network.application(stack)
        client.ctx.flow.pid = pid
        client.connect(("192.0.2.1", 80))
        client.peer = network.accepted(server)
        client.peer.peer = client
        clients.append(client)
    return network, clients


def near(value, wanted):
    return abs(value - wanted) <= wanted / 100


def test_over_five_seconds_it_is_the_rate():
    for rate in (50_000, 400_000):
        network, (client,) = flows(["+shape", f"-in={rate}", f"-out={rate}"], [1])
        network.run()
        assert near(moved(network, [client], 5)[0], 5 * rate)
        assert near(moved(network, [client.peer], 5)[0], 5 * rate)


def test_each_flow_has_the_rate_or_a_process_or_all():
    for share, wanted in (
        ("flow", [200_000, 200_000, 200_000]),
        ("process", [100_000, 100_000, 200_000]),
        ("all", [200_000 / 3] * 3),
    ):
        network, clients = flows(["+shape", "-in=200kB", f"-share={share}"], [7, 7, 8])
        got = moved(network, clients, 3)
        for each, rate in zip(got, wanted, strict=True):
            assert abs(each - 3 * rate) <= 0.03 * 3 * rate + 5 * SEGMENT, (share, got)


def test_what_one_flow_leaves_the_others_have():
    network, clients = flows(["+shape", "-in=300kB", "-share=all"], [7, 8, 9])
    clients[2].take(False)
    first, second, third = moved(network, clients, 3)
    assert third == 0 and abs(first + second - 900_000) < 0.02 * 900_000


def test_a_new_flow_does_not_bring_a_new_burst():
    network, clients = flows(["+shape", "-out=100kB", "-burst=5kB", "-share=process"], [7] * 20)
    for client in clients:
        client.write(b"x" * 5000)
        network.run(0)
        client.close()
    network.run(0.1)
    arrived = sum(len(client.peer.got) for client in clients)
    assert arrived <= 5000 + 0.1 * 100_000


def test_the_buckets_of_processes_that_have_ended_are_thrown_away():
    network = Network()
    stack = network.stack(["+shape", "-out=1MB", "-share=process"])
    shared = {}
    for pid in range(1, 100):
        server = network.application()
        server.listen(1)
        client = network.application(stack)
        client.ctx.flow.pid = pid
        client.connect(("192.0.2.1", 80))
        network.accepted(server)
        network.run(1)
        client.write(b"x")
        network.run(1)
        shared = client.below.ctx.shared
        client.close()
        network.run(1)
    assert set(shared) == {"out"} and len(shared["out"]) == 1


def test_little_may_wait_before_it(play):
    for words, out, into in (
        (["-out=2MB"], 40_000, None),
        (["-in=2MB"], None, 40_000),
        (["-out=1kB", "-in=20MB"], LEAST, 400_000),
        ([], None, None),
    ):
        flow = play(Shape, *words).handler.ctx.flow
        assert (flow.room_out, flow.room_in) == (out, into)


def test_the_least_that_any_handler_lets_wait_is_what_may_wait():
    flow = Flow()
    flow.hold(out=5, into=None)
    flow.hold(out=None, into=7)
    flow.hold(out=9, into=3)
    assert (flow.room_out, flow.room_in) == (5, 3)


def test_datagrams_go_whole_and_wait_no_longer_than_they_need(play):
    shape = play(Shape, "-out=100kB", "-burst=0", type=socket.SOCK_DGRAM)
    to = ("192.0.2.1", 7)
    shape >> app.write(b"x" * 10_000, to) >> app.write(b"", to) >> app.write(b"y" * 20_000, to)
    shape << None >> wait(0.09) << None
    shape >> wait(0.02) << net.write(b"x" * 10_000, to) << net.write(b"", to)
    shape >> wait(0.18) << None >> wait(0.02) << net.write(b"y" * 20_000, to)


def test_datagrams_do_not_pile_up(play):
    shape = play(Shape, "-out=10kB", "-in=10kB", "-burst=0", type=socket.SOCK_DGRAM)
    for _ in range(100):
        shape.handler.write(b"x" * 1000)
    shape.clock.turn()
    assert [line.what for line in shape._reactions] == ["may_write"]
    shape._reactions.clear()
    for _ in range(100):
        shape.handler.avail(shape.below, b"x" * 1000)
    shape.clock.turn()
    assert [line.what for line in shape._reactions] == ["may_avail"]
    shape._reactions.clear()
    shape.handler.abort()
    shape._reactions.clear()


def test_a_program_may_ask_for_the_rates_and_set_them(play):
    shape = play(Shape, "-out=1kB", "-burst=0") >> app.ioctl(RATES, b"")
    assert shape.result == b"out=1000 in=unlimited"
    shape >> app.write(b"x" * 1000) >> wait(0.9) << None >> wait(0.2) << net.write(b"x" * 1000)
    assert (shape >> app.ioctl(RATES, b"out=2kB in=8kbit")).result == b"out=2000 in=1000"
    shape >> app.write(b"x" * 1000) >> wait(0.4) << None >> wait(0.2) << net.write(b"x" * 1000)
    shape >> net.avail(b"y" * 1000) >> wait(0.9) << None >> wait(0.2) << app.avail(b"y" * 1000)
    assert (shape >> app.ioctl(RATES, b"in=unlimited")).result == b"out=2000 in=unlimited"
    shape >> net.avail(b"z" * 5000) >> wait(0) << app.avail(b"z" * 5000)


def test_rates_that_make_no_sense_or_are_others_too_are_not_set(play):
    for words, argument, number in (
        (["-out=1kB"], b"out=2kB in=fast", EINVAL),
        (["-out=1kB"], b"sideways=2kB", EINVAL),
        (["-out=1kB", "-share=all"], b"out=2kB", EPERM),
    ):
        shape = Network().application(["+shape", *words]).below
        with pytest.raises(OSError) as error:
            shape.ioctl(RATES, argument)
        assert error.value.errno == number
        assert shape.ioctl(RATES, b"") == b"out=1000 in=unlimited"
