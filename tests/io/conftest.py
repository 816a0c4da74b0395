import gc
import os

import pytest

from tests.io.world import World


@pytest.fixture
def world():
    world = World()
    yield world
    assert len(world.network.pipes.idle) == world.network.pipes.made  # no flow has kept one
    world.network.pipes.close()


@pytest.fixture(autouse=True)
def no_descriptor_is_left():
    """Each test closes what it opens, though only the collector sees to it at last."""
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 8  # the loop's own, held by the fixture
