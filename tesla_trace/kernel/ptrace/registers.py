"""The registers of a thread that is stopped, one layout for each kind of system call.

Facts, and what they mean for us:

- The kernel gives the registers of a 32-bit program in 32-bit words, also to a 64-bit tracer.  But
  a 64-bit program can make the calls of a 32-bit one (`int $0x80`), and then they are wide.  So a
  layout goes by the set of calls *and* the size of what was read.
- On x86 the number of the call is in one register when the program asks (rax), and in another once
  the kernel has begun (orig_rax), for the first is to take the result.  A call whose number is made
  -1 there is not done, and its result is what the first says; one that ends with -1 there, is never
  begun again.
- On ARM the number is in a register of its own (x8, r7), and what the kernel goes by in a set of
  registers of its own (NT_ARM_SYSTEM_CALL).
- Whether an interrupted call begins again the kernel decides on the way out, by its result and its
  number; it then steps back over the instruction, which is as long in all ways that there are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from tesla_trace.kernel.arches import AARCH64, ARM, I386, X86_64

ERRORS = 4096
"""Results above -ERRORS are errno, negative."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Where things are, as numbers of words."""

    name: str
    audit: int
    """The set of calls that it is for, by its audit architecture."""
    count: int
    """Words in all."""
    word: int
    """Bytes of each."""
    number: int
    """The call's number, as the program gives it."""
    begun: int | None
    """The number that the kernel goes by; None where it is in registers of its own."""
    args: tuple[int, ...]
    result: int
    instruction: int
    """The pointer to the next instruction."""
    stack: int
    """The stack pointer."""
    calls: tuple[bytes, ...]
    """The instructions that make a call, all of one length."""
    below: int = 0
    """Bytes below the stack pointer that are the program's (the red zone)."""

    @cached_property
    def _struct(self) -> struct.Struct:
        return struct.Struct(f"={self.count}{'Q' if self.word == 8 else 'I'}")

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._struct.size

    @property
    def mask(self) -> int:
        """All bits of a word."""
        return (1 << 8 * self.word) - 1

    def unpack(self, data: bytes) -> list[int]:
        """The words, unsigned."""
        return list(self._struct.unpack(data))

    def pack(self, words: Iterable[int]) -> bytes:
        """The other way round."""
        return self._struct.pack(*words)

    def step(self) -> int:
        """Bytes of an instruction that makes a call."""
        return len(self.calls[0])

    # ---- changing words ----

    def with_call(self, words: list[int], number: int, args: Iterable[int]) -> None:
        """Have the call that has begun be another one."""
        words[self.number if self.begun is None else self.begun] = number & self.mask
        self._with_args(words, args)

    def with_next_call(
        self, words: list[int], number: int, args: Iterable[int], address: int
    ) -> None:
        """Have the thread make a call by the instruction at `address`, whatever it was in."""
        words[self.number] = number & self.mask
        if self.begun is not None:
            words[self.begun] = self.mask  # nothing to begin again
        words[self.instruction] = address
        self._with_args(words, args)

    def with_result(self, words: list[int], value: int) -> None:
        """The call gives `value`, or fails with an errno if it is negative."""
        words[self.result] = value & self.mask

    def skipped(self, words: list[int]) -> None:
        """The call that has begun is not done; with `begun` None by `requests.set_call`."""
        if self.begun is not None:
            words[self.begun] = self.mask

    def _with_args(self, words: list[int], args: Iterable[int]) -> None:
        for place, arg in zip(self.args, args, strict=False):
            words[place] = arg & self.mask

    # ---- reading words ----

    def signed(self, value: int) -> int:
        """A word as a signed number: what a call gives."""
        return value - (1 << 8 * self.word) if value >> (8 * self.word - 1) else value

    def returned(self, words: list[int]) -> int:
        """What the call gave."""
        return self.signed(words[self.result])

    def in_call(self, words: list[int]) -> bool:
        """Whether the thread comes out of a call, which may be to begin again."""
        if self.begun is None:
            return -ERRORS < self.returned(words) < -511
        return words[self.begun] != self.mask


_X86_CALLS = (b"\x0f\x05", b"\xcd\x80", b"\x0f\x34")
"""syscall, int $0x80, sysenter; behind the last, in the vdso, stands an int $0x80."""

LAYOUTS = (
    Layout(
        "x86-64",
        X86_64.audit,
        count=27,
        word=8,
        number=10,  # rax
        begun=15,  # orig_rax
        args=(14, 13, 12, 7, 9, 8),  # rdi rsi rdx r10 r8 r9
        result=10,
        instruction=16,  # rip
        stack=19,  # rsp
        calls=_X86_CALLS[:1],
        below=128,
    ),
    Layout(
        "i386",
        I386.audit,
        count=17,
        word=4,
        number=6,  # eax
        begun=11,  # orig_eax
        args=(0, 1, 2, 3, 4, 5),  # ebx ecx edx esi edi ebp
        result=6,
        instruction=12,  # eip
        stack=15,  # esp
        calls=_X86_CALLS[1:2],
    ),
    Layout(
        "i386 by a 64-bit program",
        I386.audit,
        count=27,
        word=8,
        number=10,
        begun=15,
        args=(5, 11, 12, 13, 14, 4),  # rbx rcx rdx rsi rdi rbp
        result=10,
        instruction=16,
        stack=19,
        calls=_X86_CALLS[1:2],
        below=128,
    ),
    Layout(
        "aarch64",
        AARCH64.audit,
        count=34,
        word=8,
        number=8,  # x8
        begun=None,
        args=(0, 1, 2, 3, 4, 5),
        result=0,
        instruction=32,  # pc
        stack=31,  # sp
        calls=(b"\x01\x00\x00\xd4",),  # svc #0
    ),
    Layout(
        "arm",
        ARM.audit,
        count=18,
        word=4,
        number=7,  # r7
        begun=None,
        args=(0, 1, 2, 3, 4, 5),
        result=0,
        instruction=15,  # pc
        stack=13,  # sp
        calls=(b"\x00\x00\x00\xef",),  # svc 0, not in Thumb mode
    ),
)

_BY_KIND = {(each.audit, each.size): each for each in LAYOUTS}


def layout(audit: int, size: int) -> Layout:
    """The layout of so many bytes of registers, of a thread at a call of this set.

    Raises:
        OSError: ENOSYS, it is not known.
    """
    try:
        return _BY_KIND[audit, size]
    except KeyError:
        raise OSError(38, f"registers of {size} bytes for calls of {audit:#x}") from None


def own(size: int, among: Iterable[int]) -> Layout:
    """The layout of a thread's own calls, by the bytes of its registers.

    Args:
        among: the sets of calls that this machine has, its own first.

    Raises:
        OSError: ENOSYS, it is not known.
    """
    for audit in among:
        found = _BY_KIND.get((audit, size))
        if found is not None:
            return found
    raise OSError(38, f"registers of {size} bytes")
