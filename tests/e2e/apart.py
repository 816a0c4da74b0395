"""Namespaces (unshare(1)) for programs that are to see other files, or another network."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.process import LIMIT


def apart(prepare: str, *argv: object, network: bool = False) -> list[object]:
    """The words for running a program apart, after some shell commands."""
    return [*_unshare(network), "sh", "-ec", f'{prepare}\nexec "$@"', "sh", *argv]


def with_hosts(folder: Path, hosts: str, *argv: object) -> list[object]:
    """The words for running a program that finds this in /etc/hosts."""
    (folder / "hosts").write_text(hosts)
    return apart(f"mount --bind {folder}/hosts /etc/hosts", *argv)


@functools.cache
def _unshare(network: bool) -> list[str]:
    flags = "-m" if os.geteuid() == 0 else "-rm"  # mapped to root, where it is allowed
    words = ["unshare", flags + "n" * network]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True, timeout=LIMIT)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs unshare, and to be allowed namespaces")
    return words
