"""Flags of calls as plain numbers: the arithmetic of Python's takes a microsecond."""

from __future__ import annotations

import socket

NONBLOCK = int(socket.SOCK_NONBLOCK)
CLOEXEC = int(socket.SOCK_CLOEXEC)
FLAGS = NONBLOCK | CLOEXEC
"""What socket(2) and accept4(2) take."""

MSG_OOB = int(socket.MSG_OOB)
MSG_PEEK = int(socket.MSG_PEEK)
MSG_TRUNC = int(socket.MSG_TRUNC)
MSG_CTRUNC = int(socket.MSG_CTRUNC)
MSG_DONTWAIT = int(socket.MSG_DONTWAIT)
MSG_MORE = int(socket.MSG_MORE)
MSG_ERRQUEUE = int(socket.MSG_ERRQUEUE)
MSG_NOSIGNAL = int(socket.MSG_NOSIGNAL)

# Which Python's socket module does not name (linux/socket.h).
MSG_WAITFORONE = 0x10000
MSG_FASTOPEN = 0x20000000
