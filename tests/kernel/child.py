"""A child process to look into."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from tests.e2e.process import lines


class Child:
    """It has forked, and waits for its end."""

    def __init__(self, pid: int, said: int) -> None:
        self.pid = pid
        self.lines = lines(said)

    def says(self) -> str:
        """Its next line."""
        return next(self.lines).rstrip("\n")


@contextlib.contextmanager
def child(do: Callable[[Callable[[str], object]], object]) -> Iterator[Child]:
    """Fork a child that does `do`, which gets a function that says a line to us."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            do(lambda line: os.write(write, f"{line}\n".encode()))
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    made = Child(pid, read)
    try:
        yield made
    finally:
        made.lines.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
