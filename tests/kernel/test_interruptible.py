"""Answers that a signal kept from their caller."""

import errno
import struct

from tesla_trace.kernel.interruptible import KEPT, Lost
from tesla_trace.kernel.trap import Gone

FILE = b"socket:[7]"
DONE = struct.pack("=qiI", 5, 0, 0)


class Call:
    """One that waits, or is gone."""

    def __init__(self, call="recvfrom", *args, thread=1, file=FILE, there=True):
        self.call, self.args, self.thread = call, args or (3, 0x1000), thread
        self.written, self.answers, self.memory = (), [], []
        self._file, self._there = file, there

    def file(self, fd):
        return self._file

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


def test_taken_away_once_more():
    kept, again = lost(), Call(there=False)
    assert kept.answers(again) and again.answers == []
    assert kept.answers(Call())


def test_not_too_many_are_kept():
    kept = Lost(["recvfrom"])
    for thread in range(KEPT + 1):
        kept.keep(Call(thread=thread), DONE)
    assert not kept.answers(Call(thread=0)) and kept.answers(Call(thread=KEPT))
