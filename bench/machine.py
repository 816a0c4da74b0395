"""This machine: its name, its C compiler, its programs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


class Missing(Exception):
    """Something that a row needs is not on this machine; the text names it."""


def name() -> str:
    """CPU, kernel, Python: a line."""
    return (
        f"{os.cpu_count()} x {_cpu()}, Linux {platform.release()} {platform.machine()},"
        f" Python {platform.python_version()}"
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "CPU of unknown make"


def need(program: str) -> str:
    """Where a program is.

    Raises:
        Missing: it is not there.
    """
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"{program} is not there")
    return found


def tesla(*words: str) -> list[str]:
    """The command line that runs what follows under these handlers."""
    script = Path(sys.executable).with_name("tesla_trace")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "tesla_trace"]
    return [*command, *words]


def supervisor_of(front: int) -> int:
    """The child of tesla_trace's first process, once the program runs."""
    for _ in range(2):  # by way of the keeper
        front = int(Path(f"/proc/{front}/task/{front}/children").read_text().split()[0])
    return front


@cache
def compiled(folder: Path, program: str, *flags: str) -> str:
    """One of the C programs beside this file, compiled into `folder`.

    Raises:
        Missing: there is no C compiler, or what these flags take.
    """
    made = folder / "".join([program, *flags])
    command = [need("cc"), "-O2", "-o", str(made), str(HERE / f"{program}.c"), *flags]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        words = " ".join([f"{program}.c", *flags])
        raise Missing(f"{words} cannot be compiled: {_first_error(done.stderr)}")
    return str(made)


def _first_error(said: str) -> str:
    marks = "error:", "cannot find"
    return next((line for line in said.splitlines() if any(mark in line for mark in marks)), said)
