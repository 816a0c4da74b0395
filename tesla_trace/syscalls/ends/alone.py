"""The program's end of a stream while it has no connection: an AF_UNIX socket with no other end.

Facts, and what they mean for us:

- poll(2) says OUT and HUP of it, as of a TCP socket; one that listens is never writable.  Data is
  refused: send says ENOTCONN where TCP says EPIPE, recv EINVAL where TCP says ENOTCONN.
- It can be joined with an end of ours later, while the program has it: it is the file that is
  connected, so all descriptors and registrations of it hold on.
- What comes from an end that was bound has a name, and TCP's data has none: so the calls that ask
  for it are done by us (`stream/receive.py`).
- A connection that waits to be accepted on it stays there when its other end is closed, and
  raises an event of its own: it is the token of one that waits in our queue.
- There is no other end to tell of its close: see `closes.py`.
"""

from __future__ import annotations

import errno
import os
import select
import socket as sockets
from collections.abc import Callable, Sequence
from contextlib import suppress

from tesla_trace.io.loop import Loop
from tesla_trace.io.pair import Pair
from tesla_trace.syscalls.arguments.words import error
from tesla_trace.syscalls.ends.closes import Closes
from tesla_trace.syscalls.ends.meeting import FOLDERS, Meeting, knock, open_privately


class Alone(Pair):
    """A pair of which only the program's end is there, until they are joined.

    Raises:
        OSError: there is no seeing when the program closes it.

    Args:
        app: the program's end, where that is there already.
    """

    nameless = False

    def __init__(
        self, loop: Loop, closes: Closes, meeting: Meeting, app: sockets.socket | None = None
    ) -> None:
        app = app or sockets.socket(sockets.AF_UNIX, self.TYPE)
        self._set_up(loop, app)
        self._closes = closes
        self._meeting = meeting
        self._door = -1
        self._is_left = False
        try:
            self._watched = closes.expect(app.fileno(), self._left)
        except OSError:
            app.close()
            raise

    def _left(self) -> None:
        self._is_left = True
        try:
            self.watch.hung_up()
        except Exception as wrong:
            self.watch.failed(wrong)

    def gone(self) -> bool:
        """Whether nobody has the program's end any more."""
        if self.joined:
            return super().gone()
        self._closes.look()
        return self._is_left

    def join(self, app: sockets.socket) -> None:
        """Be a pair from now on; `app` is a copy of the program's end.

        Raises:
            OSError: it cannot be.
        """
        if not self.joined:
            self._join(self._meeting.join(app))
            self._closes.forget(self._watched)

    def listen(self, app: sockets.socket) -> None:
        """Be one that listens, of which nothing is known but its tokens."""
        self._door = open_privately(app)

    def put_token(self) -> None:
        """Let it have a connection to accept.

        Raises:
            OSError: it has too many.
        """
        with sockets.socket(sockets.AF_UNIX, self.TYPE) as token:
            token.setblocking(False)
            knock(token, self._door)

    def take_token(self, app: sockets.socket) -> None:
        """Accept one, through a copy of the program's end.

        Raises:
            OSError: there is none.
        """
        ready = select.poll()
        ready.register(app, select.POLLIN)
        if not ready.poll(0):  # accept would wait, if the program's socket does
            raise error(errno.EAGAIN)
        app.accept()[0].close()

    def close(self) -> None:
        """Close our end, or see no more what becomes of the program's."""
        if not self.closed:
            super().close()
            if not self.joined:
                self._closes.forget(self._watched)
            if self._door >= 0:
                os.close(self._door)


class Ends:
    """Makes the program's ends of streams.

    Args:
        say: told why they are pairs from birth, if they are.
        places: see `Meeting`.
    """

    def __init__(
        self, loop: Loop, say: Callable[[str], None], places: Sequence[str] = FOLDERS
    ) -> None:
        self._loop = loop
        self._say = say
        self._places = places
        self._means: tuple[Closes, Meeting] | None = None
        self._spare: Pair | None = None

    def new(self) -> Pair:
        """The end of a socket without a connection; where there is no other way, with one."""
        spare, self._spare = self._spare, None
        return spare or self._made()

    def prepare(self) -> None:
        """Make one for the next who asks."""
        if self._spare is None:
            with suppress(OSError):
                self._spare = self._made()

    def offer(self, app: sockets.socket) -> bool:
        """Here is one that the program has made, for the next who asks; False if it cannot be."""
        self.drop()
        try:
            closes, meeting = self._needed()
            self._spare = Alone(self._loop, closes, meeting, app)
        except OSError:
            app.close()
        return self._spare is not None

    def drop(self) -> None:
        """Nobody will ask for what was prepared."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()
            spare.given()

    def _made(self) -> Pair:
        try:
            closes, meeting = self._needed()
            return Alone(self._loop, closes, meeting)
        except OSError as wrong:
            self._say(f"sockets look connected before connect(2): {wrong.strerror or wrong}")
            return Pair(self._loop)

    @property
    def closes(self) -> Closes:
        """Sees the last close of any socket.

        Raises:
            OSError: there is no seeing it.
        """
        return self._needed()[0]

    def _needed(self) -> tuple[Closes, Meeting]:
        if self._means is None:
            closes = Closes(self._loop)
            try:
                self._means = closes, Meeting(self._places)
            except OSError:
                closes.close()
                raise
        return self._means
