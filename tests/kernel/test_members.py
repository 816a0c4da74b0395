"""Which processes are the program's: what we start, and what ran before us."""

import os
import signal

from tesla_trace.kernel.members import Below, Joined
from tests.kernel.child import child


def with_child(say):
    """Say the number of a child of one's own, which ends with its parent."""
    mine = os.getpid()
    if (pid := os.fork()) == 0:
        while os.getppid() == mine:
            signal.sigtimedwait([], 0.05)
        os._exit(0)
    say(str(pid))


def test_what_we_start_is_below_us():
    below = Below()
    with child(with_child) as mine:
        grandchild = int(mine.says())
        assert {mine.pid, grandchild} <= set(below.processes())
        assert mine.pid in below and grandchild in below
        assert list(below.strays()) == []
    assert os.getpid() not in below
    assert os.getppid() not in below
    assert 1 not in below


def test_what_was_joined_and_what_it_starts():
    joined = Joined()
    with child(with_child) as mine, child(lambda say: say("ready")) as other:
        grandchild = int(mine.says())
        assert mine.pid not in joined and joined.processes() == []
        joined.add(mine.pid)
        assert joined.processes() == sorted({mine.pid, grandchild})
        assert mine.pid in joined and grandchild in joined
        assert other.pid not in joined and os.getpid() not in joined
        joined.leave(mine.pid)
        assert mine.pid not in joined


def test_one_that_is_gone_is_nobody_elses():
    with child(lambda say: say("ready")) as mine:
        pass
    assert mine.pid in Joined() and mine.pid in Below()


def test_strays_are_under_a_filter_and_not_known():
    joined = Joined()
    assert os.getpid() not in list(joined.strays())
    with child(lambda say: say("ready")) as plain:
        assert plain.pid not in list(joined.strays())
