"""The supervisor dies: nothing of the program hangs, spins, or goes where it must not."""

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys

import pytest

from fixtures.peers.ports import free_port
from tesla_trace.kernel.libc import number_of
from tests.e2e.attaching import attached
from tests.e2e.peers import answers
from tests.e2e.process import (
    TESLA_TRACE,
    alive,
    children,
    eventually,
    keeper_of,
    start,
    supervisor_of,
)
from tests.e2e.test_servers import nginx
from tests.e2e.test_terminal import full, terminal  # noqa: F401

BUSY = 0.2
"""Of one CPU: who uses more of it for a while does not rest."""

WINDOW = 0.5
"""Seconds that are looked at."""

SOME = "open", "closed"
each_policy = pytest.mark.parametrize("policy", SOME)


class Us:
    """A program under us, whose supervisor can be killed."""

    def __init__(self, program):
        self.program = program
        self.keeper = keeper_of(program.pid)
        self.supervisor = supervisor_of(program.pid)

    def crash(self):
        os.kill(self.supervisor, signal.SIGKILL)
        eventually("it is dead", lambda: not alive(self.supervisor))
        eventually(
            "its children are the keeper's", lambda: self.supervisor not in below(self.keeper)
        )

    def gone(self):
        eventually("the keeper has gone", lambda: not alive(self.keeper))


@contextlib.contextmanager
def under(policy, *words, handlers=("+dummy",), ready="ready", fds=()):
    """Run a program until it says that it is ready."""
    chosen = [f"--on-crash={policy}"] if policy else []
    with start(TESLA_TRACE, *chosen, *handlers, *words, fds=fds) as program:
        program.until(ready)
        yield Us(program)


def python(code, *words):
    return sys.executable, "-c", code, *words


def go(program):
    program.process.stdin.write(b"\n")
    program.process.stdin.flush()


def below(pid):
    found = children(pid)
    for each in list(found):
        found += below(each)
    return found


def ticks(pids):
    """CPU time of processes, in seconds."""
    used = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/stat") as file:
                used += sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
    return used / os.sysconf("SC_CLK_TCK")


def rests(us):
    """Whether the program and its keeper use little of a CPU for a while."""
    all_of_them = [us.keeper, *below(us.keeper)]
    before = ticks(all_of_them)
    with contextlib.suppress(subprocess.TimeoutExpired):
        us.program.wait(WINDOW)
    return ticks(all_of_them) - before < BUSY * WINDOW


# ---- what is said, and what is returned ----

READS = "echo ready; read line; exit 7"


@pytest.mark.parametrize(("policy", "status"), [("open", 7), ("closed", 7), ("kill", 125)])
def test_what_is_returned(policy, status):
    with under(policy, "sh", "-c", READS) as us:
        us.crash()
        if policy != "kill":
            go(us.program)
        _, err = us.program.communicate()
        assert us.program.wait() == status
        (line,) = err.splitlines()
        assert "the supervisor was killed by signal 9" in line
        us.gone()


@pytest.mark.parametrize(
    ("policy", "status", "said"),
    [
        ("open", 7, "no new sockets where that is under our filter"),
        ("closed", -signal.SIGKILL, "so the program that it traced is killed"),
        ("kill", 125, "so the program is killed"),
    ],
)
def test_what_is_returned_with_ptrace(policy, status, said):
    """Nobody can keep what is trapped so: it is native, or dies with us."""
    with under(policy, "sh", "-c", READS, handlers=["--trap=ptrace", "+dummy"]) as us:
        us.crash()
        with contextlib.suppress(BrokenPipeError):
            go(us.program)
        _, err = us.program.communicate()
        assert us.program.wait() == status and said in err, err
        us.gone()


def test_a_signal_that_ends_the_program_still_ends_us():
    with under("open", "sh", "-c", "echo ready; exec sleep 1000") as us:
        us.crash()
        us.program.send(signal.SIGTERM)
        assert us.program.wait() == -signal.SIGTERM
        us.gone()


def test_killing_the_front_still_kills_the_program():
    with under("open", "sh", "-c", "echo ready; exec sleep 1000") as us:
        us.crash()
        (program,) = below(us.keeper)
        us.program.send(signal.SIGKILL)
        eventually("the program has gone", lambda: not alive(program))
        us.gone()


