"""Every way past the trap, tried: served, refused, or let through and counted.

Each test is named by a row of tesla_trace/syscalls/escapes/ways.py.
"""

import array
import functools
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.e2e import plain
from tests.e2e.attaching import attached
from tests.e2e.backends import BACK_ENDS, SECCOMP
from tests.e2e.peers import microsocks
from tests.e2e.process import LIMIT, TESLA_TRACE, run, start, under

PROXY = "+socks=127.0.0.1:9"
"""Nobody is there: nothing may come as far as asking it."""

GETS = ["+log", "+dummy"]


@pytest.fixture(params=[*BACK_ENDS.values()], ids=[*BACK_ENDS])
def escape(built, request):
    """Run the program that tries ways out."""
    return functools.partial(_escape, built.path("escape", "glibc"), request.param)


def _escape(path, trap, *words, handlers=("+dummy",), ours=()):
    return under(handlers, path, *words, ours=[*trap, *ours])


by_seccomp = pytest.mark.parametrize("escape", [SECCOMP], indirect=True, ids=["seccomp"])
"""What is about others who trace, or listen."""


@pytest.fixture
def peer():
    """A server that says nothing; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def not_covered(ran):
    """What the end said, and nothing else of the kind."""
    lines = [line.partition("not covered: ")[2] for line in ran.log if "not covered: " in line]
    assert len(lines) <= 1, ran.log
    return lines[0] if lines else ""


def check_socket(escape, built, one, refused, *arguments):
    """Let through and counted; refused by --strict, and by a handler that must not be bypassed."""
    words = "socket", *arguments
    native = run(built.path("escape", "glibc"), *words)
    traced = escape(*words)
    assert traced == native
    there = " = 3" in native.out
    assert not_covered(traced) == (f"1 {one} (escape.glibc)" if there else "")
    for closed in (escape(*words, ours=["--strict"]), escape(*words, handlers=[PROXY])):
        assert (f" = {refused}\n" in closed.out) if there else closed == native
        assert not_covered(closed) == (f"1 {one} refused (escape.glibc)" if there else "")
        said = f"escape.glibc: {one} refused, for it would bypass the handlers"
        assert len([line for line in closed.log if line.endswith(said)]) == there


def connected(ran, port):
    return any(f" connecting to 127.0.0.1:{port}" in line for line in ran.log)


# ---- other doors into the kernel ----


def test_io_uring(escape):
    assert escape("io_uring").out.count("= ENOSYS\n") == 3


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs x86-64")
def test_i386(built):
    """By a 64-bit program, too: each call by its number and as a sub-call."""
    program = built.path("compat", "glibc")
    traced = under(GETS, program)
    assert traced == run(program) and any("listening on" in line for line in traced.log)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs x86-64")
def test_x32(built):
    assert under(["+dummy"], built.path("x32", "glibc")).out.count("= ENOSYS\n") == 1


def test_fast_open(escape, peer):
    ran = escape("fastopen", peer, handlers=GETS)
    assert ran.out.endswith("= 5\n") and connected(ran, peer), ran


def test_dissolved(escape, peer):
    ran = escape("dissolve", peer, handlers=GETS)
    assert ran.out.count("= 0\n") == 3, ran
    assert len([line for line in ran.log if f"connecting to 127.0.0.1:{peer}" in line]) == 2


@pytest.mark.needs("microsocks")
def test_swapped(built, peer, tmp_path):
    """Natively it is no race: what is called is what is connected."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.setblocking(False)
        ports = peer, other.getsockname()[1]
        program = built.path("swap", "glibc")
        assert run(program, *ports).out.endswith("reached: yes\n")
        other.accept()
        with microsocks(tmp_path, "-b", "127.0.0.9") as proxy:
            handlers = [f"+socks=127.0.0.1:{proxy.port}", "-loopback"]
            ran = under(handlers, program, *ports)
        assert ran.status == 0 and "dissolved:" in ran.out, ran
        assert f"connected to 127.0.0.1:{peer}" in proxy.log
        with pytest.raises(BlockingIOError):
            while True:  # the proxy may well have been asked for it
                assert other.accept()[1][0] == "127.0.0.9", "past the proxy"


def test_a_send_that_would_connect_what_is_swapped(peer):
    """MSG_FASTOPEN means nothing on a socket that is not TCP."""
    code = """\
import socket
one, other = socket.socketpair()
try:
    print(one.send(b"x", socket.MSG_FASTOPEN))
except OSError as wrong:
    print(wrong.strerror)
"""
    assert run(sys.executable, "-c", code).out == "1\n"
    assert under(["+dummy"], sys.executable, "-c", code).out == "1\n"
    assert under([PROXY], sys.executable, "-c", code).out == "Operation not supported\n"


