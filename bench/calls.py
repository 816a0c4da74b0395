"""What a trapped call costs, against the least a supervisor written in C can do, and strace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from bench.machine import Missing, compiled, need, tesla
from bench.measure import Row, Worker, at_most
from bench.settings import Settings
from bench.stream import served

ROWS = [
    ("connected", "answer", "on a connected socket of ours", at_most(4)),
    ("fresh", "answer", "on a socket of ours, not connected", at_most(4)),
    ("unix", "continue", "on a socket that is not ours", at_most(2.75)),
]


C_LOOP = "the bare notify loop in C"
STRACE = "strace"
PTRACE = "ours, by ptrace"
NATIVE = "native"


def rows(settings: Settings) -> Iterator[Row]:
    """getsockname(2) in a loop, the same program natively, under the C loop, strace and us."""
    caller = compiled(settings.folder, "caller")
    notify = compiled(settings.folder, "notify")
    calls = 3000 if settings.quick else 10000
    with ExitStack() as open:
        port = open.enter_context(served(settings))
        native = open.enter_context(Worker([caller, port]))
        ours = open.enter_context(Worker([*tesla("+dummy"), caller, port]))
        by_ptrace = open.enter_context(Worker([*tesla("--trap=ptrace", "+dummy"), caller, port]))
        traced, missing = None, ""
        try:
            strace = [need("strace"), "-f", "-e", "trace=getsockname", "-o", "/dev/null"]
            traced = open.enter_context(Worker([*strace, caller, port]))
        except Missing as wrong:
            missing = str(wrong)
        for kind, how, where, goal in ROWS:
            loop = open.enter_context(Worker([notify, how, caller, port]))
            line = f"{kind} {calls}"
            sides = {
                "ours": ours.asked(line),
                C_LOOP: loop.asked(line),
                NATIVE: native.asked(line),
            }
            if traced is not None:
                sides[STRACE] = traced.asked(f"{kind} {calls // 10}")
                sides[PTRACE] = by_ptrace.asked(f"{kind} {calls // 10}")
            figures = settings.measured(sides, fine=True, part=1 / len(ROWS))
            for versus, reach in ((C_LOOP, goal), (STRACE, None), (NATIVE, None)):
                what = f"getsockname {where}"
                if versus in figures:
                    yield Row(what, versus, reach, figures["ours"], figures[versus], "ns")
                else:
                    yield Row(what, versus, reach, missing=missing)
            if PTRACE in figures:
                ours_traced, theirs = figures[PTRACE], figures[STRACE]
                yield Row(f"{what}, --trap=ptrace", STRACE, at_most(1), ours_traced, theirs, "ns")
            else:
                yield Row(f"{what}, --trap=ptrace", STRACE, at_most(1), missing=missing)
