"""The process that the shell started."""

import subprocess
import sys

import pytest

BEGINS = """
import os, signal, socket
from tesla_trace.kernel.signals import Signals
from tesla_trace.supervision.front import EXITED, WORD, _Front

signals = Signals()
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
front = _Front(0, ours, signals, False)
theirs.send(WORD.pack(EXITED, 3 << 8))
"""

A_SIGNAL_AFTER_IT = """
theirs.close()
os.kill(os.getpid(), signal.SIGTERM)
front._signalled()
front.run()
"""

A_SIGNAL_THAT_NOBODY_READS = """
os.kill(os.getpid(), signal.SIGTERM)
front._signalled()
theirs.close()
front.run()
"""


@pytest.mark.parametrize(
    "then", [A_SIGNAL_AFTER_IT, A_SIGNAL_THAT_NOBODY_READS], ids=["after it", "nobody reads"]
)
def test_a_signal_that_is_seen_before_the_last_word(then):
    """What cannot be passed on any more does not keep it from being heard."""
    command = [sys.executable, "-c", BEGINS + then]
    assert subprocess.run(command, timeout=20).returncode == 3


A_STOP_OF_ONE_WHO_IS_TRACED = """
import ctypes, os, signal, socket
from tesla_trace.kernel.signals import Signals
from tesla_trace.supervision.front import EXITED, STARTED, STILL, STOPPED, WORD, _Front

program = os.fork()
if program == 0:
    ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
    os.kill(os.getpid(), signal.SIGSTOP)
os.waitpid(program, os.WUNTRACED)
signals = Signals()
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
front = _Front(0, ours, signals, False)
for what, value in (STARTED, program), (STOPPED, signal.SIGTSTP), (STILL, 0), (EXITED, 3 << 8):
    theirs.send(WORD.pack(what, value))
for _ in range(3):
    front._told()
assert WORD.unpack(theirs.recv(WORD.size)) == (STILL, 1)
os.kill(program, signal.SIGKILL)
front.run()
"""


def test_it_is_not_for_the_front_to_say_whether_one_who_is_traced_is_stopped():
    """It would not go on by itself if it stopped for what is over."""
    command = [sys.executable, "-c", A_STOP_OF_ONE_WHO_IS_TRACED]
    assert subprocess.run(command, timeout=20).returncode == 3
