"""Each fixture program, built in each way, does the same under us as it does natively."""

import functools
import platform
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import BUILDS, FIXTURES
from tests.e2e.process import LIMIT, ROOT, run, start, under
from tests.e2e.rungs import HANDED_BACK, RUNGS

OTHERWISE = (
    "compat elsewhere escape flip get given hostile late lookup racing resolver succeed swap vanish"
    " x32"
).split()
ALONE = [each.stem for each in FIXTURES if each.stem not in OTHERWISE]
each_build = pytest.mark.parametrize("build", BUILDS)
each_way = pytest.mark.parametrize(
    ("build", "rung"),
    [(build, "handlers") for build in BUILDS]
    + [(build, rung) for build in ("glibc", "i386") for rung in RUNGS if rung != "handlers"],
)


@functools.cache
def natively(program):
    """What a program does without us: the same each time, so that once is enough."""
    return run(program)


def but_for_ports(ran):
    """What it printed, without the letters that stand for ports."""
    return re.sub(r":[A-Z]\b", ":?", ran.out)


def check(native, traced, name):
    assert native.status == 0, native
    assert traced.out.splitlines() == native.out.splitlines()
    assert traced == native
    # The positive control: the flows of this program went through our handlers.
    assert any(f" {name[:15]}" in line for line in traced.log) == (name != "others")


@each_way
@pytest.mark.parametrize("name", ALONE)
def test_same_as_natively(built, name, build, rung):
    program = built.path(name, build)
    words = ["+log", "+dummy"] if rung == "handlers" else RUNGS[rung]
    with ThreadPoolExecutor(1) as pool:  # at once, for many of them wait most of the time
        waiting = pool.submit(natively, program)
        traced = under(words, program)
        native = waiting.result()
    if traced.out != native.out and but_for_ports(traced) == but_for_ports(native):
        # Of some ten ports one is given twice by chance: of 14 000, and to hundreds of programs.
        native, traced = run(program), under(words, program)
    if rung == "handlers":
        check(native, traced, name)
    else:
        assert traced == native


def with_late_peer(run, channel):
    """Run a program that is told of a server whose backlog is full, and how to have room there."""
    with start(sys.executable, ROOT / "fixtures/peers/late.py", channel) as peer:
        return run(int(peer.until("\n")), channel, limit=3 * LIMIT)


@pytest.mark.timeout(6 * LIMIT)
def test_connect_that_takes_a_while(built, tmp_path):
    programs = [built.path("late", build) for build in BUILDS]
    ways = [functools.partial(run, program) for program in programs]
    ways += [functools.partial(under, ["+log", "+dummy"], program) for program in programs]
    channels = [tmp_path / str(number) for number in range(len(ways))]
    with ThreadPoolExecutor(len(ways)) as pool:  # all at once, for each waits most of the time
        done = list(pool.map(with_late_peer, ways, channels))
    for native, traced in zip(done[: len(BUILDS)], done[len(BUILDS) :], strict=True):
        check(native, traced, "late")


@each_build
def test_no_way_past_us_by_x32_numbers(built, build):
    ran = under(["+dummy"], built.path("x32", build))
    assert ran.out == "syscall(0x40000000 + SYS_socket, AF_INET, SOCK_STREAM, 0) = ENOSYS\n"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "i686"), reason="needs x86")
@each_build
def test_the_calls_of_32_bit_programs(built, build):
    """Made by 64-bit ones, too."""
    program = built.path("compat", build)
    check(natively(program), under(["+log", "+dummy"], program), "compat")
    assert under(HANDED_BACK, program) == natively(program)


def test_arguments_that_change_while_we_look(built):
    """Natively the race can be won; it must not bring a socket past a handler."""
    program = built.path("racing", "i386")
    assert run(program).out == "AF_INET: some, past us: some\n"
    assert under(["+dummy"], program).out == "AF_INET: some, past us: none\n"


@pytest.mark.parametrize("builds", [("glibc", "i386"), ("i386", "glibc")])
def test_a_program_that_executes_one_of_another_width(built, builds):
    program, other = (built.path("inherit", build) for build in builds)
    check(run(program, other), under(["+log", "+dummy"], program, other), "inherit")
