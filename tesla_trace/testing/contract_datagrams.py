"""What every handler of datagrams must keep: a suite of tests to be run on it.

    from tesla_trace.testing import DatagramContract

    class TestMine(DatagramContract):
        words = ["+package.module:Mine", "-option=value"]

One application writes through the handler, to two that have none (datagrams.py), on a clock that is
moved by hand.  Needs pytest and hypothesis: `pip install tesla_trace[testing]`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesla_trace.testing.contract import PROFILE
from tesla_trace.testing.datagrams import Air, App

RELAYED = ["+socks=10.0.0.9:1080"]
"""Words that end so lead through a relay, which is far away and tells of no errors."""

NEAR = [("127.0.0.1", 5000), ("127.0.0.1", 5001), ("127.0.0.2", 5000)]
"""Reached directly by whatever handler."""
FAR = [("192.0.2.1", 5000), ("192.0.2.2", 5001), ("192.0.2.3", 5000)]

Name = tuple[str, int]
Meeting = tuple[Air, list[Name], list[App]]
Meet = Callable[..., Meeting]

STEP = st.one_of(
    st.tuples(st.just("out"), st.integers(1, 2), st.binary(max_size=3000)),
    st.tuples(st.just("in"), st.integers(1, 2), st.binary(max_size=3000)),
    st.tuples(st.just("take"), st.just(0), st.booleans()),
    st.tuples(st.just("run"), st.just(0), st.sampled_from([0, 0.05, 1])),
)


def meeting(words: list[str], **facts: Any) -> Meeting:
    """An application through the handlers, two that are native, and their names."""
    air = Air()
    names = FAR if words[-1:] == RELAYED else NEAR
    stacks: list[list[str]] = [words, [], []]
    return air, names, [air.application(*each, **facts) for each in zip(stacks, names, strict=True)]


def data_of(app: App) -> list[bytes]:
    """What has come to an application."""
    return [data for data, _ in app.got]


class DatagramContract:
    """Tests that every handler of datagrams passes."""

    words: ClassVar[Sequence[str]] = ()
    """The handler and its options, as on the command line."""

    @pytest.fixture(scope="class", name="words")
    @classmethod
    def _words(cls) -> list[str]:
        return list(cls.words)

    @pytest.fixture
    def meet(self, words: list[str]) -> Meet:
        """Have applications meet; see `meeting`."""
        return lambda **facts: meeting(words, **facts)

    @settings(PROFILE, max_examples=40)
    @given(steps=st.lists(STEP, max_size=30), probed=st.booleans())
    def test_each_arrives_once_whole_and_in_order(
        self, words: list[str], steps: list[tuple[str, int, Any]], probed: bool
    ) -> None:
        air, names, apps = meeting(words, probed=probed)
        app, *others = apps
        for other, name in zip(
            others, names[1:], strict=True
        ):  # so that a relay knows us, and they it
            app.write(b"", name)
            air.run()
            assert data_of(other) == [b""]
        backs = [other.got[0][1] for other in others]
        sent: dict[int, list[bytes]] = {1: [b""], 2: [b""]}
        received: dict[int, list[bytes]] = {1: [], 2: []}
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

    def test_a_peer_may_be_chosen_and_chosen_again(self, meet: Meet) -> None:
        air, names, (app, one, other) = meet()
        for name in (names[1], names[2], names[1]):
            app.connect(name)
            assert app.write(b"hello") and app.write(b"")
            air.run()
        assert data_of(one) == [b"hello", b""] * 2 and data_of(other) == [b"hello", b""]
        one.write(b"answer", one.got[-1][1])
        air.run()
        assert app.got == [(b"answer", names[1])] and not app.errors

    def test_to_nobody(self, meet: Meet) -> None:
        air, _, (app, *_) = meet()
        try:
            app.write(b"x")
        except OSError as error:
            assert error.errno == errno.EDESTADDRREQ
        else:
            air.run(60)
            assert app.errors == [errno.EDESTADDRREQ]

    def test_an_error_of_one_is_that_of_one(self, meet: Meet, words: list[str]) -> None:
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
        expected = (
            [errno.EMSGSIZE] if words[-1:] == RELAYED else [errno.ECONNREFUSED, errno.EMSGSIZE]
        )
        assert app.errors == expected

    @pytest.mark.parametrize("how", ["close", "abort"])
    def test_given_up_inside_an_event_it_is_silent(self, meet: Meet, how: str) -> None:
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
    def test_given_up_at_any_time_it_is_silent(self, meet: Meet, how: str, before: Any) -> None:
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
    def test_what_was_written_at_once_still_goes_after_close(self, meet: Meet, before: Any) -> None:
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

    def test_a_reader_that_stops_is_given_nothing(self, meet: Meet) -> None:
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

    def test_control_calls_pass(self, meet: Meet) -> None:
        air, names, (app, *_) = meet()
        for _ in range(2):
            assert app.getsockname() == names[0] and app.getsockopt(1, 2, 1) == b"\1"
            app.write(b"data", names[1])
            air.run()
