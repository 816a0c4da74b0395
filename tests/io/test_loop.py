import os
import socket

import pytest

from tesla_trace.io.loop import READ, WRITE, Loop


def _raised(wrong):
    raise wrong


@pytest.fixture
def loop():
    return Loop(_raised)


@pytest.fixture
def pairs():
    made = []

    def make():
        made.extend(socket.socketpair())
        return made[-2:]

    yield make
    for each in made:
        each.close()


class Calls(list[object]):
    def __call__(self, what):
        return lambda: self.append(what)


@pytest.fixture
def calls():
    return Calls()


def watch(loop, end, calls, name, event=READ):
    made = loop.watch(end.fileno())
    made.readable, made.writable = calls(f"{name} readable"), calls(f"{name} writable")
    made.hung_up, made.urgent = calls(f"{name} hung up"), calls(f"{name} urgent")
    made.want(event, True)
    return made


# ---- time ----


def test_soon_is_the_next_turn_in_order(loop, calls):
    loop.at(0, calls("a"))
    loop.at(loop.now(), calls("b"))
    loop.at(0, lambda: loop.at(0, calls("d")))
    loop.at(0, calls("c"))
    assert calls == []
    loop.turn(0)
    assert calls == ["a", "b", "c"]
    loop.turn(0)
    assert calls == ["a", "b", "c", "d"]


def test_later_in_the_order_of_times(loop, calls):
    now = loop.now()
    for delay in (0.003, 0.001, 0.002, 0.001):
        loop.at(now + delay, calls(delay))
    loop.at(now + 0.004, loop.stop)
    loop.run()
    assert calls == [0.001, 0.001, 0.002, 0.003]
    assert loop.now() >= now + 0.004


def test_what_is_due_comes_at_the_latest_with_what_is_ready(loop, calls, pairs):
    one, other = pairs()
    watch(loop, one, calls, "one")
    other.send(b"x")
    loop.at(loop.now() - 1, calls("due"))
    loop.turn(0)
    assert sorted(calls) == ["due", "one readable"]


def test_cancelled(loop, calls):
    alarm = loop.at(0, calls("a"))
    loop.at(0, calls("b"))
    alarm.cancel()
    soon = loop.at(loop.now() + 0.001, calls("c"))
    soon.cancel()
    loop.at(loop.now() + 0.002, loop.stop)
    loop.run()
    assert calls == ["b"]


def test_one_alarm_cancels_another_of_the_same_turn(loop, calls):
    loop.at(0, lambda: second.cancel())
    second = loop.at(0, calls("second"))
    loop.turn(0)
    assert calls == []


# ---- descriptors ----


def test_told_as_long_as_it_holds(loop, calls, pairs):
    one, other = pairs()
    watched = watch(loop, one, calls, "one")
    loop.turn(0)
    assert calls == []
    other.send(b"x")
    loop.turn(0)
    loop.turn(0)
    assert calls == ["one readable"] * 2
    watched.want(READ, False)
    watched.want(READ, False)
    loop.turn(0)
    assert calls == ["one readable"] * 2
    watched.want(WRITE, True)
    watched.want(READ, True)
    loop.turn(0)
    assert calls[2:] == ["one readable", "one writable"]
    assert watched.wants(READ) and watched.wants(WRITE)
    watched.close()
    watched.close()
    loop.turn(0)
    assert len(calls) == 4


def test_what_is_wanted_no_more_is_not_told_in_the_same_turn(loop, calls, pairs):
    (a, a2), (b, b2) = pairs(), pairs()
    first, second = watch(loop, a, calls, "first"), watch(loop, b, calls, "second")
    first.readable = lambda: (calls.append("first"), second.close())
    second.readable = lambda: (calls.append("second"), first.close())
    a2.send(b"x")
    b2.send(b"x")
    loop.turn(0)
    assert len(calls) == 1


def test_a_number_that_another_descriptor_has_got_meanwhile(loop, calls, pairs):
    """Closed and opened again by who is served first: the new one is not told of the old."""
    (a, a2), (b, b2) = pairs(), pairs()
    number = b.fileno()
    second = watch(loop, b, calls, "old")

    def replace():
        if b.fileno() >= 0:
            second.close()
            b.close()
            fresh, _ = pairs()
            assert fresh.fileno() == number
            watch(loop, fresh, calls, "new")

    first = watch(loop, a, calls, "first")
    first.readable = replace
    a2.send(b"x")
    b2.send(b"x")
    for _ in range(3):
        loop.turn(0)
    assert "new readable" not in calls


