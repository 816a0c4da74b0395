"""Answers that a signal kept from their caller."""

import errno
import struct

import pytest

from tesla_trace.kernel.interruptible import KEPT, InterruptibleStop, Lost
from tesla_trace.kernel.trap import Gone

FILE = b"socket:[7]"
DONE = struct.pack("=qiI", 5, 0, 0)


class Call:
    """One that waits, or is gone."""

    def __init__(self, call="recvfrom", *args, thread=1, file=FILE, there=True):
        self.call, self.args, self.thread = call, args or (3, 0x1000), thread
        self.written, self.found, self.answers, self.memory = (), (), [], []
        self.undo = None
        self._file, self._there = file, there

    def file(self, fd):
        return self._file

    def finds(self, pieces, written):
        return all(piece in self.found for piece in pieces)

    def sent(self, answer):
        if self._there:
            self.answers.append(answer)
        return self._there

    def write_many(self, pieces):
        if not self._there:
            raise Gone
        self.memory += pieces

    def fail(self, number):
        self.answers.append(errno.errorcode[number])


def lost(call=None, **kwargs):
    kept = Lost(["recvfrom", "connect"])
    call = call or Call(there=False)
    call.written = [(0x1000, b"taken")]
    kept.keep(call, DONE)
    return kept


def test_the_same_call_again_has_the_answer_and_the_memory():
    kept, again = lost(), Call()
    assert kept.answers(again)
    assert again.answers == [DONE] and again.memory == [(0x1000, b"taken")]
    assert not kept.answers(Call())  # once


def test_another_call_is_done():
    for other in (Call(thread=2), Call(file=b"socket:[8]"), Call(file=None)):
        kept = lost()
        assert not kept.answers(other) and other.answers == []
        assert kept.answers(Call())  # a handler of the signal made it: the first comes again


def test_what_the_thread_does_with_the_file_meanwhile_forgets_it():
    for other in (Call("connect"), Call("recvfrom", 3, 0x2000)):
        kept = lost()
        assert not kept.answers(other)
        assert not kept.answers(Call())


def test_a_call_that_points_at_something_else_is_another():
    other = Call()
    first = Call(there=False)
    first.found = [(0x2000, b"a buffer")]
    kept = lost(call=first)
    other.found = [(0x2000, b"another!")]
    assert not kept.answers(other) and not other.memory and not other.answers


def test_what_is_not_asked_for_again_is_undone():
    undone = []
    for other in (Call("connect"), Call("recvfrom", 3, 0x2000)):
        first = Call(there=False)
        first.undo = lambda: undone.append(1)
        assert not lost(call=first).answers(other)
    assert undone == [1, 1]
    kept = Lost(["recvfrom"])
    for thread in range(KEPT + 2):
        call = Call(thread=thread)
        call.undo = lambda thread=thread: undone.append(thread)
        kept.keep(call, DONE)
    assert undone[2:] == [0, 1]


HERE, END = 0x1000, 0x1010


class Here(InterruptibleStop):
    """One whose memory is 16 bytes."""

    __slots__ = ("memory",)

    def __init__(self, memory):
        super().__init__(-1, None, bytes(8), 1, "recvmsg", (3,), 8)
        self.memory = memory

    def _there(self, address, data):
        if not HERE <= address <= address + len(data) <= END:
            raise OSError(errno.EFAULT, "")
        return self.memory[address - HERE : address - HERE + len(data)]


@pytest.mark.parametrize(
    ("memory", "same"),
    [
        (b"header__buffer__", True),
        (b"HEader__buffer__", True),  # as the call has left it
        (b"HEADer__buffer__", False),
        (b"header__another_", False),
    ],
)
def test_what_is_pointed_at_may_be_what_we_wrote(memory, same):
    stop = Here(memory)
    found, written = [(HERE, b"header__"), (HERE + 8, b"buffer__")], [(HERE - 1, b"xHE")]
    assert stop.finds(found, written) is same
    assert not stop.finds([(END, b"!")], ())


def test_taken_away_once_more():
    kept, again = lost(), Call(there=False)
    assert kept.answers(again) and again.answers == []
    assert kept.answers(Call())


def test_not_too_many_are_kept():
    kept = Lost(["recvfrom"])
    for thread in range(KEPT + 1):
        kept.keep(Call(thread=thread), DONE)
    assert not kept.answers(Call(thread=0)) and kept.answers(Call(thread=KEPT))
