"""struct msghdr and what it points at, as programs give it to us, and worse."""

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.kernel.trap import Gone
from tesla_trace.syscalls.arguments.flags import MSG_CTRUNC
from tesla_trace.syscalls.arguments.layout import LAYOUTS
from tesla_trace.syscalls.arguments.vectors import (
    CONTROL_MAX,
    IOV_MAX,
    Message,
    gather,
    pack_control,
    read_control,
    read_message,
    scatter,
)
from tests.syscalls.stop import BASE, FakeStop

LAYOUT = LAYOUTS[8]
MSGHDR = struct.Struct("@PI4xPNPNi4x")


def stop_with(memory):
    return FakeStop("sendmsg", memory=memory)


def control(data, size=None):
    """A message whose control messages are `data`."""
    return Message(0, 0, [], BASE, len(data) if size is None else size, 0)


# ---- struct msghdr ----


def test_a_message_is_read_with_its_pieces():
    header = MSGHDR.pack(BASE + 8, 16, BASE + MSGHDR.size, 2, BASE + 4, 32, 0)
    stop = stop_with(header + struct.pack("@PNPN", 1, 2, 3, 4))
    message = read_message(stop, LAYOUT, BASE)
    assert message == Message(BASE + 8, 16, [(1, 2), (3, 4)], BASE + 4, 32, BASE)
    assert message.size == 6


def test_control_without_a_place_is_none():
    stop = stop_with(MSGHDR.pack(0, 0, 0, 0, 0, 32, 0))
    assert read_message(stop, LAYOUT, BASE).control_size == 0


@pytest.mark.parametrize(
    ("count", "number"),
    [(IOV_MAX + 1, errno.EMSGSIZE), (2**64 - 1, errno.EMSGSIZE), (1, errno.EFAULT)],
)
def test_a_message_that_cannot_be(count, number):
    header = MSGHDR.pack(0, 0, 8, 0, 0, 0, 0)
    header = header[:24] + count.to_bytes(8, "little") + header[32:]
    with pytest.raises(OSError) as error:
        read_message(stop_with(header), LAYOUT, BASE)
    assert error.value.errno == number


def test_a_call_that_is_over():
    stop = stop_with(bytes(100))
    stop.is_gone = True
    with pytest.raises(Gone):
        read_message(stop, LAYOUT, BASE)


@given(memory=st.binary(max_size=120), address=st.integers(0, 2**64 - 1))
def test_whatever_stands_there(memory, address):
    for where in (BASE, address):
        try:
            message = read_message(stop_with(memory), LAYOUT, where)
            read_control(stop_with(memory), LAYOUT, message)
            gather(stop_with(memory), message.pieces, 0xFFFF)
        except OSError as error:
            assert error.errno in (errno.EFAULT, errno.EMSGSIZE, errno.EINVAL, errno.ENOBUFS)


# ---- pieces ----

SIZES = st.lists(st.integers(0, 20), max_size=6)


@given(sizes=SIZES, most=st.integers(0, 80))
def test_gathered_in_their_order(sizes, most):
    memory = bytes(range(sum(sizes)))
    pieces, at = [], BASE
    for size in sizes:
        pieces.append((at, size))
        at += size
    assert gather(stop_with(memory), pieces, most) == memory[:most]
    assert gather(stop_with(memory), pieces[::-1], 2**16) == b"".join(
        memory[start - BASE : start - BASE + size] for start, size in pieces[::-1]
    )


@given(sizes=SIZES, data=st.binary(max_size=150))
def test_scattered_over_them(sizes, data):
    pieces = [(100 * number, size) for number, size in enumerate(sizes)]
    room = dict(pieces)
    written = list(scatter(pieces, data))
    assert b"".join(part for _, part in written) == data[: sum(sizes)]
    assert all(0 < len(part) <= room[address] for address, part in written)
    assert [address for address, _ in written] == sorted(address for address, _ in written)


# ---- control messages ----

ONE = (socket.IPPROTO_IP, 8, b"x" * 12)
MESSAGES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 99), st.binary(max_size=30)))


@given(messages=MESSAGES)
def test_what_is_packed_can_be_read(messages):
    packed, flags = pack_control(LAYOUT, tuple(messages), 4096)
    assert flags == 0
    assert read_control(stop_with(packed), LAYOUT, control(packed)) == tuple(messages)


@given(data=st.binary(max_size=64), size=st.integers(0, 70))
def test_control_messages_of_any_bytes(data, size):
    try:
        found = read_control(stop_with(data), LAYOUT, control(data, size))
    except OSError as error:
        assert error.errno in (errno.EFAULT, errno.EINVAL)
    else:
        assert sum(LAYOUT.cmsghdr.size + len(each) for _, _, each in found) <= size


@pytest.mark.parametrize("length", [0, 1, 15, 17, 2**32, 2**63, 2**64 - 1])
def test_lengths_that_cannot_be(length):
    data = LAYOUT.cmsghdr.pack(length, 0, 8)
    with pytest.raises(OSError) as error:
        read_control(stop_with(data), LAYOUT, control(data))
    assert error.value.errno == errno.EINVAL


def test_too_many_control_messages():
    with pytest.raises(OSError) as error:
        read_control(stop_with(b""), LAYOUT, control(b"", CONTROL_MAX + 1))
    assert error.value.errno == errno.ENOBUFS


def received(room):
    """What the kernel itself puts into so much room for control messages: IP_TTL and IP_PKTINFO."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        for option in (8, 12):
            one.setsockopt(socket.IPPROTO_IP, option, 1)
        one.sendto(b"x", one.getsockname())
        _, ancillary, flags, _ = one.recvmsg(10, room)
        return ancillary, flags & MSG_CTRUNC


@pytest.mark.parametrize("room", range(73))
def test_truncated_as_by_the_kernel(room):
    """put_cmsg(), as Python shows what it has written."""
    whole, _ = received(200)
    expected, cut = received(room)
    packed, flags = pack_control(LAYOUT, tuple(whole), room)
    assert flags == cut and len(packed) <= room
    found, at = [], 0
    while at + LAYOUT.cmsghdr.size <= len(packed):
        size, level, kind = LAYOUT.cmsghdr.unpack_from(packed, at)
        found.append((level, kind, packed[at + LAYOUT.cmsghdr.size : at + size]))
        at += size + -size % LAYOUT.align
    assert found == expected
