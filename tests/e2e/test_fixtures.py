"""Each fixture program, built in each way, does the same under us as it does natively."""

import functools
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import BUILDS, FIXTURES
from tests.e2e.process import ROOT, run, start, under

ALONE = [
    each.stem for each in FIXTURES if each.stem not in ("flip", "get", "hostile", "late", "uring")
]
each_build = pytest.mark.parametrize("build", BUILDS)


def check(native, traced, name):
    assert native.status == 0, native
    assert traced.out.splitlines() == native.out.splitlines()
    assert traced == native
    # The positive control: the flows of this program went through our handlers.
    assert any(f" {name[:15]}" in line for line in traced.log) == (name != "others")


@each_build
@pytest.mark.parametrize("name", ALONE)
def test_same_as_natively(built, name, build):
    program = built.path(name, build)
    check(run(program), under(["+log", "+dummy"], program), name)


def with_late_peer(run, channel):
    """Run a program that is told of a server whose backlog is full, and how to have room there."""
    with start(sys.executable, ROOT / "fixtures/peers/late.py", channel) as peer:
        return run(int(peer.until("\n")), channel)


@each_build
def test_connect_that_takes_a_while(built, build, tmp_path):
    program = built.path("late", build)
    ways = [functools.partial(run, program), functools.partial(under, ["+log", "+dummy"], program)]
    with ThreadPoolExecutor() as pool:  # both at once, for they take long
        native, traced = pool.map(with_late_peer, ways, [tmp_path / "one", tmp_path / "other"])
    check(native, traced, "late")


@each_build
def test_no_way_past_us_through_io_uring(built, build):
    ran = under(["+dummy"], built.path("uring", build))
    assert ran.out == "syscall(425, 8, parameters) = ENOSYS\n"
