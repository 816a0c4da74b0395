"""Containers that real runtimes start go through our handlers, each through its own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tesla_trace.kernel.filter import Rule, build
from tesla_trace.kernel.libc import pidfd_getfd
from tesla_trace.kernel.spawn import install
from tests.e2e import plain
from tests.e2e.containers import RUNTIMES, Container, Network, agent, each_runtime, needed, profile
from tests.e2e.process import LIMIT, alive, eventually, run
from tests.kernel.child import child

THROUGH = ("+log", "+socks=127.0.0.1:1080", "-loopback")
GET = ("wget", "-qO-", "http://127.0.0.1:80/hello")
HELLO = "hello from 80\n"


@pytest.fixture
def net(tmp_path):
    with Network(tmp_path) as one:
        yield one


@each_runtime
def test_client(runtime, tmp_path, net):
    """In its own network namespace, where the proxy's address means what it means there."""
    needed(runtime)
    log = net.microsocks()
    with agent(tmp_path, *THROUGH) as ours:
        before = ours.files()
        ran = Container(runtime, tmp_path, ours, net, words=THROUGH).run(*GET)
        assert (ran.status, ran.out) == (0, HELLO), (ran, ours.lines())
        assert "connected to 127.0.0.1:80" in log.read_text()
        assert ours.said("connecting to 127.0.0.1:80")
        ours.until("over")
        eventually("all is closed", lambda: not ours.more_than(before), 3)


@each_runtime
def test_server_and_another_process(runtime, tmp_path, net):
    """A process that enters the container joins its session."""
    needed(runtime)
    with agent(tmp_path, "+log") as ours:
        box = Container(runtime, tmp_path, ours, net)
        serve = "mkdir /w; echo inside >/w/hello; exec httpd -f -vv -p 127.0.0.1:8080 -h /w"
        with box.start("sh", "-c", serve):
            ours.until("listening on 127.0.0.1:8080")
            ran = box.enter("wget", "-qO-", "http://127.0.0.1:8080/hello")
            assert (ran.status, ran.out) == (0, "inside\n"), (ran, ours.lines())
            ran = run(*net.words("busybox", "wget", "-qO-", "http://127.0.0.1:8080/hello"))
            assert ran.out == "inside\n"
            ours.until("enters")
            assert ours.said("wget[") and ours.said("httpd[")
            assert sum(line.endswith(" starts") for line in ours.lines()) == 1
            assert not ours.said("over")
        ours.until("over")


def test_entering_one_of_two_of_the_same_name(tmp_path, net):
    """crun does not say which: it goes through the handlers of neither, and past none."""
    needed("crun")
    with agent(tmp_path, "+log") as ours:
        one, other = Container("crun", tmp_path, ours, net), Container("crun", tmp_path, ours, net)
        other.name = one.name
        with one.start("sh", "-c", ON_DEMAND) as program:
            assert gets(program) == HELLO
            assert one.enter(*GET).out == HELLO
            with other.start("sh", "-c", ON_DEMAND) as another:
                assert gets(another) == HELLO
                assert other.enter(*GET).out == ""
                ours.until(f"container {one.name}: there are several of that name")


def test_twenty_at_once(tmp_path):
    """Each with a proxy of its own, that only it is told of, by the metadata of its configuration.

    Nothing is left of them when they are gone.
    """
    for runtime in RUNTIMES:
        needed(runtime)
    numbers = range(20)

    def one(number):
        port = 8000 + number
        with Network(tmp_path, port) as net:
            log = net.microsocks(1000 + number)
            asks = f"+log +socks=127.0.0.1:{1000 + number} -loopback"
            runtime = RUNTIMES[number % 2]
            box = Container(runtime, tmp_path, ours, net, words=THROUGH, metadata=asks)
            ran = box.run("wget", "-qO-", f"http://127.0.0.1:{port}/hello")
            assert (ran.status, ran.out) == (0, f"hello from {port}\n"), ran
            return box, port, log.read_text()

    with agent(tmp_path, "--metadata") as ours:
        for runtime in RUNTIMES:
            profile(runtime, ours.path, *THROUGH)  # once, rather than by all twenty
        before = ours.files()
        with ThreadPoolExecutor(len(numbers)) as pool:
            for box, port, log in pool.map(one, numbers):
                assert log.count("connected to") == 1 and f"connected to 127.0.0.1:{port}" in log
                mine = [line for line in ours.lines() if f" {box.name}: " in line]
                assert sum("connecting to" in line for line in mine) == 1, mine
                assert any(f"connecting to 127.0.0.1:{port}" in line for line in mine), mine
        eventually("all are over", lambda: sum(": over" in line for line in ours.lines()) == 20)
        eventually("all is closed", lambda: not ours.more_than(before), 3)
        assert ours.said(": over") and not ours.said("agent: Traceback")


