"""Structures, against the same made by the compiler's rules."""

import ctypes

import pytest

from tesla_trace.syscalls.layout import LAYOUTS, layout_of
from tests.syscalls.stop import FakeStop


def structure(*fields):
    named = [(f"_{number}", each) for number, each in enumerate(fields)]
    return type("Structure", (ctypes.Structure,), {"_fields_": named})


@pytest.mark.parametrize(("word", "long"), [(4, ctypes.c_uint32), (8, ctypes.c_uint64)])
def test_layouts(word, long):
    layout = LAYOUTS[word]
    msghdr = structure(long, ctypes.c_int, long, long, long, long, ctypes.c_int)
    mmsghdr = structure(msghdr, ctypes.c_uint)
    made = msghdr(*range(1, 8))
    assert layout.msghdr.unpack(bytes(made)[: layout.msghdr.size]) == tuple(range(1, 8))
    assert (layout.mmsghdr, layout.length) == (ctypes.sizeof(mmsghdr), mmsghdr._1.offset)
    assert layout.iovec.size == ctypes.sizeof(structure(long, long))
    cmsghdr = structure(long, ctypes.c_int, ctypes.c_int)
    assert layout.cmsghdr.unpack(bytes(cmsghdr(20, 1, 2))) == (20, 1, 2)
    assert layout.align == ctypes.sizeof(long)
    assert layout.timespec.size == ctypes.sizeof(structure(long, long))


def test_time_in_64_bits():
    stop = FakeStop("recvmmsg_time64", 3)
    stop.word = 4
    assert layout_of(stop).timespec.size == 16
    assert layout_of(stop).msghdr == LAYOUTS[4].msghdr
