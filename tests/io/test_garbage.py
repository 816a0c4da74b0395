import gc
import weakref

import pytest

from tesla_trace.flow import Flow
from tesla_trace.io.garbage import LEAST, THRESHOLDS, Garbage


class Circle:
    """What only the collector frees."""

    def __init__(self):
        self.me = self


@pytest.fixture
def garbage(world):
    """The collector does nothing by itself, so that what it does is our doing."""
    before = gc.get_threshold()
    gc.disable()
    yield Garbage(world.loop)
    gc.unfreeze()
    gc.set_threshold(*before)
    gc.enable()


def left_behind():
    return weakref.ref(Circle())


def end(garbage, flows, open=0):
    for flow in flows:
        garbage.over(flow, open)


def nothing_due(garbage):
    """Not in a moment, either."""
    return garbage._loop._patience() is None


def flows(garbage, count):
    made = [Flow(number) for number in range(1, count + 1)]
    for flow in made:
        garbage.begun(flow)
    return made


def grow_old(garbage):
    garbage.collected("stop", {"generation": 1})


def test_flows_that_are_over_are_freed_once_they_are_worth_it(world, garbage):
    some = flows(garbage, LEAST)
    grow_old(garbage)
    left = left_behind()
    end(garbage, some[:-1])
    assert left() is not None and nothing_due(garbage)
    end(garbage, some[-1:])
    assert left() is not None  # not within whatever ends the flow
    world.until(lambda: left() is None)


def test_flows_that_the_collector_sees_young_need_no_look_at_everything(world, garbage):
    grow_old(garbage)
    left = left_behind()
    end(garbage, flows(garbage, 2 * LEAST))
    assert left() is not None and nothing_due(garbage)
    garbage.collected("start", {"generation": 1})
    garbage.collected("stop", {"generation": 0})
    end(garbage, flows(garbage, 2 * LEAST))
    assert left() is not None and nothing_due(garbage)


def test_the_more_are_open_the_more_must_be_over(world, garbage):
    some = flows(garbage, 2 * LEAST)
    grow_old(garbage)
    left = left_behind()
    end(garbage, some[:-1], open=4 * LEAST)
    assert left() is not None and nothing_due(garbage)
    end(garbage, some[-1:], open=4 * LEAST)
    world.until(lambda: left() is None)


def test_what_the_collector_has_freed_by_itself_does_not_count(world, garbage):
    some = flows(garbage, 2 * LEAST)
    grow_old(garbage)
    end(garbage, some[: LEAST - 1])
    garbage.collected("stop", {"generation": 2})
    left = left_behind()
    end(garbage, some[LEAST:-1])
    assert left() is not None and nothing_due(garbage)
    end(garbage, some[-1:])
    world.until(lambda: left() is None)


def test_the_collector_tells(garbage):
    garbage.start()
    try:
        assert gc.isenabled()
        assert gc.get_threshold() == THRESHOLDS
        some = flows(garbage, LEAST)
        gc.collect(1)
        end(garbage, some)
        assert not nothing_due(garbage)
    finally:
        gc.callbacks.remove(garbage.collected)
