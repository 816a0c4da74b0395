"""tesla_trace inside tesla_trace: the inner one's handlers are nearer the program."""

import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.e2e import plain
from tests.e2e.peers import HELLO, LONG, microsocks, redis
from tests.e2e.process import (
    TESLA_TRACE,
    alive,
    children,
    eventually,
    run,
    start,
    under,
)
from tests.e2e.rungs import RUNGS, ways


def inner(log, *words):
    return [TESLA_TRACE, "--log", log, *words]


def flows(lines):
    """What was connected to, by whom."""
    return [line.split()[2] for line in lines if " connecting to " in line]


def read(log):
    return Path(log).read_text().splitlines() if Path(log).exists() else []


GET = ("curl", "-sS", "--max-time", "15")


def test_each_sees_the_flow(web, tmp_path):
    log = tmp_path / "inner"
    ran = under(["+log"], *inner(log, "+log"), *GET, web.url())
    assert (ran.status, ran.out, ran.err) == (0, HELLO.decode(), "")
    assert [each.partition("[")[0] for each in flows(read(log))] == ["curl"]
    assert [each.partition("[")[0] for each in flows(ran.log)] == ["tesla_trace"]
    # The inner one's connect begins before the outer one's, and ends after it.
    times = {}
    for who, lines in (("inner", read(log)), ("outer", ran.log)):
        for what in (" connecting ", " connected "):
            times[who + what] = next(line[:12] for line in lines if what in line)
    assert times["inner connecting "] <= times["outer connecting "]
    assert times["outer connected "] <= times["inner connected "]


@pytest.mark.parametrize(
    ("rung", "around"),
    [*((each, each) for each in RUNGS), ("handlers", "handed back"), ("handed back", "handlers")],
)
def test_bytes_take_each_way_in_both(rung, around, web, tmp_path):
    report = tmp_path / "report"
    nested = [TESLA_TRACE, "--report", report, "--log", tmp_path / "log", *RUNGS[rung]]
    ours = ["--report", tmp_path / "outer"]
    ran = under(RUNGS[around], *nested, *GET, web.url("/long"), ours=ours)
    assert (ran.status, ran.out == LONG.decode(), ran.err) == (0, True, ""), ran.err
    assert ways(report) == {rung}
    assert ways(tmp_path / "outer") == {around}


def test_crypt_inside_socks(proxy, key, tmp_path):
    with redis(TESLA_TRACE, "+crypt", f"-key={key}") as port:
        nested = inner(tmp_path / "log", "+crypt", f"-key={key}")
        client = ("redis-cli", "-p", port, "ping")
        ran = under([f"+socks=127.0.0.1:{proxy.port}", "-loopback"], *nested, *client)
        assert (ran.status, ran.out, ran.err) == (0, "PONG\n", "")
        assert f"127.0.0.1:{port}" in proxy.log
        assert run("redis-cli", "-p", port, "ping").out != "PONG\n"


def test_socks_inside_socks(tmp_path, web):
    """As a chain of two proxies on one command line."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with microsocks(tmp_path / "a") as near, microsocks(tmp_path / "b") as far:
        nested = inner(tmp_path / "log", f"+socks=127.0.0.1:{far.port}", "-loopback")
        outer = [f"+socks=127.0.0.1:{near.port}", "-loopback"]
        ran = under(outer, *nested, *GET, web.url())
        assert (ran.status, ran.out) == (0, HELLO.decode()), ran
        assert f":{far.port}" in near.log and f":{web.port}" in far.log
        assert f":{web.port}" not in near.log


def test_a_server_inside(key, tmp_path):
    log = tmp_path / "log"
    with redis(TESLA_TRACE, "+log", *inner(log, "+crypt", f"-key={key}")) as port:
        ran = under(["+crypt", f"-key={key}"], "redis-cli", "-p", port, "ping")
        assert ran.out == "PONG\n"
        assert run("redis-cli", "-p", port, "ping").out != "PONG\n"


ASK = """\
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(10)
s.sendto(b"ask", ("127.0.0.1", int(sys.argv[1])))
print(s.recvfrom(99)[0])
"""


def test_datagrams(tmp_path):
    log = tmp_path / "log"
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        words = [TESLA_TRACE, "--log", tmp_path / "outer", "+log", *inner(log, "+log")]
        ask = (sys.executable, "-c", ASK, server.getsockname()[1])
        with start(*words, *ask) as program:
            data, whence = server.recvfrom(99)
            server.sendto(data + b"ed", whence)
            assert program.communicate()[0] == "b'asked'\n"
    for lines in (read(log), read(tmp_path / "outer")):
        assert "closed: out 3 bytes, in 5 bytes" in lines[-1]


def test_three_levels(web, tmp_path):
    logs = [tmp_path / "middle", tmp_path / "inner"]
    words = [word for log in logs for word in inner(log, "+log")]
    ran = under(["+log"], *words, *GET, web.url())
    assert (ran.status, ran.out) == (0, HELLO.decode())
    assert [len(flows(lines)) for lines in (ran.log, *map(read, logs))] == [1, 1, 1]
    assert "curl" in flows(read(logs[1]))[0] and "tesla" in flows(read(logs[0]))[0]


def test_two_side_by_side(web, tmp_path):
    """And what runs beside them is the outer one's alone."""
    logs = [tmp_path / "one", tmp_path / "other"]
    both = " & ".join(
        f"{TESLA_TRACE} --log {log} +log curl -sS {web.url(f'/{log.name}')}" for log in logs
    )
    ran = under(["+log"], "sh", "-c", f"{both} & curl -sS {web.url('/beside')}; wait")
    assert (ran.status, ran.out) == (0, HELLO.decode() * 3)
    assert [len(flows(lines)) for lines in map(read, logs)] == [1, 1]
    names = [each.partition("[")[0] for each in flows(ran.log)]
    assert sorted(names) == ["curl", "tesla_trace", "tesla_trace"]


