"""Running programs, by themselves and under tesla_trace, with a limit to every wait.

ran = run("curl", url)                          # natively
ran = under(["+dummy"], "curl", url)            # the same under us; `ran.log` is our log
with start("nginx", "-c", conf) as server:      # its end is waited for
    server.until("ready")
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TESLA_TRACE = str(Path(sys.executable).parent / "tesla_trace")
ROOT = Path(__file__).parent.parent.parent

LIMIT = 20.0
"""Seconds that a program may take, however slow the machine is."""


@dataclass(frozen=True)
class Ran:
    """A program that has ended."""

    status: int
    """Negative: the signal that ended it."""
    out: str
    err: str
    log: list[str] = field(default_factory=list, compare=False)


def run(
    *argv: object, limit: float = LIMIT, given: str = "", fds: Sequence[int] = (), **env: str
) -> Ran:
    """Run a program to its end; whoever is in its process group goes with it."""
    with start(*argv, stderr=None, fds=fds, **env) as program:
        out, err = program.communicate(given, limit)
    return Ran(program.process.returncode, out, err)


def under(
    handlers: Sequence[object], *argv: object, ours: Sequence[object] = (), **kwargs: object
) -> Ran:
    """Run a program under handlers, with `ours` for options of tesla_trace."""
    with tempfile.NamedTemporaryFile("r") as log:
        words = [*ours, "--log", log.name, *handlers]
        ran = run(TESLA_TRACE, *words, *argv, **kwargs)  # type: ignore[arg-type]
        return Ran(ran.status, ran.out, ran.err, log.read().splitlines())


class Program:
    """A program that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.out = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def communicate(self, given: str = "", limit: float = LIMIT) -> tuple[str, str]:
        """Its output to the end."""
        out, err = self.process.communicate(given.encode(), limit)
        return self.out + out.decode(errors="replace"), err.decode(errors="replace")

    def until(self, text: str, limit: float = LIMIT) -> str:
        """Its output up to the line with `text`; what comes later is left for later.

        Raises:
            AssertionError: it has not come in time.
        """
        assert self.process.stdout is not None
        line = ""
        for line in lines(self.process.stdout.fileno(), limit):
            self.out += line
            if text in line:
                return line
        raise AssertionError(f"ended before {text!r}: {self.out}")

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, limit: float = LIMIT) -> int:
        """Its exit status; negative, the signal that ended it."""
        return self.process.wait(limit)


@contextlib.contextmanager
def start(
    *argv: object, stderr: int | None = None, fds: Sequence[int] = (), **env: str
) -> Iterator[Program]:
    """Run a program as the leader of a process group, which is killed at the end.

    Args:
        fds: the descriptors that it inherits besides the standard ones.
    """
    process = subprocess.Popen(
        [str(each) for each in argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if stderr is None else stderr,
        cwd=ROOT,
        env={**os.environ, **env},
        process_group=0,
        pass_fds=fds,
    )
    try:
        yield Program(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(LIMIT)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def lines(fd: int, limit: float = LIMIT) -> Generator[str, None, None]:
    """Lines as they come, each read no further than its end.

    Raises:
        AssertionError: there is none for `limit` seconds.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        line = b""
        while True:
            assert selector.select(limit), f"nothing for {limit:g} s after {line!r}"
            byte = os.read(fd, 1)
            line += byte
            if line and byte in (b"", b"\n"):
                yield line.decode(errors="replace")
                line = b""
            if not byte:
                return


def eventually(what: str, holds: object, limit: float = LIMIT) -> None:
    """Look until something holds that nobody signals, such as the end of another's process."""
    assert callable(holds)
    end = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process is there, and is not just waiting for its parent."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """The children of a process, the oldest first."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
    return sorted(map(int, found))


def keeper_of(front: int) -> int:
    """The process between the one that the shell started and the supervisor."""
    (keeper,) = children(front)
    return keeper


def supervisor_of(front: int) -> int:
    """The process that serves the program."""
    (supervisor,) = children(keeper_of(front))
    return supervisor
