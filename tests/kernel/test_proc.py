import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from tesla_trace.kernel import proc


def test_ourselves():
    assert proc.status(os.getpid())["Pid"] == str(os.getpid())
    assert proc.process(os.getpid()) == os.getpid()
    assert os.getpid() in proc.threads(os.getpid())
    assert proc.name(os.getpid())
    assert proc.state(os.getpid()) == "R"


def test_nobody():
    nobody = 2**22
    with pytest.raises(OSError):
        proc.status(nobody)
    assert proc.threads(nobody) == []
    assert proc.name(nobody) == ""
    assert proc.state(nobody) == ""
    assert proc.closes_on_exec(nobody, 0) is False


def test_who_goes_while_his_descriptors_are_listed():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    folder = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert proc._listed(folder) == []
    os.close(folder)


def test_close_on_exec():
    with socket.socket() as one:
        assert proc.closes_on_exec(os.getpid(), one.fileno())
        os.set_inheritable(one.fileno(), True)
        assert not proc.closes_on_exec(os.getpid(), one.fileno())


def test_long_files_are_read_to_their_end():
    """One that is made of lines comes in pieces: of so many children, in several."""
    program = (
        "import os, signal\nfor _ in range(1000): os.fork() or signal.pause()\nprint(flush=1)\n"
    )
    command = [sys.executable, "-c", program + "input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as parent:
        try:
            assert parent.stdout.readline() == b"\n"
            assert len(proc.descendants(parent.pid)) == 1000
            assert proc.threads(parent.pid) == [parent.pid]
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


def test_threads_are_all_found():
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert {os.getpid(), thread.native_id} <= set(proc.threads(os.getpid()))
    finally:
        over.set()
        thread.join()
    assert proc.threads(0) == []
