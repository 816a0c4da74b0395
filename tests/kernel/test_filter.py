"""The filter program, run by a small machine for classic BPF (linux/filter.h, seccomp(2))."""

import errno
import socket
import struct

import pyseccomp
import pytest

from tesla_trace.flow import Stack, parse
from tesla_trace.kernel import filter as filters
from tesla_trace.kernel.filter import Masked, NonZero, Rule
from tesla_trace.syscalls import table
from tesla_trace.syscalls.flags import MSG_FASTOPEN

ALLOW, NOTIFY, REFUSE = 0x7FFF0000, 0x7FC00000, 0x00050000 | errno.ENOSYS

X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
NATIVE = int(pyseccomp.system_arch())  # libseccomp names them by their audit numbers


def judge(program, call, *args, arch=NATIVE):
    """What the filter says of a call."""
    number = call
    if isinstance(call, str):
        number = pyseccomp.resolve_syscall(pyseccomp.system_arch(), call)
    registers = [arg % 2**64 for arg in (*args, *[0] * (6 - len(args)))]
    data = struct.pack("=iIQ6Q", number, arch, 0, *registers)
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    memory = [0] * 16
    while True:
        code, yes, no, k = instructions[at]
        at += 1
        match code:
            case 0x20:  # ld [k]
                (value,) = struct.unpack_from("=I", data, k)
            case 0x00:  # ld #k
                value = k
            case 0x60:  # ld M[k]
                value = memory[k]
            case 0x02:  # st M[k]
                memory[k] = value
            case 0x54:  # and #k
                value &= k
            case 0x05:  # ja
                at += k
            case 0x15:  # jeq
                at += yes if value == k else no
            case 0x25:  # jgt
                at += yes if value > k else no
            case 0x35:  # jge
                at += yes if value >= k else no
            case 0x45:  # jset
                at += yes if value & k else no
            case 0x06:  # ret #k
                return k
            case _:
                raise AssertionError(f"instruction {code:#x}")


@pytest.fixture(scope="module")
def dummy():
    return filters.build(table.rules(Stack(parse(["+dummy"]))))


STREAM, NONBLOCK, CLOEXEC = socket.SOCK_STREAM, socket.SOCK_NONBLOCK, socket.SOCK_CLOEXEC


@pytest.mark.parametrize(
    ("call", "args", "said"),
    [
        ("socket", (socket.AF_INET, STREAM, 0), NOTIFY),
        ("socket", (socket.AF_INET6, STREAM | NONBLOCK | CLOEXEC, 6), NOTIFY),
        ("socket", (socket.AF_INET + 2**32, STREAM, 0), NOTIFY),  # the kernel looks at 32 bits
        ("socket", (socket.AF_UNIX, STREAM, 0), ALLOW),
        ("socket", (socket.AF_NETLINK, socket.SOCK_RAW, 0), ALLOW),
        ("socket", (socket.AF_INET, socket.SOCK_DGRAM, 0), NOTIFY),
        ("connect", (3, 0x1000, 16), NOTIFY),
        ("accept4", (3, 0, 0, 0), NOTIFY),
        ("sendto", (3, 0x1000, 5, 0, 0, 0), ALLOW),
        ("sendto", (3, 0x1000, 5, 0, 0x1000, 16), NOTIFY),
        ("sendto", (3, 0x1000, 5, MSG_FASTOPEN, 0, 0), NOTIFY),
        ("sendto", (3, 0x1000, 5, socket.MSG_MORE, 0, 0), NOTIFY),
        ("sendmsg", (3, 0x1000, 0), NOTIFY),
        ("recvfrom", (3, 0x1000, 5, 0, 0, 0), ALLOW),
        ("recvfrom", (3, 0x1000, 5, 0, 0x1000, 0x1000), NOTIFY),
        ("recvmsg", (3, 0x1000, 0), NOTIFY),
        ("read", (3, 0x1000, 5), ALLOW),
        ("write", (1, 0x1000, 5), ALLOW),
        ("close", (3,), ALLOW),
        ("exit_group", (0,), ALLOW),
        ("futex", (0x1000,), ALLOW),
        ("epoll_wait", (3, 0x1000, 5, -1), ALLOW),
        ("io_uring_setup", (8, 0x1000), REFUSE),
    ],
)
def test_what_is_trapped_for_dummy(dummy, call, args, said):
    assert judge(dummy, call, *args) == said


@pytest.mark.parametrize(
    ("call", "args", "said"),
    [
        ("socket", (socket.AF_INET, socket.SOCK_DGRAM, 0), ALLOW),
        ("sendmsg", (3, 0x1000, 0), ALLOW),
        ("sendmsg", (3, 0x1000, MSG_FASTOPEN), NOTIFY),
        ("recvfrom", (3, 0x1000, 5, 0, 0x1000, 0x1000), ALLOW),
        ("recvmsg", (3, 0x1000, 0), ALLOW),
    ],
)
def test_datagrams_are_trapped_only_where_a_handler_serves_them(call, args, said):
    program = filters.build(table.rules(Stack(parse(["+compress"]))))
    assert judge(program, call, *args) == said


def test_other_ways_into_the_kernel_are_refused(dummy):
    other = I386 if NATIVE == AARCH64 else AARCH64
    assert judge(dummy, "read", 3, arch=other) == REFUSE
    if NATIVE == X86_64:
        x32 = 0x40000000
        connect = pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, "connect")
        assert judge(dummy, x32 + connect, 3) == REFUSE


def test_sockets_that_a_handler_cannot_carry_are_trapped():
    program = filters.build(table.rules(Stack(parse(["+socks=127.0.0.1:1080"]))))
    assert judge(program, "socket", socket.AF_INET, socket.SOCK_DGRAM, 0) == NOTIFY
    assert judge(program, "socket", socket.AF_UNIX, socket.SOCK_DGRAM, 0) == ALLOW


def test_conditions():
    program = filters.build(
        [Rule("listen", (Masked(1, 0xF0, 0x30),)), Rule("bind", (NonZero(2), NonZero(1)))]
    )
    assert judge(program, "listen", 0, 0x3F) == NOTIFY
    assert judge(program, "listen", 0, 0x2F) == ALLOW
    assert judge(program, "bind", 0, 1, 1) == NOTIFY
    assert judge(program, "bind", 0, 2**40, 2**63) == NOTIFY
    assert judge(program, "bind", 0, 1, 0) == ALLOW
    assert judge(program, "bind", 0, 0, 1) == ALLOW


def test_numbers():
    rules = table.rules(Stack(parse(["+dummy"])))
    assert {"socket", "connect", "accept"} <= set(filters.numbers(rules).values())