def test_report_strict_and_rules_are_its_own(web, tmp_path):
    """In its own directory: the names of files mean what they do for it."""
    (tmp_path / "rules.toml").write_text('[[rule]]\nmatch = "port 1"\nskip = "log"\n')
    words = "--strict --rules rules.toml --report report.json --log log +log"
    udp = f"{sys.executable} -c 'import socket as s; s.socket(s.AF_INET, s.SOCK_RAW, 1)'"
    command = f'cd {tmp_path} && {TESLA_TRACE} {words} sh -c "curl -sS {web.url()}; {udp}"'
    ran = under(["+log"], "sh", "-c", command)
    assert ran.out == HELLO.decode() and ran.status == 1 and "PermissionError" in ran.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert [flow["program"] for flow in report["flows"]] == ["curl"]
    assert "raw" in (tmp_path / "log").read_text()


def test_nothing_of_theirs_is_inherited(tmp_path):
    show = ("sh", "-c", "ls -l /proc/self/fd | wc -l; env | sed 's/OUTER=.*/OUTER/'; ulimit -n")
    ran = under(["+dummy"], *inner(tmp_path / "log", "+dummy"), *show)
    native = run(*show, TESLA_TRACE_OUTER="nobody")
    assert sorted(ran.out.splitlines()) == sorted(native.out.splitlines())


def test_exit_and_signals(tmp_path):
    """Its words that are wrong are its own to complain of."""
    log = tmp_path / "log"
    for command, status in (("exit 42", 42), ("kill -TERM $$", -signal.SIGTERM)):
        assert under(["+dummy"], *inner(log, "+dummy"), "sh", "-c", command).status == status
    ran = under(["+dummy"], TESLA_TRACE, "+socks=nonsense", "true")
    assert ran.status == 2 and "nonsense" in ran.err
    assert under(["+dummy"], *inner(log, "+dummy"), "no-such-program").status == 127


def test_a_daemon_left_behind(web, tmp_path):
    """The inner one stays with it, as the outer one does."""
    log = tmp_path / "log"
    fetch = f"sleep 0.4; curl -sS -o {tmp_path}/page {web.url()}; echo over > {tmp_path}/over"
    daemon = f"setsid sh -c '({fetch}) >/dev/null 2>&1 </dev/null &' "
    ran = under(["+log"], *inner(log, "+log"), "sh", "-c", daemon)
    assert ran.status == 0
    eventually("the daemon is over", (tmp_path / "over").exists)
    assert (tmp_path / "page").read_bytes() == HELLO
    assert len(flows(read(log))) == 1


SOCKETS = """\
import socket, sys, os
print(os.getpid(), os.getppid(), flush=True)
for line in sys.stdin:
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10):
            print("connected", flush=True)
    except OSError as wrong:
        print(wrong.strerror, flush=True)
"""


def nested(*words, port, log, outer=("+dummy",)):
    """A python under both that connects for each line that it is given."""
    python = (sys.executable, "-c", SOCKETS, port)
    return start(TESLA_TRACE, "--log", log, *outer, TESLA_TRACE, *words, *python)