# ---- sockets, and who has them ----

RECEIVER = """\
import array, os, socket, sys
with socket.socket(socket.AF_UNIX) as unix:
    unix.connect(sys.argv[1])
    _, ancillary, _, _ = unix.recvmsg(1, 1024)
fds = array.array("i", ancillary[0][2])
with socket.socket(fileno=fds[0]) as given:
    try:
        given.connect(("127.0.0.1", int(sys.argv[2])))
        print("connected")
    except OSError as error:
        print(error.errno)
"""


def give(path, given):
    """Hand a socket to whoever connects."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(LIMIT)

        def serve():
            client, _ = listener.accept()
            with client:
                rights = array.array("i", [given.fileno()])
                client.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize(
    ("handlers", "ours", "out", "said"),
    [
        ("+dummy", [], "connected", "1 socket received (python)"),
        ("+dummy", ["--strict"], "93", "1 socket received refused (python)"),
        (PROXY, [], "93", "1 socket received refused (python)"),
    ],
)
def test_received(handlers, ours, out, said, peer, tmp_path):
    path = str(tmp_path / "unix")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as given:
        for _ in give(path, given):
            words = [sys.executable, "-c", RECEIVER, path, peer]
            ran = under([handlers], *words, ours=ours)
    assert ran.out == f"{out}\n", ran
    assert not_covered(ran) == said


@by_seccomp
def test_handed_over(escape):
    """By pidfd_getfd, from a child that ptrace holds: all of it is the program's own."""
    native = run(escape.args[0], "child")
    for handlers in GETS, [PROXY]:
        ran = escape("child", handlers=handlers)
        assert ran == native and not_covered(ran) == ""


INHERITOR = """\
import os, socket, sys
with socket.socket(fileno=int(sys.argv[1])) as given:
    try:
        if given.type == socket.SOCK_DGRAM:
            given.connect(("127.0.0.1", 9))
        elif given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            given, _ = given.accept()
        given.send(b"hello")
        print("sent")
    except OSError as error:
        print(error.errno)
"""


def inherit(given, *words):
    command = [TESLA_TRACE, *words, sys.executable, "-c", INHERITOR, str(given.fileno())]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, pass_fds=[given.fileno()]
    )


def test_adopted():
    """Under a proxy, too: what comes in does not go past it."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        for handlers in GETS, [PROXY, "+log"]:
            with socket.create_connection(given.getsockname()) as client:
                ran = inherit(given, *handlers)
                assert ran.stdout == "sent\n" and client.recv(5) == b"hello", ran
                assert "accepted from" in ran.stderr and "not covered" not in ran.stderr


def test_inherited():
    counted = "not covered: 1 socket inherited (python)\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as given:
            ran = inherit(given, "+dummy")
            assert ran.stdout == "sent\n" and ran.stderr.endswith(counted), ran
            ran = inherit(given, "--strict", "+dummy")
            assert ran.returncode == 2 and f"descriptor {given.fileno()}" in ran.stderr, ran
    for out, words in (
        ("sent\n", ["+dummy"]),
        ("93\n", ["--strict", "+dummy"]),
        ("93\n", [PROXY]),
    ):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as given:
            ran = inherit(given, *words)
            assert ran.stdout == out and "not covered: 1 socket inherited (python)" in ran.stderr
            assert ("1 socket inherited refused (python)\n" in ran.stderr) == (out != "sent\n")


HAD_BEFORE = """
import socket, sys
had = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
had.sendall(b"hello")
print(had.connect_ex(had.getpeername()), flush=True)
"""


def test_had_before():
    for ours, number in ((["+dummy"], 106), (["--strict", "+dummy"], 93)):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with start(sys.executable, "-c", HAD_BEFORE, listener.getsockname()[1]) as program:
                program.until("ready")
                with attached(program.pid, *ours) as tracer, listener.accept()[0] as client:
                    assert "1 connection left alone" in tracer.out
                    program.process.stdin.write(b"go\n")
                    program.process.stdin.flush()
                    program.until(f"{number}\n")
                    assert client.recv(5) == b"hello"
                    program.process.stdin.close()
                    tracer.until("not covered: 1 connection from before")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to take from another process")
def test_taken(escape):
    """From us, who are not under tesla_trace."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for ours, ends, said in (
            ([], "= 5", "1 descriptor taken (escape.glibc)"),
            (["--strict"], "= EPERM", "1 descriptor taken refused (escape.glibc)"),
        ):
            with socket.create_connection(listener.getsockname()) as flow:
                ran = escape("take", os.getpid(), flow.fileno(), ours=ours)
                assert ran.out.endswith(f"{ends}\n"), ran
                assert not_covered(ran) == said
                flow.shutdown(socket.SHUT_WR)
                assert listener.accept()[0].recv(5) == (b"" if ours else b"taken")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to trace another process")
