"""The requests of ptrace(2) that we make, and what wait(2) says of threads that are traced.

Facts, and what they mean for us:

- Only the thread that attached may make requests, and only while the traced one is stopped; else
  ESRCH, which is also what a thread that has been killed meanwhile says.
- wait(2) sees threads only with __WALL.
- PTRACE_SEIZE, unlike PTRACE_ATTACH, stops nobody and sends no SIGSTOP; a thread that another
  clones is attached in the same way, and first tells of a stop of its own (EVENT_STOP).
- python-ptrace has the call, but not the requests that are newer than 2011: here are their numbers.
- To import it takes 50 ms, so this is for where it is needed.

What is handed to C is made once: to make it takes longer than the request.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from typing import NamedTuple

from ptrace import PtraceError
from ptrace.binding import func

O_TRACESECCOMP = 1 << 7
O_EXITKILL = 1 << 20
FOLLOW = (
    func.PTRACE_O_TRACEFORK
    | func.PTRACE_O_TRACEVFORK
    | func.PTRACE_O_TRACECLONE
    | func.PTRACE_O_TRACEEXEC
)
"""Options: attach to whatever the thread starts, and tell of exec."""
SYSGOOD = func.PTRACE_O_TRACESYSGOOD
"""The option by which stops at system calls are told from SIGTRAP; injecting needs it."""

EVENT_EXEC = func.PTRACE_EVENT_EXEC
EVENT_SECCOMP = 7
EVENT_STOP = 128

SEIZE, INTERRUPT, LISTEN = 0x4206, 0x4207, 0x4208
GETSIGMASK, SETSIGMASK = 0x420A, 0x420B
GET_SYSCALL_INFO = 0x420E
"""Linux 5.3"""

NT_PRSTATUS = func.NT_PRSTATUS
NT_ARM_SYSTEM_CALL = 0x404
"""The registers in which ARM has the number of the call that the kernel is about to do."""
SIGTRAP_AT_CALL = signal.SIGTRAP | 0x80
"""What a stop at a call is told by, with SYSGOOD."""

NONE, ENTRY, EXIT, SECCOMP = range(4)
"""Where a thread is stopped: at no call, before one, after one, before one by a filter."""

WALL = 0x40000000
NO_SUCH_REGISTERS = 1024
"""Bytes that are more than any registers take."""

_INFO = struct.Struct("=B3xIQQ8Q")
"""struct ptrace_syscall_info: op, arch, ip, sp; and for a call that begins its number, arguments
and the data of the filter, for one that ends its result."""


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


_info = ctypes.create_string_buffer(_INFO.size)
_registers = ctypes.create_string_buffer(NO_SUCH_REGISTERS)
_bytes = memoryview(_registers).cast("B")
_iovec = _Iovec(ctypes.addressof(_registers), NO_SUCH_REGISTERS)
_word = ctypes.c_uint64()
_at_info, _at_iovec, _at_word = (ctypes.addressof(each) for each in (_info, _iovec, _word))
_at_registers = ctypes.addressof(_registers)
_FAILED = (1 << 8 * ctypes.sizeof(ctypes.c_ulong)) - 1


class CallInfo(NamedTuple):
    """What a thread that is stopped at a system call says of it."""

    where: int
    """NONE, ENTRY, EXIT or SECCOMP."""
    audit: int
    """AUDIT_ARCH_* of the call."""
    number: int
    """Of the call that begins; of one that ends, its result as an unsigned number."""
    args: tuple[int, ...]
    """Six, of a call that begins."""


def request(what: int, thread: int, address: int = 0, data: int = 0) -> int:
    """ptrace(2).

    Raises:
        OSError: ESRCH, the thread is gone, or not stopped, or not ours; others as ptrace(2).
    """
    result = _ptrace(what, thread, address, data)
    if result == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)


def _checked(what: int, thread: int, address: int, data: int) -> int:
    """The same by python-ptrace's own module in C, where that is installed."""
    try:
        return int(func.ptrace(what, thread, address, data))
    except PtraceError as wrong:
        ctypes.set_errno(wrong.errno or 0)
        return _FAILED


_ptrace = _checked if func.HAS_CPTRACE else func._ptrace
"""The call itself: to see to errors here takes a third less time."""


def poke(thread: int, offset: int, value: int) -> None:
    """Set one register, at its offset in the machine's struct user; there are none on ARM."""
    request(func.PTRACE_POKEUSER, thread, offset, value)


def seize(thread: int, options: int) -> None:
    """Attach to a thread, without stopping it.

    Raises:
        OSError: EPERM, it is not ours to trace, or somebody else traces it; ESRCH, it is gone.
    """
    request(SEIZE, thread, 0, options)


def interrupt(thread: int) -> None:
    """Have it stop (EVENT_STOP), or do so after the stop that it is in."""
    request(INTERRUPT, thread)


def resume(thread: int, number: int = 0) -> None:
    """Let a stopped thread go on, with the signal of this number where it stopped for one."""
    request(func.PTRACE_CONT, thread, 0, number)


def resume_to_call(thread: int, number: int = 0) -> None:
    """The same, up to where its next call begins, or its present one ends."""
    request(func.PTRACE_SYSCALL, thread, 0, number)


def listen(thread: int) -> None:
    """Leave a thread that is in a group stop there, and be told when that is over."""
    request(LISTEN, thread)


def detach(thread: int, number: int = 0) -> None:
    """Let a stopped thread go on, without us."""
    request(func.PTRACE_DETACH, thread, 0, number)


def call_info(thread: int) -> CallInfo:
    """What call a thread is stopped at.

    Raises:
        OSError: EIO, before Linux 5.3; others as `request`.
    """
    request(GET_SYSCALL_INFO, thread, _INFO.size, _at_info)
    words = _INFO.unpack(_info)
    return CallInfo(words[0], words[1], words[4], words[5:11])


def registers(thread: int, kind: int = NT_PRSTATUS) -> bytes:
    """The registers of a stopped thread, as the kernel lays them out: registers.py knows how."""
    _iovec.base, _iovec.size = _at_registers, NO_SUCH_REGISTERS
    request(func.PTRACE_GETREGSET, thread, kind, _at_iovec)
    return bytes(_bytes[: _iovec.size])


def set_registers(thread: int, data: bytes, kind: int = NT_PRSTATUS) -> None:
    """Set them."""
    size = len(data)
    _bytes[:size] = data
    _iovec.base, _iovec.size = _at_registers, size
    request(func.PTRACE_SETREGSET, thread, kind, _at_iovec)


def set_call(thread: int, number: int) -> None:
    """Set the number of the call that the kernel goes by, where that is in registers of its own."""
    set_registers(thread, struct.pack("=i", number), NT_ARM_SYSTEM_CALL)


def blocked(thread: int) -> int:
    """The signals that a stopped thread blocks, signal 1 the lowest bit."""
    request(GETSIGMASK, thread, 8, _at_word)
    return int(_word.value)


def block(thread: int, signals: int) -> None:
    """Have it block these; SIGKILL and SIGSTOP it cannot."""
    _word.value = signals
    request(SETSIGMASK, thread, 8, _at_word)


def message(thread: int) -> int:
    """What more there is to say of the event that a thread stopped for."""
    request(func.PTRACE_GETEVENTMSG, thread, 0, _at_word)
    return int(_word.value)


def event(status: int) -> int:
    """The event (EVENT_*) that a wait status is of; 0 for none."""
    return status >> 16
