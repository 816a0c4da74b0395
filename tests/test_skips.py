"""What is missing is skipped by name, or where that is asked for, a failure."""

import os
import subprocess
import sys

import pytest

TEST = """\
import pytest

@pytest.mark.needs("sh", "no-such-program")
def test_needs(): ...

def test_skips():
    pytest.skip("needs more")

@pytest.mark.xfail
def test_expected():
    assert False

def test_passes(): ...
"""


ALLOWED = "1 passed, 2 skipped, 1 xfailed"
FORBIDDEN = "1 failed, 1 passed, 1 xfailed, 1 error"


@pytest.mark.parametrize(("forbidden", "outcome"), [("", ALLOWED), ("1", FORBIDDEN)])
def test_skips(tmp_path, forbidden, outcome):
    (tmp_path / "test_some.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "tests.conftest", str(tmp_path)]
    env = {**os.environ, "TESLA_TRACE_NO_SKIPS": forbidden, "PYTHONPATH": "."}
    ran = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", str(tmp_path)],
        capture_output=True,
        text=True,
        env=env,
    )
    assert outcome in ran.stdout, ran.stdout
    assert "needs no-such-program" in ran.stdout