def connects(program):
    program.process.stdin.write(b"\n")
    program.process.stdin.flush()
    return program.until("\n").strip()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+dummy"], "connected"),
        (["--strict", "+dummy"], "Network is down"),
        (["--on-crash=kill", "+dummy"], ""),
    ],
)
def test_killed(words, said, web, tmp_path):
    """The outer one goes on; what becomes of the program says the inner one's --on-crash."""
    with nested(*words, port=web.port, log=tmp_path / "log") as program:
        pid, supervisor = map(int, program.until("\n").split())
        assert connects(program) == "connected"
        os.kill(supervisor, signal.SIGKILL)
        eventually("it is dead", lambda: not alive(supervisor))
        if said:
            assert connects(program) == said
            program.process.stdin.close()
            program.process.stdin = None
            assert program.wait() == 0
        else:
            assert program.wait() == 125
        assert not alive(pid)


LEFT = """\
import os, socket, sys, time
pid = os.fork()
if pid:
    os.wait()
    sys.exit()
else:
    os.setsid()
    {before}
    print(os.getpid(), os.getppid(), flush=True)
    sys.stdin.readline()
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10):
            print("connected", flush=True)
    except OSError as wrong:
        print(wrong.strerror, flush=True)
"""


@pytest.mark.parametrize(
    ("words", "before", "said"),
    [
        (["--strict"], "pass", "Network is down"),
        (["--strict"], "socket.socket().close()", "Network is down"),
        ([], "pass", "connected"),
    ],
)
def test_what_one_leaves_that_is_killed_with_its_keeper(words, before, said, web, tmp_path):
    """Where nothing may pass, it makes no sockets; otherwise it is the outer one's."""
    python = [sys.executable, "-c", LEFT.format(before=before), web.port]
    command = [TESLA_TRACE, "--log", tmp_path / "log", "+dummy", TESLA_TRACE, *words, "+dummy"]
    with start(*command, *python) as program:
        _, parent = map(int, program.until("\n").split())
        (front,) = outermost(program.pid)
        for each in (front, *everyone(front)[1:3], parent):
            with contextlib.suppress(ProcessLookupError):  # it followed the one before
                os.kill(each, signal.SIGKILL)
        eventually("its program has gone", lambda: not alive(parent))
        program.process.stdin.write(b"\n")
        program.process.stdin.flush()
        assert program.until("\n").strip() == said


def outermost(pid):
    """The program of a front."""
    (keeper,) = children(pid)
    (supervisor,) = children(keeper)
    return children(supervisor)


def everyone(pid):
    """A process and all below it."""
    found = [pid]
    for each in found:
        found += children(each)
    return found


@pytest.mark.parametrize(("words", "status"), [(["--strict"], -signal.SIGKILL), ([], 0)])
def test_the_outer_one_killed(words, status, web, tmp_path):
    """Its keeper goes on; where nothing may pass the inner one, the program cannot."""
    with nested(*words, "+dummy", port=web.port, log=tmp_path / "log") as program:
        pid, supervisor = map(int, program.until("\n").split())
        (keeper,) = children(program.pid)
        (outer,) = children(keeper)
        os.kill(outer, signal.SIGKILL)
        if not status:
            assert connects(program) == "connected"
            program.process.stdin.close()
            program.process.stdin = None
        assert program.wait() == status
        eventually("all have gone", lambda: not alive(pid) and not alive(supervisor))


def test_what_the_outer_one_does_not_trap(tmp_path):
    ran = under(["+compress"], TESLA_TRACE, "+log", "true")
    assert ran.status == 3
    assert ran.err.count("\n") == 1 and "(2) calls" in ran.err
    assert under(["+compress", "+dummy"], TESLA_TRACE, "+log", "true").status == 0
    assert under(["+compress"], TESLA_TRACE, "+compress", "true").status == 0


def test_a_plain_user_inside(web, tmp_path):
    """With rights of its own: it may answer no calls but of those with no more rights."""
    tmp_path.chmod(0o777)
    command = [*plain.tesla_trace(), "+log", *GET, web.url()]
    ran = under(["+log"], *command)
    assert (ran.status, ran.out) == (0, HELLO.decode()), ran
    assert "curl[" in ran.err and len(flows(ran.log)) == 1


# ---- those who are no tracers ----

HOSTILE = """\
import array, json, os, socket, struct, sys
name = os.environ["TESLA_TRACE_OUTER"]
def door():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(10)
    s.connect("\\0" + name)
    return s
def said(s):
    try: return s.recv(1 << 16)
    except OSError as wrong: return b""
{do}
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as s: print("connected")
"""

SOME = 'json.dumps({"closed": False, "heirs": [], "rules": [["connect", []]]}).encode()'


NONSENSE = f"""\
for data in (b"garbage", b"{{}}", b"[" * 60000, b"x" * 150000):
    s = door(); s.send(data); print(said(s))
for rules in (1, [1], [["connect", [[9]]]], [["connect", [["a"]]]], [["connect", 5]]):
    s = door(); s.send(json.dumps({{"closed": 1, "heirs": [], "rules": rules}}).encode())
    print(said(s))
s = door(); s.send({SOME}); print(said(s))
s.send(b'short'); print(said(s))
"""

