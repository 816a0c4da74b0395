"""What is tried to find out what this machine allows; versions say little about it.

An attempt is for a process of its own: some put themselves under a filter, and some may hang.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tesla_trace.kernel import landlock
from tesla_trace.kernel.libc import (
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    check,
    libc,
    number_of,
    pidfd_getfd,
    prctl,
)

CAN_TRACE = "docker or podman run --cap-add=SYS_PTRACE"
UNCONFINED = "docker or podman run --security-opt seccomp=unconfined"

ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
"""BPF: return SECCOMP_RET_ALLOW."""

IO_URING_SETUP = 425
SO_PEERPIDFD = 77


SECCOMP, OUTER, PTRACE = "seccomp", "outer", "ptrace"
WAYS = {
    OUTER: "the tesla_trace around us relays their calls",
    SECCOMP: "their calls are trapped by seccomp",
    PTRACE: "their calls are trapped by ptrace",
}
"""Ways of trapping, the one that is tried first before the others."""
EVERY = tuple(WAYS)


@dataclass(frozen=True)
class Probe:
    """One thing that is tried.

    Args:
        attempt: runs in a child process; returns what else there is to say, or raises.
        needed: the ways of trapping that cannot be had without it.
        cost: what its absence costs.
        remedy: what to do about that.
    """

    name: str
    attempt: Callable[[], str | None]
    needed: tuple[str, ...]
    cost: str
    remedy: str


class Absent(Exception):
    """What was looked for is not there; the text says more."""


# ---- seccomp ----


def _libseccomp() -> None:
    import pyseccomp

    pyseccomp.SyscallFilter(pyseccomp.ALLOW)


def _filter(flags: int = 0) -> int:
    from tesla_trace.kernel.spawn import INSTRUCTION, SECCOMP_SET_MODE_FILTER

    code = ctypes.create_string_buffer(ALLOW_ALL, len(ALLOW_ALL))
    program = ctypes.create_string_buffer(
        struct.pack("@HP", len(ALLOW_ALL) // INSTRUCTION, ctypes.addressof(code))
    )
    return check(libc.syscall(number_of("seccomp"), SECCOMP_SET_MODE_FILTER, flags, program))


def _plain_filter() -> None:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _filter()


def _listener() -> None:
    from tesla_trace.kernel.spawn import FLAG_NEW_LISTENER

    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _filter(FLAG_NEW_LISTENER)


def _killable() -> None:
    from tesla_trace.kernel.spawn import FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV

    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _filter(FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV)


def _outer() -> str:
    from tesla_trace.kernel.relay import RelayTrap
    from tesla_trace.kernel.spawn import OuterError, outer

    name = outer()
    if not name:
        raise Absent("the environment names none")
    try:
        RelayTrap(name, (), closed=False).close()
    except (ConnectionError, OuterError) as wrong:
        raise Absent(str(wrong)) from wrong
    return "it relays calls to us"


def _rights_kept() -> None:
    _filter()  # EACCES: only with NO_NEW_PRIVS


@contextmanager
def _trapping(call: str, then: Callable[[], object]) -> Iterator[int]:
    """A child under a filter that traps `call`, and does `then`; gives the filter's listener."""
    from tesla_trace.kernel.filter import Rule, build
    from tesla_trace.kernel.spawn import install

    bpf = build([Rule(call)])
    said, say = os.pipe()

    def trapped() -> None:
        os.write(say, b"%d" % install(bpf))
        then()
        signal.pause()

    with _child(trapped) as pid:
        os.close(say)
        number = os.read(said, 16)
        if not number:
            raise Absent("the filter cannot be installed")
        yield pidfd_getfd(os.pidfd_open(pid), int(number))


def _wakes_fast() -> None:
    import fcntl

    from tesla_trace.kernel.notified import FLAG_SYNC_WAKE_UP, IOCTL_SET_FLAGS

    with _trapping("getpriority", lambda: None) as listener:
        fcntl.ioctl(listener, IOCTL_SET_FLAGS, FLAG_SYNC_WAKE_UP)


def _injects() -> None:
    from tesla_trace.kernel.filter import Rule, numbers
    from tesla_trace.kernel.notify import NotifyTrap

    heard, say = os.pipe()

    def call() -> None:
        given = os.getpriority(os.PRIO_PROCESS, 0)
        os.write(given, b"through the descriptor that the call gave")

    with _trapping("getpriority", call) as listener:
        trap = NotifyTrap(listener, numbers([Rule("getpriority")]))
        select.select([trap], [], [])
        stop = trap.next()
        if stop is None:
            raise Absent("the call was not received")
        # The C library makes 20 - n of what the kernel says.
        stop.reply(20 - stop.inject(say, cloexec=True))
        os.read(heard, 1)


# ---- other processes ----


def _takes_descriptor() -> None:
    with _child() as pid:
        os.close(pidfd_getfd(os.pidfd_open(pid), 0))


def _reads_memory() -> None:
    from tesla_trace.kernel import memory

    here = ctypes.create_string_buffer(b"the same in a forked child")
    with _child() as pid:
        if memory.read(pid, ctypes.addressof(here), len(here)) != here.raw:
            raise Absent("it reads as something else")


def _traces() -> None:
    from tesla_trace.kernel.ptrace import requests

    with _child() as pid:
        requests.seize(pid, requests.SYSGOOD)
        requests.interrupt(pid)
        os.waitpid(pid, requests.WALL)
        requests.call_info(pid)
        requests.detach(pid)


