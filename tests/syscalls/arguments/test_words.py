import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.syscalls.arguments import words
from tests.syscalls.stop import BASE, FakeStop


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1))
def test_only_the_lower_half_of_a_register_is_an_int(value, upper):
    assert words.signed(value % 2**32 + (upper << 32)) == value


def fails(number, call, *args):
    with pytest.raises(OSError) as wrong:
        call(*args)
    assert wrong.value.errno == number


@given(st.integers(-(2**31), 2**31 - 1))
def test_ints(value):
    stop = FakeStop(memory=b"x" + words.pack_int(value))
    assert words.read_int(stop, BASE + 1) == value
    assert words.pack_int(value) == struct.pack("i", value)


def test_an_int_that_is_not_there():
    fails(errno.EFAULT, words.read_int, FakeStop(memory=b"123"), BASE)


@pytest.mark.parametrize(
    ("size", "number"),
    [(-1, errno.EINVAL), (129, errno.EINVAL), (2**31, errno.EINVAL), (17, errno.EFAULT)],
)
def test_addresses_that_cannot_be_read(size, number):
    fails(number, words.read_sockaddr, FakeStop(memory=bytes(16)), BASE, size % 2**64)


def test_addresses():
    stop = FakeStop(memory=bytes(range(16)))
    assert words.read_sockaddr(stop, BASE, 16) == bytes(range(16))
    assert words.read_sockaddr(stop, BASE, 2 + 2**32) == b"\0\x01"
    assert words.read_sockaddr(stop, 0, 0) == b""


@pytest.mark.parametrize(("room", "written"), [(0, 0), (3, 3), (16, 16), (20, 16)])
def test_as_much_of_an_address_as_there_is_room_for(room, written):
    stop = FakeStop(memory=b"x" * 20 + words.pack_int(room))
    assert words.room_for_sockaddr(stop, BASE + 20) == room
    words.write_sockaddr(stop, BASE, BASE + 20, room, bytes(16))
    assert stop.memory == bytes(written) + b"x" * (20 - written) + words.pack_int(16)


def test_room_that_cannot_be():
    stop = FakeStop(memory=words.pack_int(-1))
    fails(errno.EINVAL, words.room_for_sockaddr, stop, BASE)
    fails(errno.EFAULT, words.room_for_sockaddr, stop, 8)