@by_seccomp
def test_traced(escape):
    with start("sleep", LIMIT) as sleep:
        ran = escape("trace", sleep.pid)
        assert ran.out.endswith("= 0\n")
        assert not_covered(ran) == "1 process outside traced (escape.glibc)"
        for closed in (escape("trace", sleep.pid, ours=["--strict"]), escape("trace", 1)):
            assert closed.out.endswith("= EPERM\n")
        assert not_covered(escape("trace", sleep.pid, handlers=[PROXY])).startswith("1 process")


# ---- families, types, protocols ----


def test_mptcp(escape):
    ran = escape("socket", 2, 1, 262)
    assert ran.out.endswith("= EPROTONOSUPPORT\n")
    assert not_covered(ran) in ("1 MPTCP socket refused (escape.glibc)", "")


def test_sctp(escape):
    ran = escape("socket", 2, 1, 132)
    assert ran.out.endswith("= EPROTONOSUPPORT\n")


def test_udp(escape):
    for words in (2, 2, 0), (10, 2 + 0o2000000, 17):
        ran = escape("socket", *words, handlers=["+compress"])
        assert ran.out.endswith(" = 3\n")
        assert not_covered(ran) == "1 UDP socket (escape.glibc)"
        ran = escape("socket", *words, handlers=["+compress"], ours=["--strict"])
        assert ran.out.endswith(" = EPROTONOSUPPORT\n")
        assert not_covered(ran) == "1 UDP socket refused (escape.glibc)"
        for handlers in ["+dummy"], [PROXY]:  # which refuses what it is sent
            ran = escape("socket", *words, handlers=handlers)
            assert ran.out.endswith(" = 3\n") and not_covered(ran) == ""


def test_udp_lite(escape, built):
    check_socket(escape, built, "UDP socket", "EPROTONOSUPPORT", 2, 2, 136)


def test_ping(escape, built):
    check_socket(escape, built, "ping socket", "EACCES", 2, 2, 1)


def test_raw(escape, built):
    check_socket(escape, built, "raw socket", "EPERM", 2, 3, 1)


def test_packet(escape, built):
    check_socket(escape, built, "packet socket", "EPERM", 17, 3, 0)
    check_socket(escape, built, "packet socket", "EPERM", 2, 10, 0)


def test_other_types(escape, built):
    check_socket(escape, built, "IP socket of another type", "ESOCKTNOSUPPORT", 2, 5, 132)
    check_socket(escape, built, "IP socket of another type", "ESOCKTNOSUPPORT", 2, 6, 33)


def test_vsock(escape, built):
    check_socket(escape, built, "vsock socket", "EAFNOSUPPORT", 40, 1, 0)


def test_xdp(escape, built):
    check_socket(escape, built, "XDP socket", "EPERM", 44, 3, 0)


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [(43, 1, 0), (30, 1, 0), (41, 2, 0)],
)
def test_other_families(escape, built, family, kind, protocol):
    one, refused = "socket of another family", "EAFNOSUPPORT"
    check_socket(escape, built, one, refused, family, kind, protocol)


@pytest.mark.parametrize(("family", "kind"), [(1, 1), (1, 2), (16, 3), (38, 5), (15, 3)])
def test_harmless(escape, family, kind):
    native = run(escape.args[0], "socket", family, kind, 2 if family == 15 else 0)
    ran = escape("socket", family, kind, 2 if family == 15 else 0, handlers=[PROXY])
    assert ran == native and not_covered(ran) == ""


def test_resolver(tmp_path):
    """A socket of AF_UNIX is what it is natively, whoever is behind it."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(path))
        daemon.listen()
        code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        ran = under([PROXY], sys.executable, "-c", code, path)
    assert ran.status == 0 and not_covered(ran) == ""


# ---- namespaces and rights ----

IN_NAMESPACE = """\
import os, socket, subprocess
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with socket.create_server(("127.0.0.1", 80)) as listener:
    with socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        client.send(b"hello")
        print(server.recv(5))
        print(len(open("/proc/net/tcp").readlines()))
try:
    socket.create_connection(("192.0.2.1", 9), 2)
