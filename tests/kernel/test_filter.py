"""The filter program, run by a small machine for classic BPF (linux/filter.h, seccomp(2))."""

import errno
import functools
import socket
import struct

import pyseccomp
import pytest

from tesla_trace.flow import Stack, parse
from tesla_trace.kernel import arches
from tesla_trace.kernel import filter as filters
from tesla_trace.kernel.filter import Masked, NonZero, Rule
from tesla_trace.syscalls import table
from tesla_trace.syscalls.arguments.flags import MSG_FASTOPEN

ALLOW, NOTIFY, REFUSE = 0x7FFF0000, 0x7FC00000, 0x00050000 | errno.ENOSYS

NATIVE = arches.arches()[0]
RISCV64 = arches.Arch(pyseccomp.Arch.RISCV64, 8)


@functools.cache
def taken_apart(program):
    return list(struct.iter_unpack("=HBBI", program))


def judge(program, call, *args, arch=NATIVE):
    """What the filter says of a call."""
    number = arch.number(call) if isinstance(call, str) else call
    registers = [arg % 2**64 for arg in (*args, *[0] * (6 - len(args)))]
    data = struct.pack("=IIQ6Q", number, arch.audit, 0, *registers)
    instructions = taken_apart(program)
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


MACHINES = list(arches.MACHINES.values())
EACH = [(machine, arch) for machine in MACHINES for arch in machine]
each = pytest.mark.parametrize(
    ("machine", "arch"), EACH, ids=lambda it: hex(it.audit) if isinstance(it, arches.Arch) else ""
)


@functools.cache
def built(*words, on):
    return filters.build(table.rules(Stack(parse(words))), on)


STREAM, NONBLOCK, CLOEXEC = socket.SOCK_STREAM, socket.SOCK_NONBLOCK, socket.SOCK_CLOEXEC


@pytest.mark.parametrize(
    ("call", "args", "said"),
    [
        ("socket", (socket.AF_INET, STREAM, 0), NOTIFY),
        ("socket", (socket.AF_INET6, STREAM | NONBLOCK | CLOEXEC, 6), NOTIFY),
        ("socket", (socket.AF_INET + 2**32, STREAM, 0), NOTIFY),  # the kernel looks at 32 bits
        ("socket", (socket.AF_UNIX, STREAM, 0), ALLOW),
        ("socket", (socket.AF_NETLINK, socket.SOCK_RAW, 0), ALLOW),
        ("socket", (socket.AF_ALG, socket.SOCK_SEQPACKET, 0), ALLOW),
        ("socket", (socket.AF_INET, socket.SOCK_DGRAM, 0), NOTIFY),
        ("socket", (socket.AF_INET, 10, 0), NOTIFY),  # SOCK_PACKET is AF_PACKET
        ("socket", (socket.AF_PACKET, socket.SOCK_RAW, 0), NOTIFY),
        ("socket", (2**32 + socket.AF_VSOCK, STREAM, 0), NOTIFY),
        ("connect", (3, 0x1000, 16), NOTIFY),
        ("accept4", (3, 0, 0, 0), NOTIFY),
        ("shutdown", (3, 1), NOTIFY),
        ("getsockopt", (3, 1, 4, 0x1000, 0x1000), NOTIFY),
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
        ("epoll_pwait", (3, 0x1000, 5, -1), ALLOW),
        ("io_uring_setup", (8, 0x1000), REFUSE),
        ("io_uring_enter", (3, 1, 1, 0, 0, 0), REFUSE),
        ("io_uring_register", (3, 0, 0, 0), REFUSE),
    ],
)
@each
def test_what_is_trapped_for_dummy(machine, arch, call, args, said):
    """By its own number, in whichever machine and set of calls."""
    assert judge(built("+dummy", on=machine), call, *args, arch=arch) == said


@pytest.mark.parametrize(
    ("call", "args", "said"),
    [
        ("socket", (socket.AF_INET, socket.SOCK_DGRAM, 0), NOTIFY),  # to be counted
        ("sendmsg", (3, 0x1000, 0), ALLOW),
        ("sendmsg", (3, 0x1000, MSG_FASTOPEN), NOTIFY),
        ("recvfrom", (3, 0x1000, 5, 0, 0x1000, 0x1000), NOTIFY),  # a stream's has none
        ("recvfrom", (3, 0x1000, 1, 0, 0, 0), ALLOW),
        ("recvmsg", (3, 0x1000, 0), ALLOW),
    ],
)
@each
def test_datagrams_are_trapped_only_where_a_handler_serves_them(machine, arch, call, args, said):
    assert judge(built("+compress", on=machine), call, *args, arch=arch) == said


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: hex(machine[0].audit))
def test_other_ways_into_the_kernel_are_refused(machine):
    assert judge(built("+dummy", on=machine), "read", 3, arch=RISCV64) == REFUSE
    if arches.X86_64 in machine:
        x32 = 0x40000000 + arches.X86_64.number("connect")
        assert judge(built("+dummy", on=machine), x32, 3, arch=arches.X86_64) == REFUSE