def _attaches() -> str:
    """Trace a process that is not below the tracer."""
    seize = 0x4206
    told, tell = os.pipe()
    with _child() as other:

        def attach() -> None:
            try:
                check(libc.syscall(number_of("ptrace"), seize, other, None, None))
                os.write(tell, b"\0")
            except OSError as wrong:
                os.write(tell, bytes([wrong.errno or 0]))

        with _child(attach):
            (number,) = os.read(told, 1)
    if number:
        raise OSError(number, os.strerror(number))
    return "as root" if os.geteuid() == 0 else "processes of this user"


def _names_peer() -> None:
    one, other = socket.socketpair()
    with one, other:
        os.close(one.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD))


def _yama() -> str:
    try:
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except FileNotFoundError:
        return "no Yama"
    if scope >= 2:
        raise Absent(f"kernel.yama.ptrace_scope is {scope}")
    return f"kernel.yama.ptrace_scope is {scope}"


def _pidfd_of_thread() -> None:
    from tesla_trace.kernel.thread import PIDFD_THREAD

    with _thread() as number:
        os.close(os.pidfd_open(number, PIDFD_THREAD))


# ---- sockets ----


def _landlock() -> None:
    os.close(landlock.no_connects())


def _urgent_byte() -> None:
    one, other = socket.socketpair()
    one.send(b"!", socket.MSG_OOB)
    if other.recv(1, socket.MSG_OOB) != b"!":
        raise Absent("it does not arrive")


def _ring() -> str:
    check(libc.syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(120)))
    return "refused to programs that run under us; they do without"


@contextmanager
def _child(do: Callable[[], object] = signal.pause) -> Iterator[int]:
    """A child that does something, and dies with us."""
    pid = os.fork()
    if pid == 0:
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            do()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def _thread() -> Iterator[int]:
    """Another thread of ours; gives its number."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        yield thread.native_id
    finally:
        over.set()
        thread.join()


PROBES = (
    Probe(
        "libseccomp",
        _libseccomp,
        EVERY,
        "filters cannot be built",
        "apt install libseccomp2, or the package of that name elsewhere",
    ),
    Probe(
        "seccomp filters",
        _plain_filter,
        (SECCOMP,),
        "calls are trapped by ptrace, which stops the program at each",
        f"a kernel with CONFIG_SECCOMP_FILTER; in a container, {UNCONFINED}",
    ),
    Probe(
        "seccomp listener",
        _listener,
        (SECCOMP,),
        "calls are trapped by ptrace, ten times as slowly",
        "Linux 5.0; where it is EBUSY another is around us: of a tesla_trace, which helps if its"
        " TESLA_TRACE_OUTER is in our environment, or of a container's agent",
    ),
    Probe(
        "a tesla_trace around us",
        _outer,
        (OUTER,),
        "nothing, but where another listener is around us calls are trapped by ptrace",
        "none is needed",
    ),
    Probe(
        "WAIT_KILLABLE_RECV",
        _killable,
        (),
        "signals take calls away while they are answered: more of them end with EINTR",
        "Linux 5.19",
    ),
    Probe(
        "SYNC_WAKE_UP",
        _wakes_fast,
        (),
        "a trapped call takes about 50 µs rather than 6",
        "Linux 6.6",
    ),
    Probe(
        "ADDFD, giving a call its descriptor",
        _injects,
        (SECCOMP,),
        "programs cannot be given a socket of ours",
        "Linux 5.9",
    ),
    Probe(
        "pidfd_getfd of a child",
        _takes_descriptor,
        (SECCOMP, OUTER),
        "the listener cannot be taken over from the program",
        f"Linux 5.6; in a container, {CAN_TRACE}; sysctl kernel.yama.ptrace_scope=1",
    ),
    Probe(
        "reading a child's memory",
        _reads_memory,
        EVERY,
        "the addresses that a program passes cannot be seen",
        f"{CAN_TRACE}; sysctl kernel.yama.ptrace_scope=1",
    ),
    Probe(
        "setuid programs keep their rights",
        _rights_kept,
        (),
        "the program runs with NO_NEW_PRIVS: sudo, su and the like do not work in it",
        "be root, or have CAP_SYS_ADMIN: docker or podman run --cap-add=SYS_ADMIN",
    ),
    Probe(
        "Yama allows it",
        _yama,
        (),
        "only root can look into programs",
        "sysctl kernel.yama.ptrace_scope=1; from 3 it takes a reboot",
    ),
    Probe(
        "ptrace of a process that is not below us",
        _attaches,
        (),
        "--attach does not work",
        f"be root; sysctl kernel.yama.ptrace_scope=0; {CAN_TRACE}",
    ),
    Probe(
        "pidfd of a socket's peer",
        _names_peer,
        (),
        "a tesla_trace that runs under this one is known by its number only",
        "Linux 6.5",
    ),
    Probe(
        "pidfd of a thread",
        _pidfd_of_thread,
        (),
        "a look-up more for each thread that calls",
        "Linux 6.9",
    ),
    Probe(
        "Landlock for TCP",
        _landlock,
        (),
        "with +socks, +http, +crypt, +tls or --strict no connection is handed back to the program",
        "Linux 6.7, with landlock in CONFIG_LSM or lsm= of the kernel's command line",
    ),
    Probe(
        "MSG_OOB on AF_UNIX",
        _urgent_byte,
        (),
        "the urgent byte of telnet, rlogin and FTP fails with EOPNOTSUPP",
        "Linux 5.15 with CONFIG_AF_UNIX_OOB",
    ),
    Probe(
        "ptrace of a child",
        _traces,
        (PTRACE,),
        "where seccomp cannot trap calls, nothing can (--trap=ptrace); no strace, no debuggers",
        f"Linux 5.3; {CAN_TRACE}; sysctl kernel.yama.ptrace_scope=1",
    ),
    Probe(
        "io_uring",
        _ring,
        (),
        "nothing: under us programs do without it anyway",
        "none is needed",
    ),
)
