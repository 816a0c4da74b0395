"""Open flows, from one to ten thousand: what each keeps, and what the idle ones cost a busy one."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from bench.machine import compiled, supervisor_of, tesla
from bench.many import resident
from bench.measure import Goal, Row, Worker, at_least, at_most
from bench.settings import Settings
from bench.stream import two_cpus

COUNTS = (1, 100, 1000, 10_000)
QUICKLY = (1, 1000)

OURS = 200
"""Descriptors that are no flow's, and to spare."""

MOST_MEMORY = at_most(12)
ALONE = at_least(0.9)


def rows(settings: Settings) -> Iterator[Row]:
    """A client under us and a native server, then the other way round."""
    with allowed(2 * COUNTS[-1] + OURS) as files:
        flows = compiled(settings.folder, "flows")
        most = (files - OURS) // 2
        for wanted in QUICKLY if settings.quick else COUNTS:
            count = min(wanted, most)
            note = "" if count == wanted else f"not {wanted}: a flow takes two of {files} files"
            yield from _busy(settings, flows, count, note)
            if count > 1:
                yield from _opened(settings, flows, count, note)


@contextmanager
def allowed(wanted: int) -> Iterator[int]:
    """Allow who is started so many descriptors, or the most there may be; gives how many."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # more than the hard limit takes CAP_SYS_RESOURCE
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(wanted, hard)))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield most
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Side:
    """A client and a server with connections between them, one of the two under us, or none.

    Args:
        client, server: what each is started with.
        count: the connections that are open to begin with.
    """

    def __init__(
        self, open: ExitStack, flows: str, client: list[str], server: list[str], count: int = 1
    ) -> None:
        there, here = two_cpus()
        self._server = open.enter_context(Worker([*server, *there, flows, "serve"]))
        port = int(self._server.ask("")[0])
        self._client = open.enter_context(Worker([*client, *here, flows, str(port)]))
        self._ours = self._client if client else self._server
        self.open(count)

    def open(self, count: int) -> float:
        """Have so many connections; new ones per second."""
        return self._client.ask(f"open {count}")[0]

    def reopen(self, count: int) -> Callable[[], float]:
        """Something to call that closes all but the first, and opens the rest again."""

        def run() -> float:
            self.open(1)
            self._settle()
            return self.open(count)

        return run

    def asked(self, line: str) -> Callable[[], float]:
        """Something to call that lets the client measure."""
        return self._client.asked(line)

    def memory(self) -> float:
        """Bytes that the supervisor has."""
        return resident(supervisor_of(self._ours.pid))

    def _settle(self) -> None:
        """Wait until the server knows that all but one are closed."""
        end = time.monotonic() + 30
        while self._server.ask("")[1] > 1:
            if time.monotonic() > end:
                raise RuntimeError("closed connections are still open")
            time.sleep(0.01)


def _busy(settings: Settings, flows: str, count: int, note: str) -> Iterator[Row]:
    """One busy flow: among idle ones against alone, and alone against native."""
    seconds = 0.1 if settings.quick else 0.5
    ours = tesla("+dummy")
    with ExitStack() as open:
        if count == 1:
            title, versus = "one open flow", "native"
            goal: Goal | None = None
            other = Side(open, flows, [], [])
        else:
            title, versus, goal = f"one busy flow among {count}", "alone", ALONE
            other = Side(open, flows, ours, [])
        among = Side(open, flows, ours, [], count)
        sides = {"ours": among, "other": other}
        for what, word, unit in (
            ("64 KiB sent", "send", "B/s"),
            ("round trips of 1 byte", "ping", "/s"),
        ):
            figures = settings.measured(
                {name: side.asked(f"{word} {seconds}") for name, side in sides.items()},
                fine=not settings.quick,
                part=0.5 / len(COUNTS) / 2,
            )
            yield Row(
                f"{title}: {what}",
                versus,
                goal,
                figures["ours"],
                figures["other"],
                unit,
                note=note,
            )


def _opened(settings: Settings, flows: str, count: int, note: str) -> Iterator[Row]:
    """What each open flow keeps of us, and how fast they come."""
    ours = tesla("+dummy")
    times = 1 if settings.quick or count > 1000 else 3  # ten thousand take 10 s
    for what, client, server in (
        ("connected", ours, []),
        ("accepted", [], ours),
    ):
        kept: list[float] = []
        for _ in range(times):
            with ExitStack() as open:
                side = Side(open, flows, client, server)
                before = side.memory()
                side.open(count)
                kept.append((side.memory() - before) / (count - 1) / 1024)
        # What the allocator takes at a time is more than a hundred flows need.
        goal = MOST_MEMORY if count >= 1000 else None
        title = f"{count} open flows, {what}"
        yield Row(f"{title}: memory of each", "", goal, kept, unit="KiB", note=note)
        with ExitStack() as open:
            sides = {
                "ours": Side(open, flows, client, server),
                "native": Side(open, flows, [], []),
            }
            figures = settings.measured(
                {name: side.reopen(count) for name, side in sides.items()}, times
            )
        yield Row(
            f"{title}: rate", "native", None, figures["ours"], figures["native"], "/s", note=note
        )
