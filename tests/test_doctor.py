import errno
import os
import signal
import subprocess
import sys

import pytest

from tesla_trace.doctor.examination import NOT_HERE, run
from tesla_trace.doctor.probe import Absent, Probe
from tesla_trace.doctor.probes import PROBES
from tesla_trace.doctor.why import why_no_filter, why_no_trace

TESLA_TRACE = [sys.executable, "-m", "tesla_trace"]


def seccomp():
    """The state of seccomp of this process."""
    with open("/proc/self/status") as status:
        return [line for line in status if line.startswith("Seccomp")]


def probe(attempt):
    return Probe("it", attempt, (), "much", "some")


def fail(wrong):
    raise wrong


def hang():
    signal.pause()


def die():
    os.kill(os.getpid(), signal.SIGSYS)


@pytest.mark.parametrize(
    ("attempt", "there", "text"),
    [
        (lambda: None, True, "yes"),
        (lambda: "a pair of them", True, "yes: a pair of them"),
        (lambda: fail(OSError(errno.EPERM, "Not allowed")), False, "no: EPERM Not allowed"),
        (lambda: fail(Absent("nothing there")), False, "no: nothing there"),
        (lambda: fail(RuntimeError("no libseccomp")), False, "no: RuntimeError: no libseccomp"),
        (die, False, f"no: killed by signal {signal.SIGSYS.value}"),
    ],
)
def test_what_comes_of_a_probe(attempt, there, text):
    result = run(probe(attempt))
    assert (result.there, result.text) == (there, text)


def test_a_probe_that_hangs_is_ended():
    result = run(probe(hang), limit=0.05)
    assert (result.there, result.text) == (False, "no: nothing in 0.05 s")


def test_a_probe_leaves_this_process_alone():
    before = seccomp()
    assert PROBES[1].name == "seccomp filters"
    run(PROBES[1])
    assert seccomp() == before


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EINVAL, errno.ENOSYS, errno.EPERM, 5])
def test_why_there_is_no_filter_is_one_line_that_leads_here(number):
    line = why_no_filter(number)
    assert "\n" not in line
    assert line.endswith("; tesla_trace --doctor says more")


def test_why_nothing_can_be_traced():
    assert f"(process {os.getpid()}) traces the program" in why_no_trace(1, os.getpid())
    assert "--cap-add=SYS_PTRACE" in why_no_trace(errno.EPERM, 0)
    assert "5.3" in why_no_trace(errno.EIO, 0)
    assert os.strerror(errno.ENOMEM) in why_no_trace(errno.ENOMEM, 0)


def test_each_reason_has_its_remedy():
    assert "outside of it" in why_no_filter(errno.EBUSY)
    assert "5.19" in why_no_filter(errno.EINVAL)
    assert "--cap-add=SYS_PTRACE" in why_no_filter(errno.EPERM)
    assert os.strerror(errno.EIO) in why_no_filter(errno.EIO)


def test_the_verdict_is_what_running_a_program_says():
    ran = subprocess.run([*TESLA_TRACE, "+dummy", "true"], capture_output=True, text=True)
    told = subprocess.run([*TESLA_TRACE, "--doctor"], capture_output=True, text=True)
    assert told.returncode == ran.returncode, told.stdout + ran.stderr
    assert ("Programs can be run:" in told.stdout) == (told.returncode == 0)
    for each in PROBES:
        assert each.name in told.stdout


CONTAINED = """
import errno, os, pyseccomp, sys
sandbox = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
for call in sys.argv[1:]:
    sandbox.add_rule(pyseccomp.ERRNO(errno.EPERM), call)
sandbox.load()
from tesla_trace.doctor.examination import main
sys.exit(main())
"""


def contained(*calls):
    """The doctor's words where these calls are not allowed, as in a container."""
    command = [sys.executable, "-c", CONTAINED, *calls]
    return subprocess.run(command, capture_output=True, text=True)


def test_what_a_container_forbids_is_found_missing():
    told = contained("pidfd_getfd", "process_vm_readv", "ptrace")
    if "no   seccomp" in told.stdout:
        pytest.skip("needs seccomp user notification")
    missing = {
        line[5:].partition(" (EPERM")[0] for line in told.stdout.splitlines() if "(EPERM" in line
    }
    names = {"pidfd_getfd of a child", "reading a child's memory", "ptrace of a child"}
    assert names <= missing
    assert "remedy: docker or podman run --cap-add=SYS_PTRACE" in told.stdout
    assert told.stdout.endswith("Programs cannot be run here.\n")
    assert told.returncode == NOT_HERE


def test_where_filters_are_forbidden_it_says_so():
    told = contained("seccomp")
    assert "no   seccomp filters (EPERM" in told.stdout
    traced = "yes  ptrace of a child" in told.stdout
    assert ("run: their calls are trapped by ptrace." in told.stdout) == traced
    told = contained("seccomp", "ptrace")
    assert "no   seccomp filters (EPERM" in told.stdout
    assert told.returncode == NOT_HERE


def test_what_is_not_needed_is_no_obstacle():
    ran = subprocess.run([*TESLA_TRACE, "+dummy", "true"], capture_output=True)
    if ran.returncode:
        pytest.skip("needs seccomp user notification")
    told = contained("ptrace", "io_uring_setup")
    assert "no   ptrace" in told.stdout and "no   io_uring" in told.stdout
    assert told.returncode == 0


def test_under_ourselves_it_finds_who_relays():
    words = [*TESLA_TRACE, "+dummy", *TESLA_TRACE, "--doctor"]
    told = subprocess.run(words, capture_output=True, text=True)
    if told.returncode == NOT_HERE and not told.stdout:
        pytest.skip("needs seccomp user notification")
    assert "no   seccomp listener (EBUSY" in told.stdout
    assert "yes  a tesla_trace around us" in told.stdout
    assert "run: the tesla_trace around us relays their calls." in told.stdout
    assert told.returncode == 0
    words = [*words[:4], "env", "-u", "TESLA_TRACE_OUTER", *words[4:]]
    told = subprocess.run(words, capture_output=True, text=True)
    assert "no   a tesla_trace around us" in told.stdout
    assert "run: their calls are trapped by ptrace." in told.stdout
