"""Datagrams: how many a second get through, and what it costs those who send none."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from bench.machine import compiled, tesla
from bench.measure import Row, Worker, at_most
from bench.settings import Settings

RATE = 20_000
"""Datagrams of 512 bytes a second."""

PATIENCE = 60.0
"""Seconds that a flood may take."""


def rows(settings: Settings) -> Iterator[Row]:
    """What is lost of a flood over loopback; and messages of programs that use none of this."""
    yield from _floods(settings)
    yield from _talk(settings)


def _floods(settings: Settings) -> Iterator[Row]:
    flood = compiled(settings.folder, "flood")
    count = RATE // 4 if settings.quick else 5 * RATE
    ours = tesla("+dummy")

    def lost(receiver: list[str], sender: list[str], *how: str) -> Callable[[], float]:
        def run() -> float:
            command = [*receiver, flood, "receive", str(count), *how]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as there:
                assert there.stdout is not None
                port = there.stdout.readline().strip()
                send = [*sender, flood, "send", port, str(count), str(RATE)]
                subprocess.run(send, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
                return count - int(there.stdout.readline().split()[1])

        return run

    sides = {
        "native": lost([], []),
        "received": lost(ours, []),
        "both": lost(ours, ours),
        "asked": lost(ours, [], "from"),
    }
    figures = settings.measured(sides, 3, part=0.8)
    for side, who in (
        ("received", "receiver under us, recv(2)"),
        ("both", "receiver and sender under us, recv(2) and send(2)"),
        ("asked", "receiver under us, recvfrom(2) with an address"),
    ):
        what = f"{count} datagrams of 512 bytes at {RATE}/s, {who}: lost"
        note = f"natively {max(figures['native']):.0f}"
        yield Row(what, "", at_most(0), figures[side], note=note)


def _talk(settings: Settings) -> Iterator[Row]:
    talk = compiled(settings.folder, "talk")
    calls = 3000 if settings.quick else 10_000
    with ExitStack() as open:
        workers = {
            "native": open.enter_context(Worker([talk])),
            "ours": open.enter_context(Worker([*tesla("+dummy"), talk])),
            "streams": open.enter_context(Worker([*tesla("+compress"), talk])),
        }
        asked = {side: worker.asked(f"unix {calls}") for side, worker in workers.items()}
        figures = settings.measured(asked, fine=True, part=0.2)
    what = "sendmsg and recvmsg on a UNIX socket"
    yield Row(what, "native", None, figures["ours"], figures["native"], "ns")
    what += ", where no handler serves datagrams"
    yield Row(what, "native", None, figures["streams"], figures["native"], "ns")
