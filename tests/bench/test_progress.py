"""Whoever waits is told, on stderr, and the tables go to stdout alone."""

import os
import pty
import subprocess
import sys

from bench.progress import watched

SCRIPT = """\
from bench.progress import watched
progress = watched()
with progress.group("calls"):
    progress.round(1, 3, "native")
    print("a table")
"""


def test_without_a_terminal_there_are_lines(capsys):
    with watched().group("calls"):
        pass
    assert capsys.readouterr().err == "calls ...\ncalls: 0 s\n"


def test_a_terminal_is_told_the_side_and_stdout_is_not():
    master, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-c", SCRIPT]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, env=env, timeout=20)
    os.close(terminal)
    shown = os.read(master, 65536).decode()
    os.close(master)
    assert ran.stdout == b"a table\n"
    assert "calls: round 1 of 3: native" in shown
