"""What the trap does between calls; with programs, it is tested end to end."""

import itertools
import os
import types

import pytest

from tesla_trace.kernel.ptrace import trap as traps
from tesla_trace.kernel.ptrace.trap import NOTHING, REST, SPIN, PtraceTrap

PROGRAM = 2**22
"""No process has this number, the least that is too large: see proc(5), pid_max."""


@pytest.fixture
def told(monkeypatch):
    """What wait(2) is going to say; nothing at the end."""
    says = []
    monkeypatch.setattr(traps.os, "waitpid", lambda *_: says.pop(0) if says else NOTHING)
    monkeypatch.setattr(traps.proc, "status", lambda _: {})
    clock = itertools.count(step=SPIN / 5)  # a look takes as long as that, on any machine
    monkeypatch.setattr(traps, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    return says


@pytest.fixture
def changes():
    return []


@pytest.fixture
def trap(told, changes):
    made = PtraceTrap(PROGRAM, [], os.eventfd(0, os.EFD_NONBLOCK), changes.append, epolls=False)
    yield made
    made.close()


def test_what_is_seen_without_sleeping_is_not_lost(trap, told, changes):
    told += [NOTHING, NOTHING, (PROGRAM, 3 << 8)]
    trap.linger()
    assert told == changes == []
    trap.next()
    assert changes == [3 << 8]


def test_who_looks_in_vain_sleeps_the_next_times(trap, told, changes):
    trap.linger()
    told.append((PROGRAM, 3 << 8))
    for _ in range(REST):
        trap.linger()
        assert told
    trap.linger()
    assert not told
    trap.next()
    assert changes == [3 << 8]
