"""Another process's memory: what is there, what is not, and what exec makes of it."""

import ctypes
import errno
import mmap
import os
import sys

import pytest

from tesla_trace.kernel import memory
from tesla_trace.kernel.memory import MOST
from tests.kernel.child import child

PAGE = mmap.PAGESIZE
PAGES = MOST // PAGE + 2
libc = ctypes.CDLL(None, use_errno=True)


def protect(address, how):
    assert libc.mprotect(ctypes.c_void_p(address), PAGE, how) == 0


@pytest.fixture
def start():
    """Where PAGES of "x" start, in a child too; the last can be neither read nor written."""
    area = mmap.mmap(-1, PAGES * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.write(b"x" * PAGES * PAGE)
    view = ctypes.c_char.from_buffer(area)
    address = ctypes.addressof(view)
    protect(address + (PAGES - 1) * PAGE, 0)
    yield address
    protect(address + (PAGES - 1) * PAGE, 3)
    del view
    area.close()


@pytest.fixture
def end(start):
    """Where the bytes that are there end."""
    return start + (PAGES - 1) * PAGE


def fails(number, call, *args):
    with pytest.raises(OSError) as wrong:
        call(*args)
    assert wrong.value.errno == number


@pytest.fixture
def other():
    """A child that has our memory's twin."""
    with child(lambda say: say("ready")) as made:
        made.says()
        yield made.pid


def test_read_and_write(start, other):
    memory.write(other, start + 10, b"hello")
    assert memory.read(other, start + 8, 9) == b"xxhelloxx"
    assert ctypes.string_at(start + 10, 5) == b"xxxxx"  # ours is another's
    assert memory.read(other, start, 0) == b""


def test_more_than_one_piece(start, other):
    assert memory.read(other, start, MOST + PAGE) == b"x" * (MOST + PAGE)
    fails(errno.EFAULT, memory.read, other, start, MOST + PAGE + 1)


def test_two_places_at_once(start, other):
    memory.write_two(other, start, b"one", start + PAGE, b"another")
    assert memory.read(other, start, 4) == b"onex"
    assert memory.read(other, start + PAGE, 8) == b"anotherx"


def test_the_end_of_a_page(end, other):
    assert memory.read(other, end - 4, 4) == b"xxxx"
    fails(errno.EFAULT, memory.read, other, end - 4, 5)
    fails(errno.EFAULT, memory.read, other, end, 1)
    fails(errno.EFAULT, memory.write, other, end - 4, b"12345")
    fails(errno.EFAULT, memory.write, other, end, b"1")
    fails(errno.EFAULT, memory.write_two, other, end - 4, b"1234", end, b"1")
    memory.write(other, end - 4, b"1234")
    assert memory.read(other, end - 4, 4) == b"1234"


def test_memory_that_is_only_read(start):
    def only_read(say):
        protect(start, 1)
        say("ready")

    with child(only_read) as other:
        other.says()
        fails(errno.EFAULT, memory.write, other.pid, start, b"1")
        assert memory.read(other.pid, start, 1) == b"x"


@pytest.mark.parametrize("address", [0, 8, 2**47, 2**63, 2**64 - 8])
def test_addresses_that_cannot_be(address, other):
    fails(errno.EFAULT, memory.read, other, address, 4)
    fails(errno.EFAULT, memory.write, other, address, b"1234")


def test_after_exec_it_is_the_new_memory(start):
    code = "import ctypes,sys;b=ctypes.create_string_buffer(b'new');print(ctypes.addressof(b));"
    code += "sys.stdout.flush();sys.stdin.read()"
    said, say_it = os.pipe()
    heard, go = os.pipe()

    def execute(say):
        say("ready")
        os.read(heard, 1)
        os.dup2(say_it, 1)
        os.dup2(heard, 0)
        os.execv(sys.executable, [sys.executable, "-c", code])

    with child(execute) as other:
        other.says()
        assert memory.read(other.pid, start, 4) == b"xxxx"
        os.write(go, b"x")
        address = int(os.read(said, 64))
        assert memory.read(other.pid, address, 3) == b"new"
        fails(errno.EFAULT, memory.read, other.pid, start, 4)
    for fd in (said, say_it, heard, go):
        os.close(fd)


def test_a_process_that_is_gone(start):
    with child(lambda say: say("ready")) as other:
        other.says()
    fails(errno.ESRCH, memory.read, other.pid, start, 1)
    fails(errno.ESRCH, memory.write, other.pid, start, b"1")
