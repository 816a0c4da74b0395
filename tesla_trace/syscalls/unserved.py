"""Calls that no rule is for, which are trapped because the filter could not see their arguments.

Such are the sub-calls of socketcall(2).  What works on a descriptor is let through, as if it had
never been trapped.  But of socket(2) the kernel would read the arguments once more: another thread
could have made AF_INET of the AF_UNIX that we saw, and had a socket past all handlers.  So that
socket is made by us, of the arguments that we saw.

It must not be one that the program has no right to.  The kernel asks for rights when the socket is
made, and has ours to look at; so what takes any is only given to who has the same.
"""

from __future__ import annotations

import errno
import os
import socket as sockets

from tesla_trace.kernel import proc
from tesla_trace.kernel.libc import check, libc
from tesla_trace.kernel.trap import Stop
from tesla_trace.syscalls.session import Session
from tesla_trace.syscalls.words import error, signed

_ANY = (sockets.SOCK_STREAM, sockets.SOCK_DGRAM, sockets.SOCK_RAW, sockets.SOCK_SEQPACKET)
FREE: dict[int, tuple[sockets.SocketKind, ...]] = {
    sockets.AF_UNIX: _ANY,
    sockets.AF_NETLINK: (sockets.SOCK_DGRAM, sockets.SOCK_RAW),
    sockets.AF_INET: (sockets.SOCK_DGRAM,),
    sockets.AF_INET6: (sockets.SOCK_DGRAM,),
}
"""The domains, and types, of which a socket is made without asking for rights.  A netlink socket
acts with the lesser rights of who made it and who uses it."""


def leave(session: Session, stop: Stop) -> None:
    """Have done what the kernel would have done, had the call not been trapped.

    Raises:
        OSError: as socket(2); EPERM, the caller has other rights than we have.
    """
    if stop.call != "socket" or not stop.copied or not session.same_network(stop):
        return stop.proceed()
    domain, type, protocol = (signed(arg) for arg in stop.args[:3])
    made = check(libc.socket(domain, type | sockets.SOCK_CLOEXEC, protocol))
    try:
        if not _is_free(domain, type, protocol) and not proc.rights_are_ours(stop.thread):
            session.say_once(f"socket(2) of domain {domain}: refused, for it takes our rights")
            raise error(errno.EPERM)
        stop.reply(stop.inject(made, cloexec=bool(type & sockets.SOCK_CLOEXEC)))
    finally:
        os.close(made)


def _is_free(domain: int, type: int, protocol: int) -> bool:
    if type & 0xF not in FREE.get(domain, ()):
        return False
    return protocol in (0, sockets.IPPROTO_UDP) or domain not in (sockets.AF_INET, sockets.AF_INET6)
