"""Reading and writing another process's memory, by process_vm_readv(2).

Facts: it looks the memory up anew each time, so that it is right after an exec; it takes a
thread's number as well as a process's; it respects page protection, as the kernel does when it
reads a call's arguments and writes its results, and transfers partly what is partly there.
/proc/PID/mem is a little faster, but it reads and writes protected pages too, and after an exec
means the old memory.

What it means for us: a number may have passed to another thread, so the caller makes sure
afterwards that the call still waits.  All that is handed to C is made once: a call takes 3.4 µs
so, and 7 with objects made for it.
"""

from __future__ import annotations

import ctypes
import errno
import os

from tesla_trace.kernel.libc import libc

MOST = 64 * 1024
"""Bytes read or written in one piece."""


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


_Two = _Iovec * 2

_buffer = (ctypes.c_char * MOST)()
_bytes = memoryview(_buffer).cast("B")
_here = _Iovec(ctypes.addressof(_buffer), 0)
_there = _Two()
_first, _second = _there
_thread = ctypes.c_int()
_at_here, _at_there = (ctypes.c_void_p(ctypes.addressof(each)) for each in (_here, _there))
_one, _two, _no_flags = ctypes.c_ulong(1), ctypes.c_ulong(2), ctypes.c_ulong(0)
_readv, _writev = libc.process_vm_readv, libc.process_vm_writev
_readv.restype = _writev.restype = ctypes.c_ssize_t


def read(thread: int, address: int, size: int) -> bytes:
    """`size` bytes at `address`.

    Raises:
        OSError: EFAULT, not all of it is there; ESRCH, the process is gone; EPERM, it is not ours
            to read.
    """
    if size > MOST:
        return read(thread, address, MOST) + read(thread, address + MOST, size - MOST)
    _thread.value = thread
    _here.size = _first.size = size
    _first.base = address
    _check(_readv(_thread, _at_here, _one, _at_there, _one, _no_flags), size)
    return bytes(_bytes[:size])


def write(thread: int, address: int, data: bytes) -> None:
    """Put `data`, at most 64 KiB, at `address`.

    Raises:
        OSError: as `read` does; some of it may have been written.
    """
    _thread.value = thread
    size = _here.size = _first.size = len(data)
    _bytes[:size] = data
    _first.base = address
    _check(_writev(_thread, _at_here, _one, _at_there, _one, _no_flags), size)


def write_two(thread: int, address: int, data: bytes, other: int, more: bytes) -> None:
    """Put `data` at `address`, and then `more` at `other`, in one call.

    Raises:
        OSError: as `write` does.
    """
    _thread.value = thread
    _first.base, _first.size = address, len(data)
    _second.base, _second.size = other, len(more)
    both = data + more
    size = _here.size = len(both)
    _bytes[:size] = both
    _check(_writev(_thread, _at_here, _one, _at_there, _two, _no_flags), size)


def _check(done: int, size: int) -> None:
    if done != size:
        number = ctypes.get_errno() if done < 0 else errno.EFAULT
        raise OSError(number, os.strerror(number))
