"""Keeping the kernel's TCP sockets of a program from being connected (landlock(7)).

Facts: a call that is looked at and then let through looks its descriptor up once more, and by then
another thread may have put another file there.  A TCP socket that is connected already can be made
as new by connect(2) with AF_UNSPEC.  So a program could connect, past us, a socket that it was
given connected.

What it means for us: where nothing may go past the handlers, a rule for the program and all that
it starts forbids connecting TCP sockets at all.  We connect them, and are under no such rule.
"""

from __future__ import annotations

import ctypes
import os
import struct

from tesla_trace.kernel.libc import PR_SET_NO_NEW_PRIVS, check, libc, prctl

CREATE_RULESET, RESTRICT_SELF = 444, 446
"""The same on every architecture."""

CONNECT_TCP = 1 << 1
"""LANDLOCK_ACCESS_NET_CONNECT_TCP, from Linux 6.7."""

_ATTRIBUTES = struct.Struct("=QQ")
"""struct landlock_ruleset_attr: what is handled of files, and of the network"""


def no_connects() -> int:
    """A set of rules without any, for connects; a descriptor of it.

    Raises:
        OSError: ENOSYS, EOPNOTSUPP: there is no Landlock; E2BIG, EINVAL: it knows of no network.
    """
    handled = _ATTRIBUTES.pack(0, CONNECT_TCP)
    rules = check(libc.syscall(CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0))
    os.set_inheritable(rules, False)
    return rules


def restrict(rules: int) -> None:
    """Put this thread, and what it becomes, under the rules.

    Raises:
        OSError: E2BIG, it is under too many sets already.
    """
    try:
        check(libc.syscall(RESTRICT_SELF, rules, 0))
    except PermissionError:  # without CAP_SYS_ADMIN it takes a promise, which is for ever
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        check(libc.syscall(RESTRICT_SELF, rules, 0))
