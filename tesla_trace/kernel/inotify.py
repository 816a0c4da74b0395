"""inotify(7): being told that the last descriptor of a file, anywhere, has been closed.

Facts: sockets have inodes, and to name one by /proc/self/fd takes no open file.  The event comes
before close(2) returns, and with IN_ONESHOT it ends the watch, which is an event as well.  Until
then a watch keeps the inode, and so its number, from another file; the kernel gives the next number
only 2**32 inodes later.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from tesla_trace.kernel.libc import check, libc

CLOSED = 0x8 | 0x10
"""IN_CLOSE_WRITE, IN_CLOSE_NOWRITE"""

ONESHOT = 0x80000000
"""IN_ONESHOT: the kernel removes the watch with the event, which spares us a call for each."""

_EVENT = struct.Struct("iIII")
"""struct inotify_event: watch, mask, cookie, and bytes of a name that follows."""

ROOM = 4096
_LONGEST = _EVENT.size + 256
"""With a name as long as can be."""


def open_inotify() -> int:
    """A new instance, non-blocking and close-on-exec."""
    return check(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def watch_closes(inotify: int, fd: int) -> int:
    """Be told, once, when the file of one of our descriptors is closed for good.

    Returns:
        The watch's number; after the event there is no such watch any more.

    Raises:
        OSError: ENOSPC, the user has too many (fs.inotify.max_user_watches).
    """
    return check(libc.inotify_add_watch(inotify, b"/proc/self/fd/%d" % fd, CLOSED | ONESHOT))


def unwatch(inotify: int, watch: int) -> None:
    """Be told no more."""
    libc.inotify_rm_watch(inotify, watch)


def closes(inotify: int) -> Iterator[int]:
    """The watches whose files have been closed by now; none where there was no event."""
    full = True
    while full:
        try:
            events, at = os.read(inotify, ROOM), 0
        except BlockingIOError:
            return
        full = len(events) > ROOM - _LONGEST  # else that was all
        while at < len(events):
            watch, mask, _, size = _EVENT.unpack_from(events, at)
            if mask & CLOSED:
                yield watch
            at += _EVENT.size + size
