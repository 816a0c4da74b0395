"""The filter program that says which calls are trapped, in BPF (seccomp(2)).

Facts about filters: they see the registers and nothing that a register points at, so the domain
and type of socket(2) can be tested, and whether a pointer is NULL, but not an address.  For each
call that a filter lets through whatever its arguments, the kernel remembers so: a longer filter
costs nothing more for the calls that it does not name.

What it means for socketcall(2), of which the arguments are behind a pointer: every sub-call that
any rule is for is trapped, and whether the rule's conditions hold is looked at afterwards.
libseccomp itself adds, to a rule for a call on sockets, one for the sub-call, with the conditions
on registers that mean something else there; what is trapped by that is trapped without it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tesla_trace.kernel.arches import MULTIPLEXER, Arch, arches
from tesla_trace.kernel.seccomp import pyseccomp

ACT_BADARCH = 2
"""libseccomp's SCMP_FLTATR_ACT_BADARCH, to which pyseccomp gives no name."""


class Masked(NamedTuple):
    """A register of which the bits in `mask` are `value`."""

    arg: int
    mask: int
    value: int

    def holds(self, args: Sequence[int]) -> bool:
        """What the filter looks at, for arguments that it cannot see."""
        return args[self.arg] & self.mask == self.value


class NonZero(NamedTuple):
    """A register that is not 0: a pointer that is given."""

    arg: int

    def holds(self, args: Sequence[int]) -> bool:
        """What the filter looks at, for arguments that it cannot see."""
        return args[self.arg] != 0


Condition = Masked | NonZero


class Rule(NamedTuple):
    """Trap a call where all of the conditions hold."""

    call: str
    conditions: tuple[Condition, ...] = ()

    def holds(self, args: Sequence[int]) -> bool:
        """Whether all of the conditions do, for the arguments of such a call."""
        return all(condition.holds(args) for condition in self.conditions)


REFUSED = ("io_uring_setup", "io_uring_enter", "io_uring_register")
"""Calls that reach the network without any other: they get ENOSYS, and programs do without.  All
three, for a ring may be inherited."""


def all_but(arg: int, values: Iterable[int], bits: int) -> Iterator[Masked]:
    """Conditions, one of which holds for each 32-bit register less than 2**`bits` but `values`.

    Masks, for a comparison would look at the upper half of the register, which the kernel ignores.
    """
    yield from _all_but(arg, frozenset(values), 0, 1 << bits)


def _all_but(arg: int, values: frozenset[int], start: int, size: int) -> Iterator[Masked]:
    if not any(start <= value < start + size for value in values):
        yield Masked(arg, 0xFFFFFFFF & -size, start)
    elif size > 1:
        for half in (start, start + size // 2):
            yield from _all_but(arg, values, half, size // 2)


def numbers(rules: Iterable[Rule], on: Iterable[Arch] | None = None) -> dict[int, dict[int, str]]:
    """By the audit architecture: the name of each trapped call's number.

    Args:
        on: for another machine than this.
    """
    calls = {rule.call for rule in rules}
    return {arch.audit: dict(_numbered(arch, calls)) for arch in on or arches()}


def _numbered(arch: Arch, calls: Iterable[str]) -> Iterator[tuple[int, str]]:
    for call in (*calls, MULTIPLEXER) if arch.subcalls else calls:
        if (number := arch.number(call)) is not None:
            yield number, call


def build(
    rules: Iterable[Rule],
    on: Iterable[Arch] | None = None,
    *,
    traced: bool = False,
    refused: Iterable[str] = REFUSED,
) -> bytes:
    """The BPF program: the rules' calls notify us, those by other ways get ENOSYS.

    Args:
        on: for another machine than this.
        traced: the calls stop for who traces the program, in place of notifying us.
        refused: calls that get ENOSYS.
    """
    rules, refused = list(rules), tuple(refused)
    action = pyseccomp.TRACE(0) if traced else pyseccomp.NOTIFY
    first, *others = (_part(arch, rules, action, refused) for arch in on or arches())
    for part in others:
        first.merge(part)
    with open(os.memfd_create("filter"), "w+b") as file:
        first.export_bpf(file)
        file.seek(0)
        return file.read()


def _part(
    arch: Arch, rules: list[Rule], action: int, refused: tuple[str, ...]
) -> pyseccomp.SyscallFilter:
    program = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    program.set_attr(ACT_BADARCH, pyseccomp.ERRNO(errno.ENOSYS))
    if not program.exist_arch(arch.audit):
        program.add_arch(arch.audit)
        program.remove_arch(pyseccomp.Arch.NATIVE)
    for call in refused:
        program.add_rule(pyseccomp.ERRNO(errno.ENOSYS), call)
    for rule in rules:
        if arch.number(rule.call) is not None:
            args = map(_compared, rule.conditions)
            program.add_rule(action, rule.call, *args)
    calls = {rule.call for rule in rules}
    for number, (call, _) in arch.subcalls.items():
        if call in calls:
            which = pyseccomp.Arg(0, pyseccomp.EQ, number)
            program.add_rule(action, MULTIPLEXER, which)
    return program


def _compared(condition: Condition) -> pyseccomp.Arg:
    match condition:
        case Masked(arg, mask, value):
            return pyseccomp.Arg(arg, pyseccomp.MASKED_EQ, mask, value)
        case NonZero(arg):
            return pyseccomp.Arg(arg, pyseccomp.NE, 0)
