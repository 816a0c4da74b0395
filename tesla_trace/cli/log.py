"""The log that a command line names."""

from __future__ import annotations

import os

from tesla_trace.cli.statuses import USAGE
from tesla_trace.cli.words import Words
from tesla_trace.report import Report, die


def report_of(words: Words) -> Report:
    """The log, once nothing of ours can become a standard file."""
    _occupy_standard_files()
    try:
        return Report(words.log)
    except OSError as wrong:
        die(f"--log {words.log}: {wrong.strerror}", USAGE)


def _occupy_standard_files() -> None:
    """Let none of our own files become standard input, output or error, where one is closed.

    What stands there closes on exec, so that the program finds it closed too.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
