"""The forms of the command that only say something."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tesla_trace.cli.stacked import stacked
from tesla_trace.cli.statuses import NOT_ATTACHED, USAGE
from tesla_trace.cli.words import Words
from tesla_trace.report import die, tell


def act(words: Words) -> None:
    """Do what has nothing to do with handlers that are named."""
    match words.action:
        case "help":
            from tesla_trace.cli.help import text

            print(text(), end="")
        case "version":
            from tesla_trace import __version__

            print(f"tesla_trace {__version__}")
        case "handlers":
            from tesla_trace.tables import handlers

            handlers()
        case "doctor":
            from tesla_trace.doctor.examination import main as doctor

            sys.exit(doctor())
        case "detach":
            _detach(int(words.value))
        case "keygen":
            _keygen(words.value)


def explain(words: Words) -> None:
    """Say which handlers a connection goes through.

    Raises:
        UsageError: the words make no sense.
    """
    from tesla_trace.explain import Unexplained, facts, lines

    try:
        for line in lines(stacked(words), words.value, facts(words.value, words.program)):
            print(line)
    except Unexplained as wrong:
        die(str(wrong), USAGE)


def usage_of(handlers: Sequence[str]) -> None:
    """Say what handlers do, and take.

    Raises:
        UsageError: there is no such handler.
    """
    from tesla_trace.flow import installed, parse, usage
    from tesla_trace.flow.declared import OWN

    for word in handlers:
        if word.startswith("+"):
            try:
                print(usage(installed()[word[1:]]))
            except KeyError:
                parse([word])
            else:
                for name, text in OWN.items():
                    print(f"  {f'-{name}=CONDITION':<18} {text}")


def _detach(process: int) -> None:
    from tesla_trace.supervision import rendezvous

    try:
        with rendezvous.ask(process, rendezvous.DETACH) as end:
            said = end.recv(rendezvous.ROOM)
    except rendezvous.Nobody as wrong:
        die(str(wrong), NOT_ATTACHED)
    tell(said.decode() or "whoever was attached has ended")


def _keygen(path: str) -> None:
    from pathlib import Path

    from tesla_trace.keygen import keygen

    try:
        keygen(Path(path))
    except OSError as wrong:
        die(f"--keygen {path}: {os.strerror(wrong.errno or 0)}", USAGE)
