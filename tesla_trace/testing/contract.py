"""What every handler of streams must keep: a suite of tests to be run on it.

    from tesla_trace.testing import StreamContract

    class TestMine(StreamContract):
        words = ["+package.module:Mine", "-option=value"]

Two applications talk through the handler over a network in miniature (network.py), on a clock that
is moved by hand.  Needs pytest and hypothesis: `pip install tesla_trace[testing]`.
"""

from __future__ import annotations

import random
import resource
from collections.abc import Sequence
from errno import ECONNREFUSED, ECONNRESET, EISCONN, ENOTCONN, ENOTTY, EPROTO
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tesla_trace.flow import HIGHEST, OWN, handlers_of
from tesla_trace.testing.network import CLIENT, SERVER, Network

Stacks = tuple[list[str], list[str]]
"""The words for a client and for its server."""

STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 1), st.binary(min_size=1, max_size=3000)),
    st.tuples(st.just("take"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("run"), st.just(0), st.sampled_from([0, 0.05, 1])),
)
CUTS = st.lists(st.integers(1, 5000), min_size=1, max_size=5)

PROFILE = settings(
    deadline=None, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow]
)
"""One test is inherited by many classes; and what takes long on a busy machine is no fault."""


class StreamContract:
    """Tests that every handler of streams passes."""

    words: ClassVar[Sequence[str]] = ()
    """The handler and its options, as on the command line."""
    peer: ClassVar[Sequence[str] | None] = None
    """What stands at the other end; None, the same."""

    @pytest.fixture(scope="class")
    @classmethod
    def stacks(cls) -> Stacks:
        """The words for a client and for its server; to be overridden for several of each."""
        return list(cls.words), list(cls.words if cls.peer is None else cls.peer)

    def test_no_method_blocks(self, stacks: Stacks) -> None:
        """A thread that waits gives up the processor; one that only computes does not."""

        def talk() -> int:
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
            network = Network([1000])
            client, server = network.pair(*stacks)
            network.run()
            client.write(b"x" * 5000)
            server.write(b"x" * 5000)
            network.run()
            client.shutdown(False, True)
            network.run()
            client.close()
            server.close()
            network.run()
            return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before

        # The first time it may load modules; and the machine may have reasons of its own.
        assert 0 in (talk() for _ in range(10))

    @settings(PROFILE, max_examples=50)
    @given(steps=st.lists(STEP, max_size=20), cuts=CUTS, room=st.sampled_from([0, 2000, 10**9]))
    def test_every_byte_arrives_once_in_order_and_then_the_end(
        self, stacks: Stacks, steps: list[tuple[str, int, Any]], cuts: list[int], room: int
    ) -> None:
        network = Network(cuts, room)
        ends = client, server = network.pair(*stacks)
        sent = [b"", b""]
        for what, which, value in steps:
            if what == "run":
                network.run(value)
            elif what == "take":
                ends[which].take(value)
            elif ends[which] is server or client.log:
                assert ends[which].write(value)
                sent[which] += value
        for end in ends:
            end.take(True)
        network.run(600)
        assert client.log == ["connected"] and client.may and server.may
        client.shutdown(False, True)
        network.run(600)
        assert server.got == sent[0] and server.end == 0
        assert server.write(b"still"), "the other half stays open"
        server.shutdown(False, True)
        network.run(600)
        assert client.got == sent[1] + b"still" and client.end == 0
        client.close()
        server.close()
        network.run(600)
        assert network.clock.pending() == 0, "a closed handler keeps a timer"

    @given(cuts=CUTS)
    @settings(PROFILE, max_examples=10)
    def test_what_is_written_at_once_still_goes_after_close(
        self, stacks: Stacks, cuts: list[int]
    ) -> None:
        network = Network(cuts)
        client, server = network.pair(*stacks)
        assert server.write(b"x" * 5000)
        server.close()
        network.run(60)
        assert client.got == b"x" * 5000 and client.end == 0
        client.close()
        network.run(60)
        assert network.clock.pending() == 0 and all(wire.closed for wire in network.wires[1:])

    def test_closed_at_once_is_a_good_end(self, stacks: Stacks) -> None:
        network = Network()
        client, server = network.pair(*stacks)
        server.close()
        network.run()
        assert client.log == ["connected", 0]

    def test_shut_down_at_once_is_a_good_end(self, stacks: Stacks) -> None:
        network = Network()
        client, server = network.pair(*stacks)
        server.write(b"hello")
        server.shutdown(False, True)
        assert server.write(b"never") in (True, False)
        network.run()
        assert client.got == b"hello" and client.end == 0
        assert client.write(b"x"), "the other half stays open"
        network.run()
        assert server.got == b"x" and not server.write(b"never")

    @pytest.mark.parametrize("how", ["close", "abort"])
    @pytest.mark.parametrize("event", ["connected", "avail"])
    @pytest.mark.parametrize("size", [50_000, 200_000])
    def test_given_up_inside_an_event_it_is_silent(
        self, stacks: Stacks, event: str, size: int, how: str
    ) -> None:
        network = Network([1000])
        client, server = network.pair(*stacks, closes_at=event, gives_up=how)
        server.write(random.Random(1).randbytes(size))
        network.run(30)
        assert client.closed and client.log == ["connected"]
        assert len(client.got) < size and network.wires[1].closed
        server.close()
        network.run(600)
        assert network.clock.pending() == 0

    def test_closed_in_the_middle_is_silent(self, stacks: Stacks) -> None:
        network = Network([1000], 3000)
        client, server = network.pair(*stacks)
        network.run(5)
        server.write(b"x" * 100_000)
        network.run(0.15)
        client.close()
        server.write(b"x" * 100_000)
        network.run(600)
        server.close()
        network.run(600)
        assert network.clock.pending() == 0 and all(wire.closed for wire in network.wires[1:])

    @pytest.mark.parametrize("before", [0, 0.05, 20])
    @pytest.mark.parametrize("calls", [["abort"], ["abort", "abort", "close"], ["close", "abort"]])
    def test_aborted_it_is_silent_and_the_peer_is_told(
        self, stacks: Stacks, before: Any, calls: list[str]
    ) -> None:
        network = Network([1000])
        client, server = network.pair(*stacks)
        network.run(before)
        if client.log:
            assert client.write(b"x" * 50_000)
        if server.may:
            assert server.write(b"x" * 50_000)
        for call in calls:
            getattr(client, call)()
        assert network.wires[1].closed
        log, got = list(client.log), client.got
        network.run(600)
        assert client.log == log and client.got == got
        assert server.end == ECONNRESET and not server.write(b"x")
        server.abort()
        network.run(600)
        assert network.clock.pending() == 0 and all(wire.closed for wire in network.wires[1:])

    def test_aborted_it_is_a_reset_and_not_an_end(self, stacks: Stacks) -> None:
        network = Network()
        client, server = network.pair(*stacks)
        network.run()
        client.abort()
        network.run()
        assert server.end == ECONNRESET

    def test_a_reader_that_stops_stops_the_writer(self, stacks: Stacks) -> None:
        network = Network(room=50_000)
        client, server = network.pair(*stacks)
        network.run()
        server.take(False)
        sent, much, noise = 0, 4 * 10**6, random.Random(1)
        while client.may and sent < much:
            assert client.write(noise.randbytes(10_000))
            sent += 10_000
            network.run(0.3)
        assert sent < much and not server.got
        server.take(True)
        network.run(600)
        assert len(server.got) == sent and client.may

    def test_stopped_inside_an_event_it_stops_at_once(self, stacks: Stacks) -> None:
        network = Network([20_000], room=50_000)
        client, server = network.pair(*stacks)
        server.stops = True
        network.run()
        data = random.Random(1).randbytes(100_000)
        client.write(data)
        network.run(10)
        while server.got != data:
            before = len(server.got)
            server.take(True)
            network.run(10)
            assert len(server.got) > before and data.startswith(server.got)

    def test_a_lost_connection_is_told_once(self, stacks: Stacks) -> None:
        network = Network()
        client, server = network.pair(*stacks)
        network.run()
        client.write(b"x" * 50_000)
        client.shutdown(True, False)
        network.wires[1].reset()
        network.run()
        assert client.end == ECONNRESET and client.write(b"x") is False
        server.close()
        client.close()
        network.run()
        assert network.clock.pending() == 0

    def test_what_waits_to_be_sent_is_given_up_with_the_connection(self, stacks: Stacks) -> None:
        network = Network(room=0)
        client, server = network.pair(*stacks)
        network.run()
        server.take(False)
        client.write(b"x" * 50_000)
        client.shutdown(False, True)
        client.close()
        network.run(1)
        network.wires[1].reset()
        network.run()
        assert network.wires[1].closed
        server.close()
        network.run()
        assert network.clock.pending() == 0

    def test_a_flow_that_hears_nothing_more_says_so_below(self, stacks: Stacks) -> None:
        network = Network()
        client, server = network.pair(*stacks)
        network.run()
        server.hears = False
        for _ in range(3):
            client.write(b"hello")
            network.run(1)
        assert server.got.startswith(b"hello") and server.end is None
        assert network.wires[2].last_answer is False

    def test_control_calls_pass(self, stacks: Stacks) -> None:
        network = Network()
        client, server = network.pair(*stacks)
        network.run()
        for _ in range(2):
            assert client.getpeername() == SERVER and client.getsockname() == CLIENT
            assert server.getpeername() == CLIENT
            assert client.getsockopt(1, 2, 1) == b"\1" and server.ioctl(1, b"ab") == b"ba"
            client.write(b"data")
            network.run()

    def test_a_request_that_a_handler_does_not_know_goes_no_further(self, stacks: Stacks) -> None:
        network = Network()
        client, _ = network.pair(*stacks)
        network.run()
        for handler in handlers_of(client):
            with pytest.raises(OSError) as error:
                handler.ioctl(OWN + HIGHEST, b"")
            assert error.value.errno == ENOTTY
            for request in handler.answers:
                handler.ioctl(request, b"")

    def test_a_flow_is_connected_once(self, stacks: Stacks) -> None:
        network = Network()
        client, server = network.pair(*stacks)
        for _ in range(2):
            with pytest.raises(OSError) as error:
                client.connect(("192.0.2.7", 7))
            assert error.value.errno == EISCONN
            network.run()
        assert client.log == ["connected"] and client.getpeername() == SERVER
        network.wires[1].reset()
        network.run()
        with pytest.raises(OSError):
            client.connect(SERVER)

    def test_nothing_may_be_written(self, stacks: Stacks) -> None:
        network = Network()
        client, server = network.pair(*stacks)
        network.run()
        assert client.write(b"") and client.write(b"x") and client.write(b"")
        network.run()
        assert server.got == b"x" and server.end is None

    def test_refused_is_told_once_and_may_be_tried_again(self, stacks: Stacks) -> None:
        network = Network()
        words, other = stacks
        client = network.application(words)
        with pytest.raises(OSError) as error:
            client.shutdown(False, True)
        assert error.value.errno == ENOTCONN
        client.connect(SERVER)
        network.run()
        assert client.log == [ECONNREFUSED]
        server = network.application(other)
        server.listen(1)
        client.log.clear()
        client.connect(SERVER)
        network.accepted(server)
        network.run()
        assert client.log == ["connected"]
        with pytest.raises(BlockingIOError):
            server.accept()