except OSError as error:
    print(error)
"""

NATIVELY = "b'hello'\n4\n[Errno 101] Network is unreachable\n"


def may_unshare(*words):
    unshare = [*words, "unshare", "-n"]
    if shutil.which("ip") is None or run(*unshare, "true").status:
        pytest.skip("needs ip, and the right to make a network namespace")
    return unshare


@pytest.mark.parametrize("how", [[], ["--map-root-user"]])
def test_namespace(how):
    """Through the handlers, in the program's namespace, though its ports are taken in ours."""
    words = [*may_unshare(), *how, sys.executable, "-c", IN_NAMESPACE]
    native, traced = run(*words), under(GETS, *words)
    assert native.out == NATIVELY and traced == native, traced
    assert connected(traced, 80) and not_covered(traced) == ""


def test_namespace_later():
    """A thread that has had a socket in ours already."""
    code = f"import ctypes, socket\nsocket.socket()\n{{}}\n{IN_NAMESPACE}"
    code = code.format("assert ctypes.CDLL(None).unshare(0x40000000) == 0")
    may_unshare()
    ran = under(GETS, sys.executable, "-c", code)
    assert ran.out == NATIVELY and connected(ran, 80), ran


def test_namespace_of_a_user():
    """A plain user may not enter the namespace that a program makes for itself."""
    nobody = plain.as_nobody() if os.geteuid() == 0 else []
    may_unshare(*nobody, "unshare", "-r")
    python = plain.python() if nobody else sys.executable
    words = ["unshare", "-rn", python, "-c", IN_NAMESPACE]
    ran = run(*plain.tesla_trace(), "+dummy", *words)
    assert ran.out == NATIVELY
    assert "not covered: 3 sockets of another network namespace" in ran.err
    for closed in ([PROXY], ["--strict", "+dummy"]):
        ran = run(*plain.tesla_trace(), *closed, *words)
        assert ran.status == 1 and "Errno 97" in ran.err
        assert "1 socket of another network namespace refused" in ran.err


@pytest.fixture
def set_uid(built, tmp_path_factory):
    """A copy of the fixture that is root's, and set-uid."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a set-uid program")
    folder = tmp_path_factory.mktemp("set-uid")
    plain.let_in(folder)
    copy = shutil.copy(built.path("escape", "glibc"), folder / "rises")
    os.chmod(copy, 0o4755)
    return copy


def test_rights_that_are_not_ours(set_uid, peer):
    """With CAP_SYS_ADMIN a set-uid program gets its rights, under us too; it is not for us then."""
    words = (set_uid, "fastopen", peer)
    ours = plain.tesla_trace("sys_admin")
    ran = run(*ours, "+dummy", *words)
    assert ran.out.endswith("= 5\n")
    assert "not covered: 1 socket of a set-uid program (rises)\n" in ran.err
    for closed in ([PROXY], ["--strict", "+dummy"]):
        ran = run(*ours, *closed, *words)
        assert "line" in ran.out and "EACCES" in ran.out
        assert "1 socket of a set-uid program refused (rises)\n" in ran.err


def test_set_uid_without_its_rights(set_uid, peer):
    """Run by a plain user, it is a program like any other; run by root, too."""
    ran = run(*plain.tesla_trace(), *GETS, set_uid, "fastopen", peer)
    assert ran.out.endswith("= 5\n") and f"connecting to 127.0.0.1:{peer}" in ran.err
    assert ran.err.count("rises runs without the rights that its file gives") == 1
    ran = under(GETS, set_uid, "fastopen", peer)
    assert ran.out.endswith("= 5\n") and connected(ran, peer), ran
    assert not any("runs without" in line for line in ran.log)


def test_not_dumpable(escape, peer):
    if os.geteuid() == 0:
        ran = escape("undumpable", peer, handlers=GETS)
        assert ran.out.endswith("= 0\n") and connected(ran, peer)
    program = escape.args[0]
    plain.let_in(Path(program).parent)
    ran = run(*plain.tesla_trace(), "+dummy", program, "undumpable", peer)
    assert ran.out == "socket(AF_INET, SOCK_STREAM, 0) = EACCES\n"
    assert "its socket calls fail" in ran.err


@by_seccomp
def test_filter_of_its_own(escape, peer):
    ran = escape("filter", peer, handlers=GETS)
    first, second, third, last = ran.out.splitlines()
    assert first.endswith("= 0") and second.endswith("= EBUSY")
    assert third.endswith("= EDOM") and last.endswith("= 0") and connected(ran, peer)
