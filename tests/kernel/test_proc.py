import os
import signal
import socket

import pytest

from tesla_trace.kernel import proc
from tests.kernel.child import child


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


def test_close_on_exec():
    with socket.socket() as one:
        assert proc.closes_on_exec(os.getpid(), one.fileno())
        os.set_inheritable(one.fileno(), True)
        assert not proc.closes_on_exec(os.getpid(), one.fileno())


def test_rights():
    assert proc.rights_are_ours(os.getpid())
    assert not proc.rights_are_ours(2**22)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give something up")
@pytest.mark.parametrize("give_up", [lambda: os.setegid(65534), lambda: os.setgroups([65534])])
def test_rights_given_up(give_up):
    def other(say):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        say("before")
        signal.sigwait([signal.SIGUSR1])
        give_up()
        say("after")

    with child(other) as it:
        assert it.says() == "before"
        assert proc.rights_are_ours(it.pid)
        os.kill(it.pid, signal.SIGUSR1)
        assert it.says() == "after"
        assert not proc.rights_are_ours(it.pid)
