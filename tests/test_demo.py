import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.__main__ import is_static

ROOT = Path(__file__).parent.parent


def test_program_and_proxy_agree():
    if not (shutil.which("cc") or shutil.which("busybox")):
        pytest.skip("needs cc or busybox")
    done = subprocess.run([sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True)
    if "tesla_trace --doctor" in done.stderr:
        pytest.skip("needs seccomp user notification")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Hello from the origin." in done.stdout
    assert ": connected\n" in done.stdout
    assert "is a static binary" in done.stdout


@pytest.mark.parametrize(
    ("how", "static"), [(["-static"], True), (["-static-pie"], True), ([], False)]
)
def test_what_a_static_binary_is(tmp_path, how, static):
    if shutil.which("cc") is None:
        pytest.skip("needs cc")
    made = tmp_path / "made"
    command = ["cc", *how, "-o", str(made), str(ROOT / "demo/client.c")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs cc {' '.join(how)}: {done.stderr.splitlines()[-1]}")
    assert is_static(made) == static
