"""Job control through a terminal: a shell of 30 lines, a pseudo-terminal, and a job under us."""

import contextlib
import os
import pty
import signal
import socket
import sys
import termios

import pytest

from tesla_trace.kernel import proc
from tests.e2e.backends import BACK_ENDS
from tests.e2e.process import ROOT, TESLA_TRACE, children, eventually, lines, start

SHELL = """\
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
terminal = 0

def foreground(group):
    os.tcsetpgrp(terminal, group)

def wait(pid):
    _, status = os.waitpid(pid, os.WUNTRACED)
    foreground(os.getpgrp())
    if os.WIFSTOPPED(status):
        return f"stopped {os.WSTOPSIG(status)}"
    return f"killed {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {status >> 8}"

pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    foreground(os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    said = wait(pid)
    print("shell:", said, flush=True)
    if not said.startswith("stopped"):
        break
    assert sys.stdin.readline() == "fg\\n"
    foreground(pid)
    os.killpg(pid, signal.SIGCONT)
    print("shell: continued", flush=True)
"""


class Terminal:
    """A terminal in which the shell runs one job."""

    def __init__(self, *job):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # The kernel signals first, and then drops what is on its way (isig() of n_tty.c): by
            # then the shell may have said that the job has stopped.
            modes = termios.tcgetattr(0)
            modes[3] |= termios.NOFLSH
            termios.tcsetattr(0, termios.TCSANOW, modes)
            words = [sys.executable, "-c", SHELL, *map(str, job)]
            os.execv(words[0], words)
        self.lines = lines(self.fd)
        self.seen = ""

    def until(self, text):
        for line in self.lines:
            self.seen += line
            if text in line:
                return line
        raise AssertionError(self.seen)

    def type(self, text):
        os.write(self.fd, text.encode())

    def go_on(self):
        """Continue the job; it has the terminal when this returns."""
        self.type("fg\n")
        self.until("shell: continued")


@pytest.fixture
def terminal():
    open_ = []

    def make(*job):
        open_.append(Terminal(*job))
        return open_[-1]

    yield make
    for each in open_:
        for job in children(each.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job, signal.SIGKILL)
        os.close(each.fd)
        os.kill(each.pid, signal.SIGKILL)
        os.waitpid(each.pid, 0)


IDLE = "echo ready; while :; do sleep 0.02; done"

TRAPPED = {
    by: [TESLA_TRACE, *words, "--log", "/dev/null", "+dummy"] for by, words in BACK_ENDS.items()
}
UNDER = {"natively": [], **TRAPPED}
natively_and_under = pytest.mark.parametrize("under", UNDER.values(), ids=UNDER)


@natively_and_under
def test_interrupted(terminal, under):
    shell = terminal(*under, "sh", "-c", f"trap 'echo caught; exit 3' INT; {IDLE}")
    shell.until("ready")
    shell.type("\x03")
    shell.until("caught")
    shell.until("shell: exit 3")


@natively_and_under
def test_interrupted_by_default(terminal, under):
    shell = terminal(*under, "sh", "-c", "echo ready; exec sleep 1000")
    shell.until("ready")
    shell.type("\x03")
    shell.until("shell: killed 2")


@natively_and_under
def test_quit(terminal, under):
    shell = terminal(*under, "sh", "-c", "ulimit -c 0; echo ready; exec sleep 1000")
    shell.until("ready")
    shell.type("\x1c")
    shell.until("shell: killed 3")


@natively_and_under
def test_stopped_and_continued(terminal, under):
    shell = terminal(*under, "sh", "-c", "echo ready; read line; echo got $line; exit 4")
    shell.until("ready")
    for _ in range(3):
        shell.type("\x1a")
        shell.until("shell: stopped 20")
        shell.go_on()
    shell.type("word\n")
    shell.until("got word")
    shell.until("shell: exit 4")


@natively_and_under
def test_the_end_of_input(terminal, under):
    shell = terminal(*under, "sh", "-c", "echo ready; cat; echo done")
    shell.until("ready")
    shell.type("\x04")
    shell.until("done")
    shell.until("shell: exit 0")


ACCEPTS = """\
import os, resource, socket, sys, threading
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
listener = socket.create_server(("127.0.0.1", 0))
def wait():
    print("ready", os.getpid(), flush=True)
    listener.accept()
"""

CONNECTS = """\
import os, resource, socket, sys, threading
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def wait():
    print("ready", os.getpid(), flush=True)
    socket.create_connection(("127.0.0.1", int(sys.argv[1])))
"""

LEADER = "wait()"
THREAD = """
threading.Thread(target=wait, daemon=True).start()
while True:  # for Python handles a signal in this thread, and the kernel may choose the other one
    threading.Event().wait(0.1)
"""


@pytest.fixture
def full(tmp_path):
    """The port of a native server whose backlog is full."""
    with start(sys.executable, ROOT / "fixtures/peers/late.py", tmp_path / "late") as peer:
        port = int(peer.until("\n"))
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(str(tmp_path / "late"))
            channel.sendall(b"f")
            channel.recv(1)
        yield port


@pytest.mark.parametrize("who", [LEADER, THREAD], ids=["leader", "thread"])
@pytest.mark.parametrize("what", [ACCEPTS, CONNECTS], ids=["accept", "connect"])
@pytest.mark.parametrize("under", TRAPPED.values(), ids=TRAPPED)
class TestCallThatWaits:
    """It is held by us, and must not hold the signals of the terminal."""

    def waiting(self, terminal, under, what, who, port):
        shell = terminal(*under, sys.executable, "-c", what + who, port)
        self.program = int(shell.until("ready").split()[1])
        return shell

    def waits(self):
        """Whether all of it sleeps: a signal just before the call would not end that, natively."""
        return all(proc.state(each) in ("S", "D") for each in proc.threads(self.program))

    def test_stopped_and_interrupted(self, terminal, under, what, who, full):
        shell = self.waiting(terminal, under, what, who, full)
        for _ in range(2):
            shell.type("\x1a")
            shell.until("shell: stopped 20")
            shell.go_on()
        eventually("the call waits again", self.waits)
        shell.type("\x03")
        shell.until("KeyboardInterrupt")
        shell.until("shell: killed 2")

    def test_quit(self, terminal, under, what, who, full):
        shell = self.waiting(terminal, under, what, who, full)
        shell.type("\x1c")
        shell.until("shell: killed 3")
