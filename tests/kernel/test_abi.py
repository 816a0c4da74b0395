"""Numbers, registers and structures, against the C headers of each machine.

Nothing is run: a compiler for the machine says of each whether it is so.
"""

import errno
import functools
import platform
import shutil
import socket
import struct
import subprocess

import pytest

from tesla_trace.kernel import (
    arches,
    inotify,
    landlock,
    libc,
    namespaces,
    notified,
    registrations,
    signals,
    sockaddr,
    spawn,
)
from tesla_trace.kernel.arches import AARCH64, ARM, I386, X86_64
from tesla_trace.kernel.filter import REFUSED
from tesla_trace.kernel.ptrace import registers, requests
from tesla_trace.syscalls import table
from tesla_trace.syscalls.arguments import flags
from tesla_trace.syscalls.arguments.layout import LAYOUTS, OLD_TIMES
from tesla_trace.syscalls.escapes import ways
from tesla_trace.syscalls.options import ioctls
from tesla_trace.syscalls.options.sockopt import OPTIONS
from tests.e2e.process import LIMIT, ROOT

# Of another machine's compiler only what checks: Debian's whole ones and gcc-multilib exclude each
# other, and the latter is what builds for i386.
COMPILERS = {
    X86_64: ["gcc"],
    I386: ["gcc", "-m32"],
    AARCH64: ["aarch64-linux-gnu-cpp"],
    ARM: ["arm-linux-gnueabihf-cpp", "-march=armv7-a+fp", "-mfloat-abi=hard"],
}
NAMES = {X86_64: "x86-64", I386: "i386", AARCH64: "aarch64", ARM: "arm"}
each_machine = pytest.mark.parametrize("arch", COMPILERS, ids=NAMES.get)

HEADERS = """\
#define _GNU_SOURCE
#include <asm/ptrace.h>
#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/elf.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/nsfs.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <net/if.h>
#include <time.h>
"""


def compiled(arch, source, *words):
    """What the machine's compiler has against a source."""
    name, *options = COMPILERS[arch]
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    if name == "gcc" and platform.machine() != "x86_64":
        pytest.skip("needs a compiler for x86")
    words = [compiler(name), *options, *words, "-fsyntax-only"]
    words += ["-xc", "-"] if name == "gcc" else ["-quiet", "-"]
    return subprocess.run(words, input=source, capture_output=True, text=True, timeout=LIMIT)


