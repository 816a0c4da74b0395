"""What a stop tells of its thread: judged by threads that sleep in one state or another."""

import pytest

from tesla_trace.kernel import notified
from tesla_trace.kernel.notified import NotifyStop
from tesla_trace.kernel.thread import Threads
from tests.kernel.child import child


@pytest.fixture
def stop():
    with child(lambda say: say("ready")) as mine:
        mine.says()
        yield NotifyStop(-1, Threads(), b"", mine.pid, "accept", (0,) * 6, 8)


def test_a_thread_that_never_slept_lightly_was_not_woken(stop, monkeypatch):
    state = ["D"]
    monkeypatch.setattr(notified.proc, "state", lambda thread: state[0])
    assert not stop.interrupted() and not stop.interrupted()
    state[0] = "R"
    assert not stop.interrupted()


def test_a_thread_that_did_was(stop, monkeypatch):
    state = ["S"]
    monkeypatch.setattr(notified.proc, "state", lambda thread: state[0])
    assert not stop.interrupted()
    state[0] = "D"
    assert stop.interrupted()