def test_hangups_are_told_once_though_nothing_is_wanted(loop, calls, pairs):
    one, other = pairs()
    watched = watch(loop, one, calls, "one")
    watched.want(READ, False)
    watched.expect_exceptions()
    loop.turn(0)
    assert calls == []
    other.send(b"unread")
    other.close()
    loop.turn(0)
    loop.turn(0)
    loop.turn(0)
    assert calls == ["one hung up"]
    watched.close()


def test_a_hangup_of_one_that_is_closed_meanwhile(loop, calls, pairs):
    (a, a2), (b, b2) = pairs(), pairs()
    first, second = watch(loop, a, calls, "first"), watch(loop, b, calls, "second")
    for each in (first, second):
        each.want(READ, False)
        each.expect_exceptions()
    first.hung_up = lambda: (calls.append("first"), second.close(), b.close())
    second.hung_up = lambda: (calls.append("second"), first.close(), a.close())
    a2.close()
    b2.close()
    loop.turn(0)
    loop.turn(0)
    assert len(calls) == 1


# ---- the trap ----


@pytest.mark.parametrize("often", [1, 20])
def test_the_trap_comes_last(loop, calls, pairs, often):
    """In whichever way the loop waits by then."""
    (trap, call), (a, a2) = pairs(), pairs()

    def trapped():
        trap.recv(1)
        calls.append("trapped")

    loop.watch_trap(trap.fileno(), trapped)
    watched = watch(loop, a, calls, "one")
    for _ in range(often):
        call.send(b"x")
        loop.turn(1)
    assert calls == ["trapped"] * often
    calls.clear()
    call.send(b"x")
    a2.send(b"x")
    while "trapped" not in calls:
        loop.turn(1)
    assert calls[-1] == "trapped" and "one readable" in calls
    calls.clear()
    for _ in range(often):
        loop.turn(1)
    assert calls == ["one readable"] * often
    call.send(b"x")
    loop.at(0, calls("due"))
    while "trapped" not in calls:
        loop.turn(1)
    assert calls.index("due") < calls.index("trapped")
    watched.close()
    loop.forget_trap(trap.fileno())
    loop.forget_trap(trap.fileno())
    call.send(b"x")
    calls.clear()
    loop.turn(0)
    assert calls == []


@pytest.mark.parametrize("often", [1, 20])
def test_several_traps(loop, calls, pairs, often):
    """One that was alone, and so came first in how the loop waits, is alone no more, and again."""
    (one, call), (other, call2) = pairs(), pairs()

    def serve(end, said):
        loop.watch_trap(end.fileno(), lambda: (end.recv(1), calls(said)()))

    def both():
        for each in (call, call2):
            each.send(b"x")
        while len(calls) < 2:
            loop.turn(1)
        made = sorted(calls)
        calls.clear()
        return made

    def only(end):
        for _ in range(often):
            end.send(b"x")
            loop.turn(1)
        made = set(calls)
        assert len(calls) == often
        calls.clear()
        return made

    serve(one, "one")
    assert only(call) == {"one"}
    serve(other, "other")
    assert both() == ["one", "other"]
    assert only(call2) == {"other"}
    assert both() == ["one", "other"]
    loop.forget_trap(one.fileno())
    call.send(b"x")
    assert only(call2) == {"other"}
    loop.forget_trap(other.fileno())


def test_time_limits_while_the_trap_is_watched(loop, calls, pairs):
    trap, call = pairs()
    loop.watch_trap(trap.fileno(), lambda: trap.recv(1))
    for _ in range(20):
        call.send(b"x")
        loop.turn(1)
    start = loop.now()
    loop.at(start + 0.005, loop.stop)
    loop.run()
    assert 0.005 <= loop.now() - start < 1


def test_an_exception_comes_out(loop):
    """It is for who calls to guard: see graph.py."""
    read, write = os.pipe()
    watched = loop.on_readable(read, lambda: 1 / 0)
    os.write(write, b"x")
    with pytest.raises(ZeroDivisionError):
        loop.turn(0)
    watched.close()
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("seconds", [1e8, 1e300, float("inf")])
def test_an_alarm_may_be_farther_away_than_the_kernel_can_wait(loop, calls, pairs, seconds):
    here, there = pairs()
    loop.at(loop.now() + seconds, calls("never"))
    loop.on_readable(here.fileno(), loop.stop)
    there.send(b"x")
    loop.run()
    assert calls == []
