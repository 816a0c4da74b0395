"""The same by ptrace, where seccomp cannot notify us."""

import os
import subprocess

import pytest

from tesla_trace.kernel.rights import capabilities
from tests.e2e.peers import HELLO
from tests.e2e.process import LIMIT, TESLA_TRACE, run, under
from tests.e2e.rungs import HANDED_BACK
from tests.e2e.test_fixtures import check, each_build, natively
from tests.e2e.test_programs import each_client, socks

PTRACE = ["--trap=ptrace"]
SAID = "trapping by ptrace, with a filter"


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
    traced = under(["+log", "+dummy"], program, ours=PTRACE)
    assert any(SAID in line for line in traced.log)
    check(natively(program), traced, name)


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


@pytest.mark.needs("microsocks")
@each_client
def test_through_a_proxy(client, proxy, web):
    ran = under(socks(proxy), *client, web.url(), ours=PTRACE)
    assert (ran.status, ran.out, ran.err) == (0, HELLO.decode(), "")
    assert f"connected to 127.0.0.1:{web.port}" in proxy.log
    assert any(SAID in line for line in ran.log)