def test_killing_the_supervisor_and_the_keeper_kills_the_program():
    with under("open", "sh", "-c", "echo ready; exec sleep 1000") as us:
        (program,) = children(us.supervisor)
        os.kill(us.keeper, signal.SIGKILL)
        os.kill(us.supervisor, signal.SIGKILL)
        assert us.program.wait() == 125
        assert not alive(program)


def test_with_kill_daemons_are_killed_too():
    code = "(setsid sh -c 'echo $$ >&3; exec sleep 1000' &) 3>&1; echo ready; exec sleep 1000"
    with start(TESLA_TRACE, "--on-crash=kill", "+dummy", "sh", "-c", code) as program:
        said = [program.until("\n"), program.until("\n")]
        (daemon,) = (int(each) for each in said if each != "ready\n")
        Us(program).crash()
        assert program.wait() == 125
        assert not alive(daemon)


def test_nothing_is_said_where_nothing_died():
    with under("kill", "sh", "-c", READS) as us:
        go(us.program)
        assert us.program.communicate() == ("ready\n", "")
        assert us.program.wait() == 7
        us.gone()


def test_a_failure_of_our_own_is_the_same(tmp_path):
    code = (
        "import socket; print('ready', flush=True); input(); s = socket.socket()\n"
        + """
try: s.connect(("127.0.0.1", 9))
except OSError: pass
print(socket.socket().getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN), flush=True)
"""
    )
    with under("open", *python(code), handlers=["+fixtures.handlers:Exits"]) as us:
        go(us.program)
        out, err = us.program.communicate()
        assert (us.program.wait(), out) == (0, "ready\n2\n")
        assert "the supervisor failed" in err


# ---- calls that wait ----

CONNECTS = """\
import errno, socket, sys
with socket.socket() as flow:
    print("ready", flush=True)
    try: flow.connect(("127.0.0.1", int(sys.argv[1])))
    except OSError as wrong: print(errno.errorcode[wrong.errno])
    else: print("connected to", flow.getpeername()[1])
"""
ACCEPTS = """\
import errno, socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print("ready", flush=True)
    try: listener.accept()
    except OSError as wrong: print(errno.errorcode[wrong.errno])
"""


def waits(us, call):
    """Wait until the program is held in a call."""
    (program,) = below(us.supervisor)

    def holds():
        with open(f"/proc/{program}/syscall") as file:
            return file.read().split()[0] == str(number_of(call))

    eventually("the call waits", holds)


@each_policy
def test_a_connect_that_waits(policy, full, tmp_path):  # noqa: F811
    with under(policy, *python(CONNECTS, full)) as us:
        waits(us, "connect")
        us.crash()
        if policy == "open":
            with socket.socket(socket.AF_UNIX) as channel:
                channel.connect(str(tmp_path / "late"))
                channel.sendall(b"r")
                out, _ = us.program.communicate()
            assert out == f"ready\nconnected to {full}\n"
        else:
            assert us.program.communicate()[0] == "ready\nENETDOWN\n"
        assert us.program.wait() == 0
        us.gone()


@each_policy
def test_an_accept_that_waits(policy):
    with under(policy, *python(ACCEPTS)) as us:
        waits(us, "accept4")
        us.crash()
        assert us.program.communicate()[0] == "ready\nENETDOWN\n"
        us.gone()


MANY = """\
import socket, threading
def wait():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begun.release()
        try: listener.accept()
        except OSError: ended.release()
begun, ended = threading.Semaphore(0), threading.Semaphore(0)
for _ in range(100): threading.Thread(target=wait).start()
for _ in range(100): begun.acquire()
print("ready", flush=True)
input()
for _ in range(100): ended.acquire()
print("all")
"""


def test_a_hundred_calls_that_wait():
    with under("open", *python(MANY)) as us:
        us.crash()
        go(us.program)
        assert us.program.communicate()[0].endswith("all\n")


# ---- programs that go on ----

CLIENT = """\
import errno, socket, sys
def talk():
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as flow:
        flow.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        while flow.recv(65536): pass
    return "served"
def outcome(does, *words):
    try: return does(*words)
    except OSError as wrong: return errno.errorcode[wrong.errno]
idle = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
early = socket.socket()
print(talk(), "ready", flush=True)
input()
print(outcome(talk), outcome(early.connect, ("127.0.0.1", int(sys.argv[1]))), idle.recv(10))
"""


