"""The process that the shell started."""

import subprocess
import sys

LAST_WORD_AND_A_SIGNAL = """
import os, signal, socket
from tesla_trace.kernel.signals import Signals
from tesla_trace.supervision.front import EXITED, WORD, _Front

signals = Signals()
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
theirs.send(WORD.pack(EXITED, 3 << 8))
theirs.close()
os.kill(os.getpid(), signal.SIGCONT)
front = _Front(0, ours, signals, False)
front._signalled()
front.run()
"""


def test_a_signal_that_is_seen_before_the_last_word():
    """What cannot be passed on any more does not keep it from being heard."""
    command = [sys.executable, "-c", LAST_WORD_AND_A_SIGNAL]
    assert subprocess.run(command, timeout=20).returncode == 3