@functools.cache
def compiler(name):
    """What a preprocessor has behind it: it can compile, too."""
    if name == "gcc":
        return name
    command = [name, "-print-prog-name=cc1"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def holds(arch, facts):
    """See that each C expression has its value; of a macro, if the headers have it."""
    lines = [HEADERS]
    for name, value in facts:
        fact = f'_Static_assert(({name}) == {value}, "{name} is not {value}");'
        lines.append(f"#ifdef {name}\n{fact}\n#endif" if name.isidentifier() else fact)
    done = compiled(arch, "\n".join(lines))
    assert done.returncode == 0, done.stderr


def members(structure, layout, names):
    """Facts about a structure whose members are these, in order."""
    yield f"sizeof({structure})", struct.calcsize(layout)
    at = iter(where(layout))
    for name in names:
        yield f"offsetof({structure}, {name})", next(at)


def where(layout):
    """Where each value of a layout stands."""
    prefix, kinds, at = layout[0], layout[1:], 0
    count = ""
    for kind in kinds:
        if kind.isdigit():
            count += kind
            continue
        for _ in range(1 if kind in "xs" else int(count or 1)):
            if kind != "x":
                yield at
            at += struct.calcsize(f"{prefix}{count if kind in 'xs' else ''}{kind}")
        count = ""


@each_machine
def test_numbers_of_calls(arch):
    calls = {*table.CALLS, *table.DATAGRAM_CALLS, *table.REACHING, *REFUSED, arches.MULTIPLEXER}
    calls |= {"kcmp", "seccomp", "setgroups", "setns", "tgkill", "setresuid", "setresgid"}
    lines = [HEADERS]
    for call in sorted(calls):
        number = arch.number(call)
        if number is None:
            lines.append(f'#ifdef __NR_{call}\n#error "{call} is there"\n#endif')
        else:
            fact = f'_Static_assert(__NR_{call} == {number}, "{call} is not {number}");'
            lines.append(f"#ifdef __NR_{call}\n{fact}\n#endif")
    done = compiled(arch, "\n".join(lines))
    assert done.returncode == 0, done.stderr


@each_machine
def test_numbers_that_are_the_same_everywhere(arch):
    audit = {X86_64: "X86_64", I386: "I386", AARCH64: "AARCH64", ARM: "ARM"}[arch]
    facts = [(f"AUDIT_ARCH_{audit}", f"{arch.audit}u")]
    facts += [("sizeof(void *)", arch.word), ("__NR_pidfd_getfd", libc.PIDFD_GETFD)]
    facts += [("__NR_close_range", registrations.CLOSE_RANGE)]
    facts += [("__NR_landlock_create_ruleset", landlock.CREATE_RULESET)]
    facts += [("__NR_landlock_restrict_self", landlock.RESTRICT_SELF)]
    for name in ("RECV", "SEND", "ID_VALID", "ADDFD", "SET_FLAGS"):
        value = getattr(notified, f"IOCTL_{name}")
        facts.append((f"SECCOMP_IOCTL_NOTIF_{name}", f"{value}u"))
    facts += [("SECCOMP_FILTER_FLAG_NEW_LISTENER", spawn.FLAG_NEW_LISTENER)]
    facts += [("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", spawn.FLAG_WAIT_KILLABLE_RECV)]
    facts += [
        ("CLONE_NEWNET", namespaces.CLONE_NEWNET),
        ("NS_GET_USERNS", namespaces.NS_GET_USERNS),
    ]
    facts += [("CLONE_NEWUSER", namespaces.CLONE_NEWUSER)]
    for name in dir(flags):
        if name.startswith("MSG_"):
            facts.append((f"(int) {name}", getattr(flags, name)))
    facts += [("SOCK_NONBLOCK", flags.NONBLOCK), ("(int) SOCK_CLOEXEC", flags.CLOEXEC)]
    facts += [("AF_KEY", ways.AF_KEY), ("(int) SOCK_PACKET", ways.SOCK_PACKET)]
    facts += [(option.name, number) for (_, number), option in OPTIONS.items()]
    facts += [(name, number) for number, (name, _) in ioctls.REQUESTS.items()]
    facts += [("SOL_SOCKET", socket.SOL_SOCKET), ("SO_PEERCRED", socket.SO_PEERCRED)]
    facts += [("SO_PEERPIDFD", 77), ("SO_NETNS_COOKIE", 71), ("SO_RCVBUFFORCE", 33)]
    facts += [("NT_PRSTATUS", requests.NT_PRSTATUS), ("__WALL", requests.WALL)]
    facts += [("NT_ARM_SYSTEM_CALL", requests.NT_ARM_SYSTEM_CALL)]
    for name in ("EINPROGRESS", "ENETDOWN", "EOPNOTSUPP", "ESRCH", "EDESTADDRREQ"):
        facts.append((name, getattr(errno, name)))
    holds(arch, facts)


@each_machine
def test_structures_of_the_kernel_s(arch):
    facts = [
        ("sizeof(struct seccomp_notif)", notified.NOTIFICATION.size),
        ("sizeof(struct seccomp_notif_resp)", 8 + notified.ANSWER.size),
        ("sizeof(struct seccomp_notif_addfd)", 8 + notified.ADDFD.size),
        ("sizeof(struct sock_filter)", spawn.INSTRUCTION),
        ("sizeof(struct signalfd_siginfo)", signals.SIGINFO_SIZE),
        ("offsetof(struct signalfd_siginfo, ssi_uid)", 16),
        ("sizeof(struct sockaddr_in)", sockaddr.IN.size),
        ("sizeof(struct sockaddr_in6)", sockaddr.IN6.size),
        ("sizeof(struct inotify_event)", inotify._EVENT.size),
        ("sizeof(struct ucred)", 12),
        *members("struct epoll_event", arch.epoll_event, ("events", "data")),
    ]
    for name, size in (("struct ifreq", ioctls.IFREQ), ("struct timespec", ioctls.TIME)):
        facts.append((f"sizeof({name})", size[0] + size[1] * arch.word))
    holds(arch, facts)


@each_machine
def test_structures_of_the_program_s(arch):
    layout = LAYOUTS[arch.word]
    names = "msg_name msg_namelen msg_iov msg_iovlen msg_control msg_controllen msg_flags".split()
    message = list(members("struct msghdr", layout.msghdr.format, names))[1:]  # padded behind
    iovec = members("struct iovec", layout.iovec.format, ("iov_base", "iov_len"))
    head = members("struct cmsghdr", layout.cmsghdr.format, ("cmsg_len", "cmsg_level", "cmsg_type"))
    facts = [
        *message,
        *iovec,
        *head,
        ("sizeof(struct mmsghdr)", layout.mmsghdr),
        ("offsetof(struct mmsghdr, msg_len)", layout.length),
        ("offsetof(struct msghdr, msg_namelen)", layout.name_size),
        ("offsetof(struct msghdr, msg_controllen)", layout.results),
        ("sizeof(struct timespec)", layout.timespec.size),
        ("CMSG_ALIGN(1)", layout.align),
    ]
    old = dict(zip(sorted(OLD_TIMES), ("TIMESTAMP", "TIMESTAMPNS", "TIMESTAMPING"), strict=True))
    facts += [(f"SO_{name}", kind) for (_, kind), name in old.items()]
    holds(arch, facts)


REGISTERS = {
    X86_64: "struct user_regs_struct",
    I386: "struct user_regs_struct",
    AARCH64: "struct user_pt_regs",
    ARM: "struct user_regs",
}
PLACES = {
    X86_64: "orig_rax rdi rsi rdx r10 r8 r9 rax rip rsp",
    I386: "orig_eax ebx ecx edx esi edi ebp eax eip esp",
    AARCH64: "regs[8] regs[0] regs[1] regs[2] regs[3] regs[4] regs[5] regs[0] pc sp",
    ARM: " ".join(f"uregs[{number}]" for number in (7, *range(6), 0, 15, 13)),
}
"""The number of the call as the kernel goes by it, arguments, result, instruction, stack."""


@each_machine
def test_registers(arch):
    layout = next(
        each for each in registers.LAYOUTS if (each.audit, each.word) == (arch.audit, arch.word)
    )
    number = layout.number if layout.begun is None else layout.begun
    places = [number, *layout.args, layout.result, layout.instruction, layout.stack]
    structure = REGISTERS[arch]
    facts = [
        (f"offsetof({structure}, {name})", place * arch.word)
        for name, place in zip(PLACES[arch].split(), places, strict=True)
    ]
    holds(arch, [*facts, (f"sizeof({structure})", layout.size)])


def test_fixtures_can_be_built_for_aarch64():
    """But for those about x86 itself."""
    for path in sorted((ROOT / "fixtures").glob("*.c")):
        if path.name not in ("compat.c", "x32.c"):
            source = f'#include "{path}"\n'
            done = compiled(AARCH64, source, "-Wall", "-Wextra", "-Werror")
            assert done.returncode == 0, done.stderr


@each_machine
def test_a_number_that_is_wrong_is_found(arch):
    """A compiler that looked at nothing would find all well."""
    with pytest.raises(AssertionError, match="SO_TYPE is not 99"):
        holds(arch, [("SO_TYPE", 99)])
