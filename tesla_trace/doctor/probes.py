"""What is tried to find out what this machine allows; versions say little about it."""

from __future__ import annotations

from tesla_trace.doctor import processes, seccomp, sockets
from tesla_trace.doctor.probe import CAN_TRACE, EVERY, OUTER, PTRACE, SECCOMP, UNCONFINED, Probe

PROBES = (
    Probe(
        "libseccomp",
        seccomp.libseccomp,
        EVERY,
        "filters cannot be built",
        "apt install libseccomp2, or the package of that name elsewhere",
    ),
    Probe(
        "seccomp filters",
        seccomp.plain_filter,
        (SECCOMP,),
        "calls are trapped by ptrace, which stops the program at each",
        f"a kernel with CONFIG_SECCOMP_FILTER; in a container, {UNCONFINED}",
    ),
    Probe(
        "seccomp listener",
        seccomp.listener,
        (SECCOMP,),
        "calls are trapped by ptrace, ten times as slowly",
        "Linux 5.0; where it is EBUSY another is around us: of a tesla_trace, which helps if its"
        " TESLA_TRACE_OUTER is in our environment, or of a container's agent",
    ),
    Probe(
        "a tesla_trace around us",
        seccomp.outer,
        (OUTER,),
        "nothing, but where another listener is around us calls are trapped by ptrace",
        "none is needed",
    ),
    Probe(
        "WAIT_KILLABLE_RECV",
        seccomp.killable,
        (),
        "signals take calls away while they are answered: more of them end with EINTR",
        "Linux 5.19",
    ),
    Probe(
        "SYNC_WAKE_UP",
        seccomp.wakes_fast,
        (),
        "a trapped call takes about 50 µs rather than 6",
        "Linux 6.6",
    ),
    Probe(
        "ADDFD, giving a call its descriptor",
        seccomp.injects,
        (SECCOMP,),
        "programs cannot be given a socket of ours",
        "Linux 5.9",
    ),
    Probe(
        "pidfd_getfd of a child",
        processes.takes_descriptor,
        (SECCOMP, OUTER),
        "the listener cannot be taken over from the program",
        f"Linux 5.6; in a container, {CAN_TRACE}; sysctl kernel.yama.ptrace_scope=1",
    ),
    Probe(
        "reading a child's memory",
        processes.reads_memory,
        EVERY,
        "the addresses that a program passes cannot be seen",
        f"{CAN_TRACE}; sysctl kernel.yama.ptrace_scope=1",
    ),
    Probe(
        "setuid programs keep their rights",
        seccomp.rights_kept,
        (),
        "the program runs with NO_NEW_PRIVS: sudo, su and the like do not work in it",
        "be root, or have CAP_SYS_ADMIN: docker or podman run --cap-add=SYS_ADMIN",
    ),
    Probe(
        "Yama allows it",
        processes.yama,
        (),
        "only root can look into programs",
        "sysctl kernel.yama.ptrace_scope=1; from 3 it takes a reboot",
    ),
    Probe(
        "ptrace of a process that is not below us",
        processes.attaches,
        (),
        "--attach does not work",
        f"be root; sysctl kernel.yama.ptrace_scope=0; {CAN_TRACE}",
    ),
    Probe(
        "pidfd of a socket's peer",
        processes.names_peer,
        (),
        "a tesla_trace that runs under this one is known by its number only",
        "Linux 6.5",
    ),
    Probe(
        "pidfd of a thread",
        processes.pidfd_of_thread,
        (),
        "a look-up more for each thread that calls",
        "Linux 6.9",
    ),
    Probe(
        "Landlock for TCP",
        sockets.no_connects,
        (),
        "with +socks, +http, +crypt, +tls or --strict no connection is handed back to the program",
        "Linux 6.7, with landlock in CONFIG_LSM or lsm= of the kernel's command line",
    ),
    Probe(
        "MSG_OOB on AF_UNIX",
        sockets.urgent_byte,
        (),
        "the urgent byte of telnet, rlogin and FTP fails with EOPNOTSUPP",
        "Linux 5.15 with CONFIG_AF_UNIX_OOB",
    ),
    Probe(
        "ptrace of a child",
        processes.traces,
        (PTRACE,),
        "where seccomp cannot trap calls, nothing can (--trap=ptrace); no strace, no debuggers",
        f"Linux 5.3; {CAN_TRACE}; sysctl kernel.yama.ptrace_scope=1",
    ),
    Probe(
        "io_uring",
        sockets.ring,
        (),
        "nothing: under us programs do without it anyway",
        "none is needed",
    ),
)
