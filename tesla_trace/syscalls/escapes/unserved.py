"""Sockets and calls that are not for the handlers.

Some calls are trapped because the filter could not see their arguments: the sub-calls of
socketcall(2).  What works on a descriptor is let through, as if it had never been trapped.

A socket(2) is done by us, of the arguments that we saw and with the caller's rights, for three
reasons: the kernel would read the arguments of a sub-call once more, and another thread could have
made AF_INET of the AF_UNIX that we saw; what the kernel does not have is not counted as let
through; and a socket that was let through is known when it is met again.
"""

from __future__ import annotations

import os
import socket as sockets
from typing import TYPE_CHECKING

from tesla_trace.kernel.libc import check, libc
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.words import signed
from tesla_trace.syscalls.escapes.ways import Way

if TYPE_CHECKING:
    from tesla_trace.syscalls.session import Session


def leave(session: Session, stop: Stop) -> None:
    """Have done what the kernel would have done, had the call not been trapped.

    Raises:
        OSError: as socket(2).
    """
    if stop.call == "socket":
        give(session, stop)
    else:
        stop.proceed()


def give(session: Session, stop: Stop, way: Way | None = None) -> None:
    """Give the program the kernel's own socket, where it may have one.

    Args:
        way: past the handlers; None for what is no concern of theirs.

    Raises:
        OSError: as socket(2), or it is refused.
    """
    domain, type, protocol = (signed(arg) for arg in stop.args[:3])
    guise = session.acting.of(stop)
    if isinstance(guise, Way):  # the kernel must do it, and read the arguments that there are then
        if way is not None or session.closed:
            session.uncovered(stop, way or guise)
        return stop.proceed()
    with guise:
        made = check(libc.socket(domain, type | sockets.SOCK_CLOEXEC, protocol))
    try:
        if way is not None:
            session.uncovered(stop, way)
        session.strangers.born(made)
        stop.give(made, cloexec=bool(type & sockets.SOCK_CLOEXEC))
    finally:
        os.close(made)
