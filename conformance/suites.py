"""What is run: modules of CPython's test package, and of which interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MODULES = (
    "test_socket",
    "test_asyncio",
    "test_ssl",
    "test_httplib",
    "test_httpservers",
    "test_urllib2_localnet",
    "test_ftplib",
    "test_poplib",
    "test_imaplib",
    "test_smtplib",
    "test_selectors",
    "test_select",
    "test_epoll",
    "test_poll",
    "test_xmlrpc",
    "test_asyncore",
    "test_asynchat",
    "test_socketserver",
)

LEFT_OUT = (
    "*VSOCK*",  # one waits for ever, natively, where the hypervisor has no vsock of its own
)
"""Patterns of tests that are not run, on either side."""


class Missing(Exception):
    """This machine lacks something; the text says what."""


@dataclass(frozen=True)
class Suite:
    """One run of regrtest: a module, or some of its tests."""

    module: str
    only: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """What regrtest is given."""
        # In this order: what no pattern matches is run or not by what the first of them is.
        only = [word for pattern in self.only for word in ("-m", pattern)]
        left_out = [word for pattern in LEFT_OUT for word in ("-i", pattern)]
        return ["-v", "-u", "network", *only, *left_out, self.module]


SHORT = (
    Suite("test_selectors", ("*EpollSelector*",)),
    Suite("test_epoll"),
    Suite(
        "test_socket",
        (
            "*BasicTCPTest*",
            "*NonBlockingTCPTests*",
            "*NetworkConnectionNoServer*",
            "*BufferIOTest*",
        ),
    ),
)
"""A selection that takes seconds."""


@cache
def interpreter() -> str:
    """A Python that has the suites: ours, what ours was made from, or the one in PATH.

    Raises:
        Missing: there is none.
    """
    base = getattr(sys, "_base_executable", sys.executable)
    for python in (base, sys.executable, "python3", "/usr/bin/python3"):
        if _folder(python) is not None:
            return python
    raise Missing("no Python here has the package `test` (Debian: libpython3-testsuite)")


@cache
def _folder(python: str) -> Path | None:
    words = [python, "-c", "import test.test_socket as t; print(t.__file__)"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return Path(done.stdout.strip()).parent


def suites(modules: Sequence[str] = MODULES) -> Iterator[Suite]:
    """The modules that this interpreter has; of a package, each of its modules."""
    folder = _folder(interpreter())
    assert folder is not None
    for name in modules:
        if (folder / name).is_dir():
            parts = sorted(path.stem for path in (folder / name).glob("test_*.py"))
            yield from (Suite(f"test.{name}.{part}") for part in parts)
        elif (folder / Path(*name.split("."))).with_suffix(".py").exists() or "." in name:
            yield Suite(name)
