"""Seeing that the program has closed a socket that has no other end of ours.

Of all others our end tells, which hangs up.  Where inotify(7) does not tell, because the kernel
reports no closes of sockets or the user has no watches left, there are no such sockets: `Ends`.

Should the kernel's queue overflow (fs.inotify.max_queued_events: 16384 closes within one turn of
the loop), sockets that were closed meanwhile stay until the end.
"""

from __future__ import annotations

import os
import socket as sockets
from collections.abc import Callable

from tesla_trace.io.loop import Loop, Watch
from tesla_trace.kernel.inotify import closes, open_inotify, unwatch, watch_closes

Call = Callable[[], object]


class Closes:
    """All the files of which the last close is to be seen.

    Raises:
        OSError: this kernel, or the user's limits, do not let us.
    """

    def __init__(self, loop: Loop) -> None:
        self._calls: dict[int, Call] = {}
        self._serving = False
        self._fd = open_inotify()
        try:
            self._try()
        except OSError:
            os.close(self._fd)
            raise
        self._watch: Watch = loop.watch(self._fd)
        self._watch.readable = self.look
        self._watch.expect_input()

    def _try(self) -> None:
        with sockets.socket(sockets.AF_UNIX) as one:
            number = watch_closes(self._fd, one.fileno())
        if number not in list(closes(self._fd)):
            raise OSError("no event")

    def expect(self, fd: int, call: Call) -> int:
        """Do `call`, once, when the file of `fd` has been closed by all who have it.

        Returns:
            What `forget` is to be told.

        Raises:
            OSError: there are too many of them.
        """
        number = watch_closes(self._fd, fd)
        self._calls[number] = call
        return number

    def forget(self, number: int) -> None:
        """Something else tells from now on, or nobody wants to know."""
        if self._calls.pop(number, None) is not None:
            unwatch(self._fd, number)
            self.look()  # the event of the removal, which would cost a turn of the loop

    def look(self) -> None:
        """Tell of what has been closed by now."""
        if self._serving:
            return
        self._serving = True
        try:
            for number in closes(self._fd):
                if (call := self._calls.pop(number, None)) is not None:
                    call()
        finally:
            self._serving = False

    def close(self) -> None:
        """See no more closes."""
        self._watch.close()
        os.close(self._fd)