@pytest.mark.parametrize(
    ("policy", "handlers", "outcome"),
    [
        ("open", ["+dummy"], "served None b''"),
        ("closed", ["+dummy"], "ENETDOWN ENETDOWN b''"),
        ("", ["+dummy"], "served None b''"),
        ("", ["--strict", "+dummy"], "ENETDOWN ENETDOWN b''"),
        ("", ["--datapath=splice", "+socks=127.0.0.1:9"], "ENETDOWN ENETDOWN b''"),
    ],
)
def test_a_client(policy, handlers, outcome, web):
    asked = len(web.asked)
    with under(policy, *python(CLIENT, web.port), handlers=handlers) as us:
        us.crash()
        go(us.program)
        out, err = us.program.communicate()
        assert out.splitlines()[1] == outcome, err
        assert len(web.asked) - asked == (2 if "served" in outcome else 1)


TIRELESS = """\
import socket
print("ready", flush=True)
while True:
    try: socket.create_connection(("127.0.0.1", 9))
    except OSError: pass
"""
TIRELESS_SERVER = """\
import socket
listener = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
while True:
    try: listener.accept()
    except OSError: pass
"""
EDGES = """\
import select, socket
listener = socket.create_server(("127.0.0.1", 0))
listener.setblocking(False)
watched = select.epoll()
watched.register(listener, select.EPOLLIN | TRIGGER)
print("ready", flush=True)
while True:
    watched.poll()
    try: listener.accept()
    except OSError: pass
"""
ASYNCIO = """\
import asyncio
async def serve(reader, writer): writer.write(await reader.read(100))
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
ASYNCIO_UDP = """\
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    print("ready", flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""
UDP = """\
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
    flow.bind(("127.0.0.1", 0))
    print("ready", flush=True)
    while True:
        try: CALL
        except OSError: pass
"""
RESTLESS = {
    "client": ("closed", TIRELESS),
    "accept": ("open", TIRELESS_SERVER),
    "accept closed": ("closed", TIRELESS_SERVER),
    "epoll": ("open", EDGES.replace("TRIGGER", "0")),
    "epoll closed": ("closed", EDGES.replace("TRIGGER", "0")),
    "epoll edges": ("open", EDGES.replace("TRIGGER", "select.EPOLLET")),
    "asyncio": ("open", ASYNCIO),
    "asyncio closed": ("closed", ASYNCIO),
    "asyncio udp": ("open", ASYNCIO_UDP),
    "asyncio udp closed": ("closed", ASYNCIO_UDP),
}


@pytest.mark.parametrize(("policy", "code"), RESTLESS.values(), ids=RESTLESS)
def test_programs_rest(policy, code):
    with under(policy, *python(code)) as us:
        us.crash()
        eventually("it rests", functools.partial(rests, us))
        us.program.send(signal.SIGTERM)
        assert us.program.wait() == -signal.SIGTERM
        us.gone()


@each_policy
@pytest.mark.parametrize("call", ["flow.recv(100)", "flow.recvfrom(100)"])
def test_receivers_of_datagrams_rest(policy, call):
    with under(policy, *python(UDP.replace("CALL", call))) as us:
        eventually("the keeper has the other end", lambda: sockets_of(us.keeper) > 2)
        us.crash()
        eventually("it rests", functools.partial(rests, us))
        us.program.send(signal.SIGTERM)
        assert us.program.wait() == -signal.SIGTERM
        us.gone()


def sockets_of(pid):
    names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    return sum(name.startswith("socket:") for name in names)


@pytest.mark.needs("nginx")
@each_policy
def test_nginx_rests(policy, tmp_path):
    words = [TESLA_TRACE, "--log", tmp_path / "log", f"--on-crash={policy}", "+dummy"]
    with nginx(words, tmp_path) as (port, server):
        us = Us(server)
        us.crash()
        eventually("it rests", functools.partial(rests, us))
        assert not answers(port)
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        us.gone()
    assert "the supervisor was killed by signal 9" in (tmp_path / "log").read_text()


@pytest.mark.needs("redis-server")
@each_policy
def test_redis_rests(policy):
    words = ("redis-server", "--port", free_port(), "--bind", "127.0.0.1", "--save", "")
    with under(policy, *words, ready="eady to accept connections") as us:
        us.crash()
        eventually("it rests", functools.partial(rests, us))
        us.program.send(signal.SIGTERM)
        assert us.program.wait() == 0
        us.gone()


# ---- processes that ran before us ----

ATTACHED = """\
import errno, socket, sys
def outcome(does):
    try: does()
    except OSError as wrong: return errno.errorcode[wrong.errno]
print("ready", flush=True)
for line in sys.stdin:
    print(outcome(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])))), flush=True)
"""


@pytest.mark.parametrize(("policy", "said"), [("open", "None"), ("closed", "ENETDOWN")])
def test_a_process_that_we_attached_to(policy, said, web):
    with start(*python(ATTACHED, web.port)) as program:
        program.until("ready")
        with attached(program.pid, f"--on-crash={policy}", "+dummy") as tracer:
            go(program)
            assert program.until("\n") == "None\n"
            us = Us(tracer)
            us.crash()
            assert tracer.wait() == 125
            go(program)
            assert program.until("\n") == f"{said}\n"
            assert program.communicate() and program.wait() == 0
            us.gone()


# ---- whom the front does not wait for ----

DAEMON = """\
import os, socket, sys
if os.fork(): os._exit(3)
os.setsid()
import signal
print(os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])
try: socket.socket(); said = "native"
except OSError as wrong: said = wrong.strerror
with open(sys.argv[1], "w") as file: file.write(said)
signal.sigwait([signal.SIGUSR1])
"""


@pytest.mark.parametrize(("policy", "said"), [("open", "native"), ("closed", "Network is down")])
def test_a_daemon_that_was_left_behind(policy, said, tmp_path):
    block = "import signal; signal.pthread_sigmask(0, [signal.SIGUSR1])\n"
    words = python(block + DAEMON, tmp_path / "said")
    with start(TESLA_TRACE, f"--on-crash={policy}", "+dummy", *words) as program:
        daemon = int(program.until("\n"))
        us = Us(program)
        assert program.wait() == 3
    assert alive(us.keeper) and alive(daemon)
    us.crash()
    os.kill(daemon, signal.SIGUSR1)
    eventually("it says", lambda: (tmp_path / "said").exists())
    eventually("it says", lambda: (tmp_path / "said").read_text() == said)
    os.kill(daemon, signal.SIGUSR1)
    us.gone()


def test_the_keeper_holds_on_to_nothing():
    """Not to the pipe, not to the folder, not to the group of the shell's job."""
    words = python("import signal; signal.pthread_sigmask(0, [signal.SIGUSR1])\n" + DAEMON, "-")
    with start(TESLA_TRACE, "+dummy", *words) as program:
        daemon = int(program.until("\n"))
        us = Us(program)
        assert program.wait() == 3
    files = {
        os.readlink(f"/proc/{us.keeper}/fd/{fd}") for fd in os.listdir(f"/proc/{us.keeper}/fd")
    }
    assert not any(each.startswith(("pipe:", "/dev/pts", "/dev/tty")) for each in files), files
    assert os.readlink(f"/proc/{us.keeper}/cwd") == "/"
    assert os.getpgid(us.keeper) == us.keeper
    assert memory(us.keeper) < 8 * 1024 * 1024
    us.crash()
    assert memory(us.keeper) < 13 * 1024 * 1024
    os.kill(daemon, signal.SIGKILL)
    us.gone()


def memory(pid):
    """Bytes of memory that nobody shares with it, whoever else runs."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        sizes = [line.split()[1] for line in file if line.startswith("Private_")]
    return sum(map(int, sizes)) * 1024


# ---- job control ----


def test_ctrl_z_still_works(terminal):  # noqa: F811
    # Nothing that forks again and again: who waits in vfork(2) for a child that the Ctrl-Z has
    # stopped stops never, natively too.
    shell = terminal(TESLA_TRACE, "+dummy", "sh", "-c", "echo ready; exec sleep 1000")
    shell.until("ready")
    (front,) = children(shell.pid)
    Us(type("Front", (), {"pid": front})).crash()
    shell.until("the supervisor was killed")
    for _ in range(2):
        shell.type("\x1a")
        shell.until("shell: stopped 20")
        shell.go_on()
    shell.type("\x03")
    shell.until("shell: killed 2")
