"""Structures, against the same made by the compiler's rules."""

import ctypes
import socket
import struct

import pytest

from tesla_trace.syscalls.arguments.layout import LATE, LAYOUTS, layout_of
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
    assert layout.name_size == msghdr._1.offset
    assert layout.results == msghdr._5.offset
    assert layout.result.unpack(bytes(made)[layout.results :][: layout.result.size]) == (6, 7)


def test_time_in_64_bits():
    stop = FakeStop("recvmmsg_time64", 3)
    stop.word = 4
    assert layout_of(stop).timespec.size == 16
    assert layout_of(stop).msghdr == LAYOUTS[4].msghdr


def test_times_in_control_messages():
    ours = struct.pack("=6q", 2**31 + 1, 2, 3, 4, 5, 6)
    narrow = struct.pack("=6i", 1 - 2**31, 2, 3, 4, 5, 6)
    for layout, said in ((LAYOUTS[4], narrow), (LATE, narrow), (LAYOUTS[8], ours)):
        assert layout.control(socket.SOL_SOCKET, 37, ours) == said
        assert layout.control(socket.SOL_SOCKET, 65, ours) == ours
        assert layout.control(socket.IPPROTO_IP, 37, ours) == ours
