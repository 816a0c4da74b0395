import os
import socket

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


def test_close_on_exec():
    with socket.socket() as one:
        assert proc.closes_on_exec(os.getpid(), one.fileno())
        os.set_inheritable(one.fileno(), True)
        assert not proc.closes_on_exec(os.getpid(), one.fileno())
