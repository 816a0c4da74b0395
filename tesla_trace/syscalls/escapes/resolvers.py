"""Programs of this machine that look names up for others, who would do it beside our handlers.

Facts of libc (nsswitch.conf(5), nscd(8)): it asks them by sockets of AF_UNIX, and where there is
none it goes on to the next way, in the end to DNS.  So where names are resolved by a handler those
sockets are not to be found.  What is asked by D-Bus (org.freedesktop.resolve1) is not seen here.

The path is looked at as it is written, and the kernel reads it again: this keeps programs right
that mean no harm, and is no barrier to one that wants its names to leak.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket as sockets
from typing import TYPE_CHECKING

from tesla_trace.kernel import proc, sockaddr
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.arguments.words import error, read_sockaddr

if TYPE_CHECKING:
    from tesla_trace.syscalls.session import Session

RESOLVERS = {
    "/run/nscd/socket": "nscd",
    "/run/systemd/resolve/io.systemd.Resolve": "systemd-resolved",
    "/run/systemd/resolve/io.systemd.Resolve.Monitor": "systemd-resolved",
    "/run/avahi-daemon/socket": "avahi",
}
"""Who listens where; /var/run is /run (FHS 3.0)."""


def hide(session: Session, stop: Stop) -> None:
    """Fail a connect(2) to one of them, where names are resolved by a handler.

    Args:
        stop: a connect of a socket that is not ours.

    Raises:
        OSError: ENOENT.
    """
    if session.stack.dns == "local":
        return
    data = b""
    with contextlib.suppress(OSError):  # the kernel says what is wrong with it
        data = read_sockaddr(stop, stop.args[1], stop.args[2])
    if sockaddr.family(data) != sockets.AF_UNIX:
        return
    path = os.fsdecode(data[2:].partition(b"\0")[0]).removeprefix("/var")
    if who := RESOLVERS.get(path):
        if session.stack.dns == "leak-check":
            program = f"{proc.name(stop.thread)}[{stop.process()}]"
            session.say_once(f"{program}: would look names up by {who}; it is not to be found")
        raise error(errno.ENOENT)