@each_runtime
def test_rights(runtime, tmp_path, net):
    """A process is served with its own: a port below 1024 is not for every user."""
    needed(runtime)
    with agent(tmp_path, "+log") as ours:
        nobody = {"uid": 1000, "gid": 1000}
        box = Container(runtime, tmp_path, ours, net, user=nobody, noNewPrivileges=False)
        ran = box.run("sh", "-c", "wget -qO- http://127.0.0.1:80/hello; httpd -f -p 127.0.0.1:81")
        assert ran.out == HELLO and "bind: Permission denied" in ran.err, (ran, ours.lines())


@each_runtime
def test_user_namespace(runtime, tmp_path):
    """Its root has what it takes in its own network namespace, and is nobody here."""
    needed(runtime)
    with agent(tmp_path, "+log") as ours:
        box = Container(runtime, tmp_path, ours, users=100000)
        serve = "httpd -p 127.0.0.1:80 -h /bin && wget -qO- http://127.0.0.1:80/busybox | wc -c"
        ran = box.run("sh", "-c", serve)
        size = os.path.getsize(str(shutil.which("busybox")))
        assert ran.out.strip() == str(size), (ran, ours.lines())
        assert ours.said("accepted from 127.0.0.1")


@each_runtime
def test_killed_in_the_middle(runtime, tmp_path, net):
    """By SIGKILL: the peer is told, and nothing is left."""
    needed(runtime)
    with agent(tmp_path, "+log", "+shape", "-in=1MB") as ours:
        words = ("+log", "+shape", "-in=1MB")
        before = ours.files()
        box = Container(runtime, tmp_path, ours, net, words=words)
        with box.start("wget", "-qO", "/dev/null", "http://127.0.0.1:80/big"):
            ours.until("connected")
            box.kill()
            ours.until("over")
        eventually("all is closed", lambda: not ours.more_than(before), 3)


ON_DEMAND = "while read line; do wget -qO- http://127.0.0.1:80/hello || echo failed; done"


def gets(program):
    """What the container says that it got when it was told to."""
    program.process.stdin.write(b"get\n")
    program.process.stdin.flush()
    return program.until("\n")


@each_runtime
def test_the_end_of_the_agent(runtime, tmp_path, net):
    """Containers that run go on past the handlers; who answers for them ends with the last."""
    needed(runtime)
    with agent(tmp_path, "+log") as ours:
        box = Container(runtime, tmp_path, ours, net)
        with box.start("sh", "-c", ON_DEMAND) as program:
            assert gets(program) == HELLO
            keeper = ours.keeper
            ours.program.send(signal.SIGTERM)
            assert ours.program.wait() == 0
            assert ours.said("connecting to") and ours.said("ends; 1 container")
            log = ours.lines()
            assert gets(program) == HELLO
            assert ours.lines() == log and alive(keeper)
        eventually("nobody stays behind", lambda: not alive(keeper))


@each_runtime
@pytest.mark.parametrize(("policy", "got"), [("open", HELLO), ("closed", "failed\n")])
def test_the_agent_dies(runtime, policy, got, tmp_path, net):
    """By SIGKILL: it is as of a program that we have started."""
    needed(runtime)
    with agent(tmp_path, f"--on-crash={policy}", "+log") as ours:
        box = Container(runtime, tmp_path, ours, net)
        with box.start("sh", "-c", ON_DEMAND) as program:
            assert gets(program) == HELLO
            keeper = ours.keeper
            os.kill(ours.pid, signal.SIGKILL)
            ours.until("was killed by signal 9")
            assert gets(program) == got
        eventually("nobody stays behind", lambda: not alive(keeper))


