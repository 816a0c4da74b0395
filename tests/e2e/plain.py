"""Running programs as a plain user, where the tests are run by root."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.e2e.process import LIMIT, ROOT, TESLA_TRACE

NOBODY = 65534


def as_nobody(*capabilities: str) -> list[str]:
    """The words that run a command as nobody, with these capabilities and no others."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if capabilities:
        given = ",".join(f"+{each}" for each in capabilities)
        words += [f"--inh-caps={given}", f"--ambient-caps={given}"]
    return words


@functools.cache
def python() -> str:
    """An interpreter like ours that nobody may execute."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, shutil.which(f"python{version}", path="/usr/local/bin:/usr/bin")):
        # By env, for setpriv itself may still execute what root may.
        command = [*as_nobody(), "env", str(path), "-c", "import ctypes"]
        if path and not subprocess.run(command, capture_output=True, timeout=LIMIT).returncode:
            return path
    pytest.skip(f"needs a python{version} that nobody may execute")


def let_in(folder: Path) -> None:
    """Let everybody read a temporary folder of ours, and pass through those that it is in."""
    temporary = Path(tempfile.gettempdir())
    for each in (folder, *folder.parents):
        if temporary in each.parents:
            each.chmod(0o755)


def tesla_trace(*capabilities: str) -> list[str]:
    """The words that run tesla_trace as nobody; as ourselves, where we are a plain user."""
    if os.geteuid() != 0:
        return [TESLA_TRACE]
    packages = next(Path(sys.prefix).glob("lib*/python*/site-packages"))
    path = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(packages)!r}]"
    code = f"{path}; from tesla_trace.cli import main; main()"
    return [*as_nobody(*capabilities), python(), "-P", "-c", code]
