"""The slow link: there while it is needed, gone whatever happens, left out where it cannot be."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from bench.groups import GROUPS
from bench.machine import Missing
from bench.place import NAMESPACES, PREFIX, link, remove_left_over
from bench.settings import Settings

LIMIT = 20.0
NOBODY = 65534

pytestmark = pytest.mark.needs("ip", "tc")


def namespaces(process):
    """Of ours, those of a process."""
    return {path.name for path in NAMESPACES.glob(f"{PREFIX}{process}-*")}


@pytest.fixture
def root():
    """May make network namespaces."""
    try:
        with link():
            pass
    except Missing as wrong:
        pytest.skip(f"needs {wrong}")


def test_the_link_is_there_and_slow(root):
    with link() as place:
        assert namespaces(os.getpid()) == {f"{PREFIX}{os.getpid()}-{e}" for e in ("near", "far")}
        shown = subprocess.run(
            [*place.near, "tc", "qdisc", "show"], capture_output=True, text=True, check=True
        )
        assert "tbf" in shown.stdout and "rate 100Mbit" in shown.stdout
        routes = [*place.near, "ip", "route", "get", place.address]
        assert subprocess.run(routes, capture_output=True).returncode == 0
    assert not namespaces(os.getpid())


def test_it_is_removed_when_the_run_is_interrupted(root):
    with suppress(KeyboardInterrupt), link():
        raise KeyboardInterrupt
    assert not namespaces(os.getpid())


def test_it_is_removed_when_the_bench_is_told_to_end(root):
    command = [sys.executable, "-m", "bench", "--quick", "figure-7"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as bench:
        end = time.monotonic() + LIMIT
        while len(namespaces(bench.pid)) < 2 and bench.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert len(namespaces(bench.pid)) == 2
        bench.send_signal(signal.SIGTERM)
        assert bench.wait(LIMIT) == 128 + signal.SIGTERM
    assert not namespaces(bench.pid)


def test_what_a_killed_run_left_is_removed(root):
    with subprocess.Popen(["true"]) as gone:
        pass
    ip = shutil.which("ip")
    left, ours = f"{PREFIX}{gone.pid}-near", f"{PREFIX}{os.getpid()}-kept"
    for name in (left, ours):
        subprocess.run([ip, "netns", "add", name], check=True)
    try:
        remove_left_over(ip)
        assert not (NAMESPACES / left).exists()
        assert (NAMESPACES / ours).exists()
    finally:
        subprocess.run([ip, "netns", "delete", ours], check=True)


def test_who_is_not_root_is_told_so(tmp_path):
    tmp_path.chmod(0o777)
    settings = Settings(tmp_path, quick=True, seconds=0)
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            if os.geteuid() == 0:
                os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(into, repr(GROUPS["figure-7"].measured(settings).cells).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as told:
        assert told.read() == "[('network namespaces need root',)]"
    os.waitpid(child, 0)
    assert not namespaces(child)
