"""What a trapped call costs, against the least that a supervisor written in C can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from bench.machine import compiled, tesla
from bench.measure import Row, Worker, at_most
from bench.settings import Settings
from bench.stream import served

ROWS = [
    ("connected", "answer", "on a connected socket of ours", at_most(4)),
    ("fresh", "answer", "on a socket of ours, not connected", at_most(4)),
    ("unix", "continue", "on a socket that is not ours", at_most(2.75)),
]


def rows(settings: Settings) -> Iterator[Row]:
    """getsockname(2) in a loop, the same program natively, under the C loop and under us."""
    caller = compiled(settings.folder, "caller")
    notify = compiled(settings.folder, "notify")
    calls = 3000 if settings.quick else 10000
    with ExitStack() as open:
        port = open.enter_context(served(settings))
        native = open.enter_context(Worker([caller, port]))
        ours = open.enter_context(Worker([*tesla("+dummy"), caller, port]))
        for kind, how, where, goal in ROWS:
            loop = open.enter_context(Worker([notify, how, caller, port]))
            sides = {"native": native, "C loop": loop, "ours": ours}
            figures = settings.measured(
                {side: worker.asked(f"{kind} {calls}") for side, worker in sides.items()},
                fine=True,
                part=1 / len(ROWS),
            )
            native_median = sorted(figures["native"])[len(figures["native"]) // 2]
            yield Row(
                f"getsockname {where}",
                "the bare notify loop in C",
                goal,
                figures["ours"],
                figures["C loop"],
                "ns",
                note=f"natively {native_median:.0f} ns",
            )
