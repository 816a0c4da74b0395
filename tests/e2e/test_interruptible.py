"""Where any signal takes a call away: before Linux 5.19, and where others load the filter."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from difflib import ndiff

import pytest

from tests.e2e.process import LIMIT, run
from tests.e2e.test_fixtures import natively

OLD = """
from tesla_trace.cli import main
from tesla_trace.kernel import spawn

spawn.FLAG_WAIT_KILLABLE_RECV = 1 << 20  # what this kernel has not: EINVAL, as before 5.19
main()
"""

LIMITS = {
    "accept: EINTR",
    "accept: EAGAIN",
    "accept(waits, NULL, NULL) = EINTR",
    "accept(waits, NULL, NULL) = EAGAIN",
}
"""What docs/limits.md says: with SO_RCVTIMEO and SA_RESTART, a call is made again."""


@pytest.mark.parametrize("name", ["held", "signals", "messages", "prefork", "elsewhere"])
def test_as_natively(built, name, tmp_path):
    program, log = built.path(name, "glibc"), tmp_path / "log"
    with ThreadPoolExecutor() as pool:
        native = pool.submit(natively, program)
        # A time limit of ten seconds runs out, where natively a signal ends the call.
        words = (sys.executable, "-c", OLD, "--log", log, "+log", "+dummy", program)
        ran = run(*words, limit=2 * LIMIT)
    differ = ndiff(native.result().out.splitlines(), ran.out.splitlines())
    assert {line[2:] for line in differ if line[0] in "-+"} <= LIMITS, ran
    assert ran.status == 0 and f" {name}" in log.read_text()


def test_storm(built, tmp_path):
    """Twenty thousand signals a second.

    The kernel forgets an answer that comes within the same microsecond as a signal
    (docs/limits.md), which is fatal for this program: so it may try again, twice.
    """
    program, log = built.path("storm", "glibc"), tmp_path / "log"
    words = (sys.executable, "-c", OLD, "--log", log, "+log", "+dummy", program)
    native, tried = natively(program), []
    for _ in range(3):
        with suppress(subprocess.TimeoutExpired):  # its other process waits for it
            tried.append(run(*words, limit=10.0))
        if native in tried:
            break
    assert native in tried and " storm" in log.read_text()
