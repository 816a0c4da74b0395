"""The addresses that connect(2) and bind(2) are given, checked as the kernel does."""

from __future__ import annotations

import errno
import socket as sockets
import sys

from tesla_trace.address import Address
from tesla_trace.kernel import sockaddr
from tesla_trace.syscalls.arguments.words import error


def remote_address(domain: int, data: bytes) -> Address:
    """The address in `data`, checked as the protocol of `domain` does."""
    least = sockaddr.IN_SIZE if domain == sockets.AF_INET else sockaddr.IN6_LEAST
    if len(data) < least:
        raise error(errno.EINVAL)
    if sockaddr.family(data) != domain:
        raise error(errno.EAFNOSUPPORT)
    return sockaddr.unpack(data)


def local_address(domain: int, data: bytes) -> Address:
    """The address in `data`, checked as bind does in inet_bind() and inet6_bind()."""
    if len(data) < (sockaddr.IN_SIZE if domain == sockets.AF_INET else sockaddr.IN6_LEAST):
        raise error(errno.EINVAL)
    if domain == sockets.AF_INET and sockaddr.family(data) == sockets.AF_UNSPEC:
        data = sockets.AF_INET.to_bytes(2, sys.byteorder) + data[2:]
        if any(data[4:8]):
            raise error(errno.EAFNOSUPPORT)
    if sockaddr.family(data) != domain:
        raise error(errno.EAFNOSUPPORT)
    return sockaddr.unpack(data)