MANY = """\
many = [door() for _ in range(200)]; print(said(many[-1]))
for each in many[::2]: each.close()
"""

NOBODYS = f"""\
s = door(); s.send({SOME}); assert b"why" in said(s)
for n in range(5000):
    s.send(bytes([b"prfs"[n % 4]]) + os.urandom(20))
for n in range(100):
    socket.send_fds(s, [struct.pack('=cQqI', b'i', n, 1, 0)], [0] * 9)
    assert struct.unpack("=qi", said(s)) == (0, 3)
for n in range(5000):  # it never hears the answers
    try: s.send(struct.pack('=cQqI', b'w', n, 1, 0), socket.MSG_DONTWAIT)
    except OSError: break
t = door(); t.send(b'again')
"""


@pytest.mark.parametrize("do", [NONSENSE, MANY, NOBODYS], ids=["nonsense", "many", "nobody's"])
def test_hostile(do, web, tmp_path):
    """Whatever one of the program's says, its own calls and others' go on through the handlers."""
    python = (sys.executable, "-c", HOSTILE.replace("{do}", do), web.port)
    ran = under(["+log"], *python)
    assert ran.status == 0 and ran.out.endswith("connected\n"), ran
    assert len(flows(ran.log)) == 1
    assert not any("bug" in line for line in ran.log)


def test_not_for_processes_that_are_not_below(web, tmp_path):
    """One that takes part answers the calls of its children, and not its own or its parent's."""
    do = f"""\
s = door(); s.send({SOME}); print(said(s))
if os.fork():
    os.wait()
else:
    os._exit(0)
"""
    python = (sys.executable, "-c", HOSTILE.replace("{do}", do), web.port)
    ran = under(["+log"], *python)
    assert ran.out.endswith("connected\n") and len(flows(ran.log)) == 1


def test_nobody_passes_by_an_inner_one(web, proxy, tmp_path):
    """Not by asking the one around it."""
    do = f"""\
name = sys.argv[2]
s = door(); s.send({SOME}); print(said(s))
"""
    code = HOSTILE.replace("{do}", do)
    shell = f'{TESLA_TRACE} --log {tmp_path}/log +log {sys.executable} -c "$1" {web.port} ' + (
        "$TESLA_TRACE_OUTER"
    )
    ran = under(["+log"], "sh", "-c", shell, "sh", code)
    assert "another one between" in ran.out and ran.out.endswith("connected\n")
    assert len(flows(read(tmp_path / "log"))) == 1


def test_not_from_outside(tmp_path, web):
    """The name is not secret, but only for processes below; others start without."""
    with start(TESLA_TRACE, "+dummy", "sh", "-c", "echo $TESLA_TRACE_OUTER; cat") as outer:
        name = outer.until("\n").strip()
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as door:
            door.connect("\0" + name)
            door.settimeout(10)
            with contextlib.suppress(ConnectionError):
                assert door.recv(99) == b""
        ran = under(["+log"], *GET, web.url(), TESLA_TRACE_OUTER=name)
        assert (ran.status, len(flows(ran.log))) == (0, 1)
    ran = under(["+log"], *GET, web.url(), TESLA_TRACE_OUTER=name)
    assert (ran.status, len(flows(ran.log))) == (0, 1)


# ---- by ptrace ----


def test_inside_by_ptrace(web, tmp_path):
    """Where the inner one traces its program, it is a program to the outer one all the same."""
    log = tmp_path / "log"
    ran = under(["+log"], TESLA_TRACE, "--trap=ptrace", "--log", log, "+log", *GET, web.url())
    assert (ran.status, ran.out) == (0, HELLO.decode())
    assert len(flows(read(log))) == len(flows(ran.log)) == 1
    assert any("stops at every system call" in line for line in read(log))


def test_inside_one_that_traces(web, tmp_path):
    """What the outer one traces is relayed as well."""
    log = tmp_path / "log"
    nested = inner(log, "+log")
    ran = under(["+log"], *nested, *GET, web.url(), ours=["--trap=ptrace"])
    assert (ran.status, ran.out) == (0, HELLO.decode())
    assert len(flows(read(log))) == len(flows(ran.log)) == 1


def test_where_the_variable_was_taken_away(web, tmp_path):
    """Then it traces, as where the listener is somebody else's."""
    log = tmp_path / "log"
    nested = ["env", "-u", "TESLA_TRACE_OUTER", *inner(log, "+log")]
    ran = under(["+log"], *nested, *GET, web.url())
    assert (ran.status, ran.out) == (0, HELLO.decode())
    assert len(flows(read(log))) == len(flows(ran.log)) == 1
    assert any("another seccomp listener" in line for line in read(log))
