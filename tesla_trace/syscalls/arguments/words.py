"""Reading arguments: registers as the kernel reads them, addresses and lengths from memory."""

from __future__ import annotations

import errno
import os
import struct

from tesla_trace.kernel import sockaddr
from tesla_trace.kernel.trap import Stop

_INT = struct.Struct("=i")


def signed(register: int) -> int:
    """The C int in a register."""
    return ((register & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def error(number: int) -> OSError:
    """The kernel's own error, with nothing to add."""
    return OSError(number, os.strerror(number))


def read_int(stop: Stop, address: int) -> int:
    """The C int at `address`.

    Raises:
        OSError: EFAULT.
    """
    (value,) = _INT.unpack(stop.read(address, _INT.size))
    return int(value)


def pack_int(value: int) -> bytes:
    """A C int in memory."""
    return _INT.pack(value)


def read_sockaddr(stop: Stop, address: int, register: int) -> bytes:
    """The socket address that a call is given, as move_addr_to_kernel() reads it.

    Raises:
        OSError: EINVAL, a length that cannot be; EFAULT.
    """
    size = signed(register)
    if not 0 <= size <= sockaddr.LONGEST:
        raise error(errno.EINVAL)
    return stop.read(address, size) if size else b""


def room_for_sockaddr(stop: Stop, address: int) -> int:
    """How much room for an address the program says it has, as move_addr_to_user() reads it.

    Raises:
        OSError: EINVAL, a negative length; EFAULT.
    """
    size = read_int(stop, address)
    if size < 0:
        raise error(errno.EINVAL)
    return size


def write_sockaddr(stop: Stop, address: int, length: int, room: int, data: bytes) -> None:
    """Write as much of an address as there is room for, and the length that it has.

    Args:
        address: where it goes.
        length: where its length goes.

    Raises:
        OSError: EFAULT.
    """
    if room:
        stop.write_two(address, data[:room], length, pack_int(len(data)))
    else:
        stop.write(length, pack_int(len(data)))