class CodedContract:
    """Tests that a handler passes which knows its peer's stream from any other."""

    words: ClassVar[Sequence[str]] = ()
    """The handler and its options, as on the command line."""

    @pytest.fixture(scope="class")
    @classmethod
    def coded(cls) -> list[str]:
        """The words; to be overridden for several handlers."""
        return list(cls.words)

    def test_a_stream_cut_short_is_an_error(self, coded: list[str]) -> None:
        network = Network()
        client, server = network.pair(coded)
        network.run()
        client.write(b"hello")
        network.run()
        network.wires[1].shutdown(False, True)
        network.run()
        assert server.got == b"hello" and server.end == ECONNRESET
        assert server.write(b"x") is False

    @settings(PROFILE, max_examples=20)
    @given(garbage=st.binary(min_size=60, max_size=200), cuts=CUTS)
    def test_garbage_is_an_error_once(
        self, coded: list[str], garbage: bytes, cuts: list[int]
    ) -> None:
        network = Network(cuts)
        client, server = network.pair(coded)
        network.run()
        client.write(b"hello")
        network.run()
        network.wires[1].write(garbage)
        network.wires[1].shutdown(False, True)
        network.run()
        assert server.got.startswith(b"hello") and server.end in (EPROTO, ECONNRESET)
        assert server.write(b"x") is False
        server.close()
        client.close()
        network.run()
        assert network.clock.pending() == 0

    def test_what_came_before_garbage_is_not_lost(self, coded: list[str]) -> None:
        network = Network()
        client, server = network.pair(coded)
        network.run()
        client.write(b"hello")
        network.run()
        network.wires[1].write(b"\xff" * 100)
        network.run()
        assert server.got == b"hello" and server.end == EPROTO
