import errno
import os
import select
import socket
import threading

import pytest

from tesla_trace.kernel import proc
from tesla_trace.kernel.members import Below
from tesla_trace.kernel.thread import KEPT, Thread, Threads, borrow_from_anyone
from tests.kernel.child import child


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def name(file):
    return b"socket:[%d]" % os.fstat(file.fileno()).st_ino


def test_descriptors_of_another(listener):
    with child(lambda say: say("ready")) as other:
        other.says()
        thread = Threads()[other.pid]
        assert thread.process == other.pid
        assert thread.name() == proc.name(other.pid)
        assert thread.file(listener.fileno()) == name(listener)
        with socket.socket(fileno=thread.borrow(listener.fileno(), name(listener))) as copy:
            assert copy.getsockname() == listener.getsockname()
        for missing in (1023, 100_000):
            with pytest.raises(FileNotFoundError):
                thread.file(missing)
            with pytest.raises(OSError):
                thread.borrow(missing, name(listener))
        with pytest.raises(OSError) as wrong:
            thread.borrow(listener.fileno(), b"socket:[1]")  # it has become another
        assert wrong.value.errno == errno.EBADF
        thread.close()


def test_its_epoll_descriptors_are_looked_for_when_there_may_be_others():
    me = Thread(threading.get_native_id())
    with select.epoll() as one:
        assert one.fileno() in me.epolls(1)
        with select.epoll() as other:
            number = other.fileno()
            assert number not in me.epolls(1)
            assert {one.fileno(), number} <= set(me.epolls(2))
        assert number not in me.epolls(2)
    me.close()


def test_one_that_has_gone():
    with child(lambda say: say("ready")) as other:
        other.says()
        thread = Thread(other.pid)
        assert thread.file(0)
        assert thread.name()
    with pytest.raises(OSError):
        thread.file(0)
    with pytest.raises(OSError):
        thread.name()
    thread.close()
    with pytest.raises(OSError):
        Thread(other.pid)


def test_the_one_of_long_ago_is_forgotten():
    before = len(os.listdir("/proc/self/fd"))
    threads = Threads()
    with child(lambda say: say("ready")) as other:
        other.says()
        first = threads[other.pid]
        assert threads[other.pid] is first
        threads.forget(other.pid)
        threads.forget(other.pid)
        assert threads[other.pid] is not first
        threads.forget(other.pid)
    assert len(os.listdir("/proc/self/fd")) == before
    assert KEPT > 1


def test_borrowing_from_anyone(listener):
    pair = socket.socketpair()
    with child(lambda say: say("ready")) as other:
        other.says()
        pair[1].close()  # the child has it still
        with pytest.raises(OSError):
            borrow_from_anyone(b"socket:[0]", Below())
        with socket.socket(fileno=borrow_from_anyone(name(listener), Below())) as copy:
            assert copy.getsockname() == listener.getsockname()
    pair[0].close()
