"""Our own words: one line each, to stderr or to a file, never mixed into the program's output."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from typing import NoReturn

PATIENCE = 100
"""Milliseconds that a line may wait for somebody to read the lines before it."""


class Report:
    """Writes lines whole, so that several processes may share a file.

    Args:
        path: a file to append to; None for stderr.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str | None = None) -> None:
        self._stamped = path is not None
        if path is None:
            self._file = os.dup(2)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o666)
        self._dropped = 0
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLOUT)

    def write(self, line: str) -> None:
        """Write one line; if it cannot be written, nobody is to suffer from it."""
        if self._stamped:
            now = time.time()
            line = (
                f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now % 1 * 1000):03} {line}"
            )
        else:
            line = f"tesla_trace: {line}"
        self.raw(line)

    def raw(self, line: str) -> None:
        """Write one line just as it is.

        Nobody who does not read our words is to stop the program: where a pipe or terminal takes
        nothing for a while, lines are dropped, and counted.
        """
        if not self._poll.poll(0 if self._dropped else PATIENCE):
            self._dropped += 1
            return
        if self._dropped:
            line = f"tesla_trace: {self._dropped} lines were dropped here\n{line}"
            self._dropped = 0
        with contextlib.suppress(OSError):
            os.write(self._file, (line + "\n").encode(errors="replace"))

    def hush(self) -> None:
        """Let go of stderr, for a supervisor that stays behind when its program has ended."""
        if not self._stamped and not os.isatty(self._file):
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, self._file, inheritable=False)
            os.close(null)


def tell(line: str) -> None:
    """Write one line to stderr, if there is one."""
    with contextlib.suppress(OSError):
        os.write(2, f"tesla_trace: {line}\n".encode(errors="replace"))


def die(line: str, status: int) -> NoReturn:
    """End with a message."""
    tell(line)
    sys.exit(status)
