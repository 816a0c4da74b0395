"""Every way past the trap that is known, and what becomes of it.

A handler that is `exclusive` (a proxy, encryption) must not be bypassed, and `--strict` asks for
the same of all: then what is otherwise let through and counted is refused, with an errno that
programs meet on other machines too.
"""

from __future__ import annotations

import enum
import errno
import socket as sockets
from typing import NamedTuple

MPTCP, SCTP, UDP, UDPLITE = 262, 132, 17, 136

AF_KEY = 15
HARMLESS = (sockets.AF_UNIX, AF_KEY, sockets.AF_NETLINK, sockets.AF_ALG)
"""Families that end in this kernel, or at another process of this machine: never trapped."""

INTERNET = (sockets.AF_INET, sockets.AF_INET6)

SOCK_PACKET = 10
"""Of AF_INET, too, it is AF_PACKET: __sock_create()."""


class Outcome(enum.Enum):
    """What becomes of a way."""

    SERVED = "goes through the handlers"
    REFUSED = "refused"
    COUNTED = "let through, and counted"
    ALONE = "left alone"


class Way(NamedTuple):
    """One row of the table.

    Args:
        what: the way, as docs/ways.md has it.
        note: what else there is to say.
        test: what shows it, in tests/e2e/test_escapes.py.
        errno: with which it is refused, if it is.
        one: what is counted, and `many` of it.
    """

    what: str
    outcome: Outcome
    test: str
    errno: int = 0
    one: str = ""
    many: str = ""
    note: str = ""


SERVED, REFUSED, COUNTED, ALONE = Outcome

