"""A stopped thread makes calls for us, and knows nothing of it."""

import errno
import os
import select
import signal
import threading

import pytest

from tesla_trace.kernel import memory
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.inject import Injection
from tesla_trace.kernel.trap import Gone
from tests.kernel.child import child


def stopped(pid):
    """Seize a thread, and have it stop."""
    requests.seize(pid, requests.SYSGOOD)
    requests.interrupt(pid)
    status = os.waitpid(pid, requests.WALL)[1]
    assert requests.event(status) == requests.EVENT_STOP


def test_a_thread_that_waits_makes_a_call_and_waits_on():
    read, write = os.pipe()

    def reads(say):
        say(str(os.getpid()))
        say(os.read(read, 9).decode())

    with child(reads) as one:
        assert one.says() == str(one.pid)
        stopped(one.pid)
        before = requests.registers(one.pid)
        with Injection(one.pid) as on:
            assert on.call("getpid") == one.pid
            fd = on.call("dup", read)
            assert os.readlink(f"/proc/{one.pid}/fd/{fd}") == os.readlink(f"/proc/self/fd/{read}")
            assert on.call("close", fd) == 0
        assert requests.registers(one.pid) == before
        requests.detach(one.pid)
        os.write(write, b"all of it")
        assert one.says() == "all of it"


def test_a_thread_that_runs_makes_a_call():
    def spins(say):
        say("spins")
        while True:
            pass

    with child(spins) as one:
        assert one.says() == "spins"
        for _ in range(20):
            stopped(one.pid)
            before = requests.registers(one.pid)
            with Injection(one.pid) as on:
                assert on.call("getpid") == one.pid
            assert requests.registers(one.pid) == before
            requests.detach(one.pid)


def test_errors_are_those_of_the_call():
    with child(lambda say: say("there")) as one:
        assert one.says() == "there"
        stopped(one.pid)
        with Injection(one.pid) as on, pytest.raises(OSError) as raised:
            on.call("close", 12345)
        assert raised.value.errno == errno.EBADF
        with Injection(one.pid) as on, pytest.raises(OSError) as raised:
            on.call("no_such_call")
        assert raised.value.errno == errno.ENOSYS
        requests.detach(one.pid)


def test_there_is_room_for_what_a_call_points_at():
    with child(lambda say: say("there")) as one:
        assert one.says() == "there"
        stopped(one.pid)
        with Injection(one.pid) as on:
            at = on.room(8)
            assert on.call("pipe2", at, os.O_CLOEXEC) == 0
            fds = memory.read(one.pid, at, 8)
            for fd in (fds[:4], fds[4:]):
                assert on.call("close", int.from_bytes(fd, "little")) == 0
        requests.detach(one.pid)


def test_signals_wait_until_it_is_over():
    def waits(say):
        signal.signal(signal.SIGUSR1, lambda number, frame: say("handled"))
        say("waits")

    with child(waits) as one:
        assert one.says() == "waits"
        stopped(one.pid)
        with Injection(one.pid) as on:
            os.kill(one.pid, signal.SIGUSR1)
            assert on.call("getpid") == one.pid
        requests.resume(one.pid)
        status = os.waitpid(one.pid, requests.WALL)[1]
        assert os.WSTOPSIG(status) == signal.SIGUSR1
        requests.detach(one.pid, signal.SIGUSR1)
        assert one.says() == "handled"


def test_a_stop_meanwhile_is_not_lost():
    with child(lambda say: say("there")) as one:
        assert one.says() == "there"
        stopped(one.pid)
        with Injection(one.pid) as on:
            assert on.call("getpid") == one.pid
            os.kill(one.pid, signal.SIGSTOP)
            assert on.call("getppid") == os.getpid()
        requests.resume(one.pid)
        status = os.waitpid(one.pid, requests.WALL)[1]
        assert os.WSTOPSIG(status) == signal.SIGSTOP
        requests.detach(one.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, one.pid, os.WSTOPPED | os.WNOWAIT)
        os.kill(one.pid, signal.SIGCONT)


def test_a_thread_that_is_killed_is_gone():
    with child(lambda say: say("there")) as one:
        assert one.says() == "there"
        stopped(one.pid)
        with pytest.raises(Gone), Injection(one.pid) as on:
            os.kill(one.pid, signal.SIGKILL)
            os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
            on.call("getpid")
        assert on.ended is None, "its status is still to be had"


def test_a_call_that_begins_again_has_all_of_its_arguments():
    """poll(2) waits by what is left of its time, which the kernel keeps (restart_syscall(2))."""

    def polls(say):
        say("polls")
        ready = select.poll()
        ready.register(read, select.POLLIN)
        say(str(ready.poll(60_000) == [(read, select.POLLIN)]))

    read, write = os.pipe()
    with child(polls) as one:
        assert one.says() == "polls"
        for _ in range(5):
            stopped(one.pid)
            with Injection(one.pid) as on:
                on.call("getpid")
            requests.detach(one.pid)
        os.write(write, b"!")
        assert one.says() == "True"


def test_one_thread_of_several():
    def threads(say):
        other = threading.Thread(target=signal.pause, daemon=True)
        other.start()
        say(str(other.native_id))

    with child(threads) as one:
        thread = int(one.says())
        stopped(thread)
        with Injection(thread) as on:
            assert on.call("gettid") == thread
        requests.detach(thread)
