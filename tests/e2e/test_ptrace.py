"""The same by ptrace, where seccomp cannot notify us."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tesla_trace.kernel import proc
from tesla_trace.kernel.rights import capabilities
from tests.e2e.backends import PTRACE, each_back_end
from tests.e2e.peers import HELLO
from tests.e2e.process import LIMIT, TESLA_TRACE, alive, eventually, run, start, under
from tests.e2e.rungs import HANDED_BACK
from tests.e2e.test_fixtures import check, each_build, natively
from tests.e2e.test_programs import URLLIB, each_client, socks

VARIABLE = "TESLA_TRACE_OUTER"
EVERYWHERE = "trapping by ptrace, which stops at every system call"


@pytest.fixture(scope="module", autouse=True)
def tracing():
    """Skip where this machine does not let us trace."""
    ran = subprocess.run(
        [TESLA_TRACE, *PTRACE, "+dummy", "true"], capture_output=True, timeout=LIMIT
    )
    if ran.returncode == 3:
        pytest.skip("needs ptrace")


CAP_SYS_RESOURCE = 1 << 24


def may_raise_limits():
    return bool(capabilities(os.getpid()) & CAP_SYS_RESOURCE)


EACH = (
    "accept arguments buffers dissolve epolls half held messages names nonblocking"
    " options others peeking raw rebind receivers reset shared signals tcp threads udp urgent"
).split()


@pytest.mark.parametrize("name", EACH)
def test_same_as_natively(built, name):
    program = built.path(name, "glibc")
    check(natively(program), under(["+log", "+dummy"], program, ours=PTRACE), name)


@pytest.mark.parametrize("build", ["musl-static", "i386"])
@pytest.mark.parametrize("name", ["accept", "epolls", "signals", "udp"])
def test_same_as_natively_in_other_builds(built, name, build):
    program = built.path(name, build)
    check(natively(program), under(["+log", "+dummy"], program, ours=PTRACE), name)


@each_build
def test_descriptors(built, build):
    """To accept(2) the last one that there may be takes CAP_SYS_RESOURCE, or a soft limit."""
    program = built.path("descriptors", build)
    native, traced = natively(program), under(["+dummy"], program, ours=PTRACE)
    *most, last = native.out.splitlines()
    assert last == "accept(waits, NULL, NULL) = 30"
    early = last.replace("30", "EMFILE")
    assert traced.out.splitlines() in ([*most, last], [*most, early])
    assert (traced.out.splitlines() == [*most, last]) == may_raise_limits()


@pytest.mark.parametrize("name", ["names", "shared", "tcp"])
def test_handed_back(built, name):
    program = built.path(name, "glibc")
    assert under(HANDED_BACK, program, ours=PTRACE) == natively(program)


@each_build
def test_the_calls_of_32_bit_programs(built, build):
    program = built.path("compat", build)
    check(natively(program), under(["+log", "+dummy"], program, ours=PTRACE), "compat")


@pytest.mark.parametrize("builds", [("glibc", "i386"), ("i386", "glibc")])
def test_a_program_that_executes_one_of_another_width(built, builds):
    program, other = (built.path("inherit", build) for build in builds)
    traced = under(["+log", "+dummy"], program, other, ours=PTRACE)
    check(run(program, other), traced, "inherit")


@each_build
@each_back_end
def test_a_process_that_ends_while_its_leader_calls(built, build, trap):
    traced = under(["+dummy"], built.path("vanish", build), 100, ours=trap)
    assert (traced.status, traced.out, traced.err) == (0, "done\n", "")


@each_build
@each_back_end
def test_a_thread_that_executes_takes_the_number_of_the_leader(built, build, trap):
    """Which was about to get a socket."""
    program = built.path("succeed", build)
    traced = under(["+dummy"], program, 50, ours=trap)
    assert (traced.status, traced.out, traced.err) == (0, "done\n", "")


@pytest.mark.needs("microsocks")
@each_client
def test_through_a_proxy(client, proxy, web):
    ran = under(socks(proxy), *client, web.url(), ours=PTRACE)
    assert (ran.status, ran.out, ran.err) == (0, HELLO.decode(), "")
    assert f"connected to 127.0.0.1:{web.port}" in proxy.log


def test_where_another_has_the_listener(web):
    """A filter of ours would never be asked."""
    inner = ["env", "-u", VARIABLE, TESLA_TRACE, "+log", sys.executable, "-c", URLLIB, web.url()]
    ran = under(["+log"], *inner)
    assert (ran.status, ran.out) == (0, HELLO.decode())
    assert EVERYWHERE in ran.err and f"connecting to 127.0.0.1:{web.port}" in ran.err
    assert any(f"connecting to 127.0.0.1:{web.port}" in line for line in ran.log)


def test_the_calls_that_are_refused_without_a_filter(built):
    inner = ["env", "-u", VARIABLE, TESLA_TRACE, "--log", "/dev/null", "+dummy"]
    for name in ("x32", "escape"):
        program = built.path(name, "glibc")
        words = [program, "io_uring"] if name == "escape" else [program]
        assert under(["+dummy"], *inner, *words).out == under(["+dummy"], *words).out


@pytest.mark.needs("strace")
def test_a_program_that_is_traced_already():
    ran = run("strace", "-f", "-o", "/dev/null", TESLA_TRACE, *PTRACE, "+dummy", "true")
    assert ran.status == 3
    assert "strace (process " in ran.err and "traces the program already" in ran.err


def test_a_program_that_cannot_be_executed():
    assert under(["+dummy"], "/nowhere", ours=PTRACE).status == 127
    assert under(["+dummy"], "/etc/passwd", ours=PTRACE).status == 126


def test_it_is_ptrace():
    """The positive control of what is here."""
    ran = under(["+dummy"], "grep", "TracerPid", "/proc/self/status", ours=PTRACE)
    assert int(ran.out.split()[1]) > 0
    ran = under(["+dummy"], "grep", "TracerPid", "/proc/self/status")
    assert int(ran.out.split()[1]) == 0


def test_the_end_of_the_program_is_ours():
    assert under(["+dummy"], "sh", "-c", "exit 7", ours=PTRACE).status == 7
    assert under(["+dummy"], "sh", "-c", "kill -USR1 $$", ours=PTRACE).status == -signal.SIGUSR1


def tracer(pid):
    return int(proc.status(pid)["TracerPid"])


@pytest.mark.parametrize("ours", [[], ["--kill-on-exit"]], ids=["stays", "dies"])
def test_a_program_whose_supervisor_is_killed(ours):
    words = [TESLA_TRACE, *PTRACE, *ours, "--log", "/dev/null", "+dummy"]
    with start(*words, "sh", "-c", "echo $$; exec sleep 60") as front:
        pid = int(front.until("\n"))
        supervisor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(supervisor, signal.SIGKILL)
        if ours:
            eventually("it has died", lambda: not alive(pid))
        else:
            eventually("it goes on without us", lambda: tracer(pid) == 0)
            assert alive(pid)
            os.kill(pid, signal.SIGTERM)
            assert front.wait() == -signal.SIGTERM