WAYS: dict[str, Way] = {
    "io_uring": Way("io_uring", REFUSED, "test_io_uring", errno.ENOSYS, note="programs do without"),
    "i386": Way("calls of 32-bit programs, socketcall(2) included", SERVED, "test_i386"),
    "x32": Way("x32 numbers", REFUSED, "test_x32", errno.ENOSYS),
    "fastopen": Way("sendto(2), sendmsg(2) with MSG_FASTOPEN", SERVED, "test_fast_open"),
    "dissolve": Way("connect(2) with AF_UNSPEC, and again", SERVED, "test_dissolved"),
    "swapped": Way(
        "connect(2) on something else, with a connected socket put in its place meanwhile",
        REFUSED,
        "test_swapped",
        errno.EACCES,
        note="by Landlock, where nothing may go past the handlers",
    ),
    "sockets": Way("a socket that another traced process hands over", SERVED, "test_handed_over"),
    "adopted": Way(
        "a TCP socket inherited or received, that connects or accepts later",
        SERVED,
        "test_adopted",
    ),
    "inherited": Way(
        "a connection or UDP socket inherited from outside",
        COUNTED,
        "test_inherited",
        errno.EPROTONOSUPPORT,
        "socket inherited",
        "sockets inherited",
        "what is refused is to connect, bind, send to; with `--strict` nothing starts with a"
        " connection",
    ),
    "before": Way(
        "a connection that a process had before `--attach`",
        COUNTED,
        "test_had_before",
        errno.EPROTONOSUPPORT,
        "connection from before",
        "connections from before",
        "what is refused is to connect, bind, send to",
    ),
    "received": Way(
        "a connection or UDP socket received from outside (SCM_RIGHTS)",
        COUNTED,
        "test_received",
        errno.EPROTONOSUPPORT,
        "socket received",
        "sockets received",
        "when it is first asked about",
    ),
    "taken": Way(
        "a descriptor taken from outside (pidfd_getfd(2))",
        COUNTED,
        "test_taken",
        errno.EPERM,
        "descriptor taken",
        "descriptors taken",
    ),
    "traced": Way(
        "a process outside that is made to connect (ptrace(2))",
        COUNTED,
        "test_traced",
        errno.EPERM,
        "process outside traced",
        "processes outside traced",
    ),
    "mptcp": Way(
        "IPPROTO_MPTCP",
        REFUSED,
        "test_mptcp",
        errno.EPROTONOSUPPORT,
        "MPTCP socket",
        "MPTCP sockets",
        "programs fall back to TCP",
    ),
    "stream": Way(
        "other stream protocols: IPPROTO_SCTP",
        REFUSED,
        "test_sctp",
        errno.EPROTONOSUPPORT,
        "stream socket that is not TCP",
        "stream sockets that are not TCP",
    ),
    "udp": Way(
        "UDP, where no handler serves it; UDP-Lite",
        COUNTED,
        "test_udp",
        errno.EPROTONOSUPPORT,
        "UDP socket",
        "UDP sockets",
    ),
    "ping": Way(
        "ping sockets: SOCK_DGRAM of IPPROTO_ICMP",
        COUNTED,
        "test_ping",
        errno.EACCES,
        "ping socket",
        "ping sockets",
    ),
    "raw": Way("SOCK_RAW", COUNTED, "test_raw", errno.EPERM, "raw socket", "raw sockets"),
    "packet": Way(
        "AF_PACKET; SOCK_PACKET of AF_INET",
        COUNTED,
        "test_packet",
        errno.EPERM,
        "packet socket",
        "packet sockets",
    ),
    "type": Way(
        "other types of AF_INET and AF_INET6: SCTP's SOCK_SEQPACKET, DCCP",
        COUNTED,
        "test_other_types",
        errno.ESOCKTNOSUPPORT,
        "IP socket of another type",
        "IP sockets of another type",
    ),
    "vsock": Way(
        "AF_VSOCK", COUNTED, "test_vsock", errno.EAFNOSUPPORT, "vsock socket", "vsock sockets"
    ),
    "xdp": Way("AF_XDP", COUNTED, "test_xdp", errno.EPERM, "XDP socket", "XDP sockets"),
    "family": Way(
        "any other family: AF_SMC, AF_RDS, AF_TIPC, AF_BLUETOOTH, AF_KCM, AF_CAN ...",
        COUNTED,
        "test_other_families",
        errno.EAFNOSUPPORT,
        "socket of another family",
        "sockets of another family",
    ),
    "namespace": Way(
        "another network namespace: unshare(2), setns(2), clone(2)",
        SERVED,
        "test_namespace",
        note="in that namespace, where we may enter it (CAP_SYS_ADMIN)",
    ),
    "closed namespace": Way(
        "a network namespace that we may not enter",
        COUNTED,
        "test_namespace_of_a_user",
        errno.EAFNOSUPPORT,
        "socket of another network namespace",
        "sockets of another network namespace",
    ),
    "set-uid": Way(
        "a set-uid program whose rights are not ours to take",
        COUNTED,
        "test_rights_that_are_not_ours",
        errno.EACCES,
        "socket of a set-uid program",
        "sockets of a set-uid program",
        note="such a program starts without its rights (no_new_privs), unless we have"
        " CAP_SYS_ADMIN; root may take all",
    ),
    "not dumpable": Way(
        "a process that is not dumpable (prctl(2))",
        SERVED,
        "test_not_dumpable",
        note="where we have no CAP_SYS_PTRACE, its socket calls fail with EACCES",
    ),
    "filter": Way("a filter of the program's own", SERVED, "test_filter_of_its_own"),
    "harmless": Way(
        "AF_UNIX, AF_NETLINK, AF_KEY, AF_ALG",
        ALONE,
        "test_harmless",
        note="they end in this machine; what another process does for the program is that one's",
    ),
    "resolver": Way(
        "names looked up by nscd(8) and systemd-resolved(8)",
        ALONE,
        "test_resolver",
        note="they are asked through AF_UNIX; where a proxy looks names up they are not to be found"
        " (ENOENT)",
    ),
}
"""By the name that the code has for it."""


def of_socket(domain: int, kind: int, protocol: int) -> Way | None:
    """The way that socket(2) with these arguments is; None where handlers could serve it."""
    if domain == sockets.AF_PACKET or domain in INTERNET and kind == SOCK_PACKET:
        return WAYS["packet"]
    if domain in INTERNET:
        match kind:
            case sockets.SOCK_STREAM:
                if protocol in (0, sockets.IPPROTO_TCP):
                    return None
                return WAYS["mptcp" if protocol == MPTCP else "stream"]
            case sockets.SOCK_DGRAM:
                if protocol in (0, UDP):
                    return None
                return WAYS["udp" if protocol == UDPLITE else "ping"]
            case sockets.SOCK_RAW:
                return WAYS["raw"]
        return WAYS["type"]
    return WAYS[_FAMILIES.get(domain, "family")]


_FAMILIES = {sockets.AF_VSOCK: "vsock", 44: "xdp"}
