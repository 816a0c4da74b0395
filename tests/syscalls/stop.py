"""A call that is stopped, with memory of its own, and no kernel behind it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence

from tesla_trace.kernel.trap import Gone

BASE = 0x1000


class FakeStop:
    """Has what `trap.Stop` promises, for calls that need no descriptors."""

    thread = 4711

    def __init__(self, call: str = "connect", *args: int, memory: bytes = b"") -> None:
        self.call = call
        self.args = tuple(each % 2**64 for each in (*args, *[0] * (6 - len(args))))
        self.memory = bytearray(memory)
        self.answers: list[object] = []
        self.word = 8
        self.copied = self.interruptible = self.makes = False
        self.is_interrupted = self.is_gone = False

    def read(self, address: int, size: int) -> bytes:
        self._check(address, size)
        return bytes(self.memory[address - BASE : address - BASE + size])

    def write(self, address: int, data: bytes) -> None:
        self._check(address, len(data))
        self.memory[address - BASE : address - BASE + len(data)] = data

    def write_many(self, pieces: Sequence[tuple[int, bytes]]) -> None:
        for address, data in pieces:
            self.write(address, data)

    def write_two(self, address: int, data: bytes, other: int, more: bytes) -> None:
        self._check(other, len(more))
        self.write(address, data)
        self.write(other, more)

    def _check(self, address: int, size: int) -> None:
        if self.is_gone:
            raise Gone
        if not BASE <= address <= address + size <= BASE + len(self.memory):
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    def make(self, domain: int, kind: int) -> tuple[int, socket.socket]:
        raise AssertionError

    def take_back(self, fd: int) -> None:
        raise AssertionError

    def held(self) -> None: ...

    def unheard(self, undo: Callable[[], object]) -> None:
        self.undo = undo

    def waiting(self) -> bool:
        return not self.is_gone

    def interrupted(self) -> bool:
        return self.is_interrupted

    def reply(self, value: int = 0) -> None:
        self.answers.append(value)

    def fail(self, number: int) -> None:
        self.answers.append(errno.errorcode[number])

    def proceed(self) -> None:
        self.answers.append("proceed")

    def restart(self) -> None:
        self.answers.append("restart")