@pytest.mark.parametrize("values", [[], [0], [7], [2, 3], [0, 5, 7], range(8)])
def test_all_but(values):
    conditions = list(filters.all_but(0, values, 3))
    for value in range(16):
        held = sum(value & each.mask == each.value for each in conditions)
        assert held == (value < 8 and value not in values)


@pytest.mark.parametrize("machine", [m for m in MACHINES if arches.I386 in m], ids=len)
@pytest.mark.parametrize("which", [-1, *range(23), 2**31])
def test_sub_calls(machine, which):
    """Trapped if the call is one that a rule is for, whatever the registers say of arguments."""
    program = built("+dummy", on=machine)
    call, _ = arches.I386.subcalls.get(which, ("", 0))
    said = NOTIFY if call in {*table.REACHING, *table.CALLS, *table.DATAGRAM_CALLS} else ALLOW
    for rest in (0, 1, 2, MSG_FASTOPEN, 2**32 - 1):
        args = (which, rest, rest, rest, rest, rest)
        assert judge(program, "socketcall", *args, arch=arches.I386) == said
    assert judge(program, "socketcall", which + 2**32, arch=arches.I386) == said


@each
def test_what_is_trapped_has_a_name(machine, arch):
    """Also where libseccomp adds something to what it was told."""
    program = built("+socks=127.0.0.1:1080", "+log", on=machine)
    names = filters.numbers(table.rules(Stack(parse(["+socks=127.0.0.1:1080", "+log"]))), machine)
    every = [1] * 6, [2] * 6, [5] * 6, [MSG_FASTOPEN] * 6
    pseudo = range(2**32 - 121, 2**32 - 99)  # as which libseccomp knows sub-calls
    for number in (*range(450), *pseudo):
        if any(judge(program, number, *args, arch=arch) == NOTIFY for args in every):
            assert number in names[arch.audit]
            assert arch.number(names[arch.audit][number]) == number


@each
def test_sockets_that_a_handler_cannot_carry_are_trapped(machine, arch):
    program = built("+socks=127.0.0.1:1080", on=machine)
    assert judge(program, "socket", socket.AF_INET, socket.SOCK_DGRAM, 0, arch=arch) == NOTIFY
    assert judge(program, "socket", socket.AF_UNIX, socket.SOCK_DGRAM, 0, arch=arch) == ALLOW


LISTEN, BIND = Rule("listen", (Masked(1, 0xF0, 0x30),)), Rule("bind", (NonZero(2), NonZero(1)))


@pytest.mark.parametrize(
    ("rule", "args", "holds"),
    [
        (LISTEN, (0, 0x3F), True),
        (LISTEN, (0, 0x2F), False),
        (BIND, (0, 1, 1), True),
        (BIND, (0, 2**31, 2**31), True),
        (BIND, (0, 1, 0), False),
        (BIND, (0, 0, 1), False),
        (Rule("connect"), (0, 0, 0), True),
    ],
)
@each
def test_conditions(machine, arch, rule, args, holds):
    """The filter and the rule itself are of one mind."""
    program = filters.build([rule], machine)
    assert judge(program, rule.call, *args, arch=arch) == (NOTIFY if holds else ALLOW)
    assert rule.holds(args) == holds


def test_the_upper_half_of_a_pointer():
    program = filters.build([BIND], MACHINES[0])
    assert judge(program, "bind", 0, 2**40, 2**63, arch=arches.X86_64) == NOTIFY
    assert judge(program, "bind", 0, 2**40, 1, arch=arches.I386) == ALLOW  # it looks at 32 bits


def test_numbers():
    rules = table.rules(Stack(parse(["+dummy"])))
    for arch in arches.arches():
        names = filters.numbers(rules)[arch.audit].values()
        assert {"socket", "connect", "accept4"} <= set(names)
        assert ("socketcall" in names) == bool(arch.subcalls)


def test_an_unknown_machine_has_its_own_calls():
    assert judge(filters.build([BIND], [RISCV64]), "bind", 0, 1, 1, arch=RISCV64) == NOTIFY
    assert judge(filters.build([BIND], [RISCV64]), "bind", 0, 1, 1, arch=arches.ARM) == REFUSE
