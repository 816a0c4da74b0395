"""The file of `--report`: what happened, as JSON, for another program to read.

It holds `program`, `status` or `signal`, `began` and `seconds`; `flows`, each with `number`,
`program`, `pid`, `accepted`, `target`, `began`, `seconds`, its `datapath` (`handlers`, `spliced` or
`handed back`), the bytes `out` and `in` as the program wrote and read them (null where it was
handed back: nobody counts), and its `outcome` (`closed`, `open`, or the errno it failed with);
their `totals`; and `not_covered`, what went past the handlers, by `way` and `program`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import tempfile
import time
from collections.abc import Sequence
from typing import TextIO

from tesla_trace.syscalls.accounts import Accounts, Entry
from tesla_trace.syscalls.escapes.uncovered import Count


class Summary:
    """Gathers flows on disk, for there may be any number, and writes the file when all is over.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: str, program: Sequence[str]) -> None:
        if os.path.exists(path) and not os.path.isfile(path):  # /dev/stdout: its link is no path
            raise OSError(errno.EINVAL, "not a regular file")
        self._path = os.path.realpath(path)  # what a link leads to is replaced, not the link
        self._new = f"{self._path}.{os.getpid()}.new"
        with self._create():
            os.unlink(self._new)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # of a run before, which nobody is to take for this one's
        self._program = list(program)
        self._began = time.time()
        self._flows = tempfile.TemporaryFile("w+", encoding="ascii")

    def keep(self, entry: Entry) -> None:
        """Keep what is known of a flow that is over; if the disk is full, that there was one."""
        with contextlib.suppress(OSError):
            self._flows.write(json.dumps(entry) + "\n")

    def write(self, status: int, accounts: Accounts, counts: Sequence[Count]) -> None:
        """Write the file, perhaps once more: it is there whole, or as it was before.

        Args:
            status: the program's exit status; negative, the signal that ended it.

        Raises:
            OSError: the disk is full, say.
        """
        totals = accounts.totals()
        rest = {
            "totals": {"flows": totals.flows, "out": totals.out, "in": totals.into},
            "not_covered": [
                {
                    "way": each.way.one,
                    "program": each.program,
                    "times": each.times,
                    "refused": each.refused,
                }
                for each in counts
            ],
        }
        first = {
            "program": self._program,
            ("status" if status >= 0 else "signal"): abs(status),
            "began": round(self._began, 3),
            "seconds": round(time.time() - self._began, 3),
        }
        try:
            with self._create() as file:
                file.write(json.dumps(first)[:-1] + ', "flows": [')
                self._flows.seek(0)
                comma = "\n"
                under_way = map(json.dumps, accounts.under_way())
                for line in itertools.chain(self._flows, under_way):
                    file.write(comma + line.rstrip("\n"))
                    comma = ",\n"
                self._flows.seek(0, os.SEEK_END)
                file.write("\n], " + json.dumps(rest)[1:] + "\n")
            os.rename(self._new, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(self._new)
            raise

    def _create(self) -> TextIO:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.fdopen(os.open(self._new, flags, 0o666), "w", encoding="ascii")
