"""The filter program that says which calls are trapped, in BPF (seccomp(2)).

Facts about filters: they see the registers and nothing that a register points at, so the domain
and type of socket(2) can be tested, and whether a pointer is NULL, but not an address.  For each
call that a filter lets through whatever its arguments, the kernel remembers so: a longer filter
costs nothing more for the calls that it does not name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass

import pyseccomp

ACT_BADARCH = 2
"""libseccomp's SCMP_FLTATR_ACT_BADARCH, to which pyseccomp gives no name."""


@dataclass(frozen=True)
class Masked:
    """A register of which the bits in `mask` are `value`."""

    arg: int
    mask: int
    value: int


@dataclass(frozen=True)
class NonZero:
    """A register that is not 0: a pointer that is given."""

    arg: int


Condition = Masked | NonZero


@dataclass(frozen=True)
class Rule:
    """Trap a call where all of the conditions hold."""

    call: str
    conditions: tuple[Condition, ...] = ()


REFUSED = ("io_uring_setup",)
"""Calls that reach the network without any other: they get ENOSYS, and programs do without."""


def numbers(rules: Iterable[Rule]) -> dict[int, str]:
    """The name of each trapped call's number on this machine."""
    arch = pyseccomp.system_arch()
    return {pyseccomp.resolve_syscall(arch, rule.call): rule.call for rule in rules}


def build(rules: Iterable[Rule]) -> bytes:
    """The BPF program: the rules' calls notify us, other architectures' calls get ENOSYS."""
    program = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    program.set_attr(ACT_BADARCH, pyseccomp.ERRNO(errno.ENOSYS))
    for call in REFUSED:
        program.add_rule(pyseccomp.ERRNO(errno.ENOSYS), call)
    for rule in rules:
        args = map(_compared, rule.conditions)
        program.add_rule(pyseccomp.NOTIFY, rule.call, *args)
    with open(os.memfd_create("filter"), "w+b") as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()


def _compared(condition: Condition) -> pyseccomp.Arg:
    match condition:
        case Masked(arg, mask, value):
            return pyseccomp.Arg(arg, pyseccomp.MASKED_EQ, mask, value)
        case NonZero(arg):
            return pyseccomp.Arg(arg, pyseccomp.NE, 0)