@pytest.mark.parametrize(
    ("name", "build", "runtime"),
    [
        ("messages", "musl-static", "runc"),
        ("prefork", "musl-static", "runc"),
        ("tcp", "i386", "runc"),
        ("tcp", "i386", "crun"),
        ("udp", "musl-static", "crun"),
    ],
)
def test_fixtures(built, name, build, runtime, tmp_path, net):
    """By runc 1.1, which knows no flags, any signal takes a call away; i386 has socketcall(2)."""
    needed(runtime)
    program, words = built.path(name, build), ("+log", "+dummy")
    with agent(tmp_path, *words) as ours:
        box = Container(runtime, tmp_path, ours, net, words=words, files={name: program})
        ran = box.run(name)
        assert ran.status == 0 and ours.said(f"{name}["), ran
        assert ran.out == run(*net.words(program)).out


# ---- what an agent is told that it cannot use ----


def tell(path, *parts, fds=(), wait=True):
    """Tell an agent in so many parts, the descriptors with the first."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(LIMIT)
        one.connect(path)
        for part in parts:
            with contextlib.suppress(BrokenPipeError):
                socket.send_fds(one, [part], fds)
            fds = ()
        if wait:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""


def state(**changes):
    inner = {"ociVersion": "1.0.2", "id": "liar", "status": "creating", "bundle": "/b"}
    good = {"ociVersion": "1.0.2", "fds": ["seccompFd"], "pid": os.getpid(), "state": inner}
    return json.dumps({**good, **changes}).encode()


CONNECTS = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


@pytest.fixture
def listener():
    """One of a process that does nothing."""
    bpf = build([Rule("getpriority")])

    def trapped(say):
        say(str(install(bpf)))
        signal.pause()

    with child(trapped) as process:
        pidfd = os.pidfd_open(process.pid)
        fd = pidfd_getfd(pidfd, int(process.says()))
        yield fd
        os.close(fd)
        os.close(pidfd)


@pytest.fixture
def public():
    """A folder where everybody may look for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_many_runtimes_before_the_agent_looks(tmp_path):
    """Go connects without waiting, and runc does not try again where there is no room (EAGAIN)."""
    with agent(tmp_path, "+log") as ours, contextlib.ExitStack() as open_:
        os.kill(ours.pid, signal.SIGSTOP)
        try:
            for _ in range(200):
                one = open_.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(ours.path)
        finally:
            os.kill(ours.pid, signal.SIGCONT)


def test_nonsense(tmp_path, public, net, listener):
    """Each is an error line, and a container that is served meanwhile knows nothing of it."""
    needed("crun")
    null = os.open(os.devnull, os.O_RDONLY)
    with subprocess.Popen(["true"]) as process:
        gone = process.pid
    told = [
        ((b"GET / HTTP/1.1\r\n\r\n",), [], "not a JSON object"),
        ((b"{" + b" " * 70000,), [], "more than 65536 bytes"),
        ((state(pid="x"),), [null], "pid is not the number of a process"),
        ((state(),), [], "1 descriptors named, 0 sent"),
        ((state(fds=["other"]),), [null], "no descriptors called seccompFd"),
        ((state(fds=["seccompFd"] * 2),), [listener, listener], "2 descriptors called seccompFd"),
        ((state(),), [null], "seccompFd is no seccomp listener"),
        ((state(pid=gone),), [listener], f"container liar: process {gone} is gone"),
        ((state(metadata="+nonsense"),), [listener], "container liar: +nonsense"),
        ((state(fds=["seccompFd"] * 17),), [null] * 17, "more than 16 descriptors"),
        ((state() + b"{",), [listener], "something follows the state"),
    ]
    with agent(public, "--metadata", "+log") as ours:
        box = Container("crun", tmp_path, ours, net)
        with box.start("sh", "-c", ON_DEMAND) as program:
            assert gets(program) == HELLO
            before = ours.files()
            for parts, fds, said in told:
                tell(ours.path, *parts, fds=fds)
                ours.until(said)
            who = f"process {os.getpid()} of user 0"
            assert sum(who in line for line in ours.lines()) == len(told) - 2
            tell(ours.path, b'{"ociVersion"', wait=False)
            ours.until("hung up before all was said")
            said_nothing = socket.socket(socket.AF_UNIX)
            said_nothing.connect(ours.path)
            os.chmod(ours.path, 0o777)
            ran = run(*plain.as_nobody(), plain.python(), "-c", CONNECTS, ours.path)
            assert ran.status == 0, ran
            ours.until(f"of user {plain.NOBODY}: only root and we ourselves")
            ours.until("nothing that makes sense in 5 s")
            said_nothing.close()
            eventually("nothing of it is kept", lambda: not ours.more_than(before))
            assert gets(program) == HELLO
    os.close(null)
