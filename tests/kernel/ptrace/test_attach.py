"""Putting a process under a filter while it runs, and what it notices of that."""

import os
import select
import signal
import statistics
import threading
import time

import pytest

from tesla_trace.flow import Stack
from tesla_trace.kernel import filter as filters
from tesla_trace.kernel import proc
from tesla_trace.kernel.filter import Rule
from tesla_trace.kernel.libc import libc, number_of
from tesla_trace.kernel.notify import NotifyTrap
from tesla_trace.kernel.ptrace import installing, requests, stopping
from tesla_trace.kernel.ptrace.attach import have_called, nudge
from tesla_trace.kernel.ptrace.installing import install_in
from tesla_trace.syscalls import table
from tests.kernel.child import child

BPF = filters.build([Rule("getsockname"), Rule("accept4"), Rule("accept")])
NUMBERS = filters.numbers([Rule("getsockname"), Rule("accept4"), Rule("accept")])


def busy(say):
    """Two threads that never wait."""

    def spin():
        while True:
            os.getpid()

    threading.Thread(target=spin, daemon=True).start()
    say("ready")
    spin()


def polling(say):
    """One that waits for an epoll, by the bare call: Python would try again after EINTR."""
    with select.epoll() as epoll:
        say("ready")
        say(str(libc.epoll_wait(epoll.fileno(), bytes(12), 1, 500)))


def test_all_threads_are_under_it_and_go_on():
    with child(busy) as mine:
        mine.says()
        before = sorted(links(mine.pid))
        listener = install_in(mine.pid, BPF)
        assert not os.get_inheritable(listener)
        os.close(listener)
        modes = {
            line
            for thread in os.listdir(f"/proc/{mine.pid}/task")
            for line in open(f"/proc/{mine.pid}/task/{thread}/status")
            if line.startswith(("Seccomp:", "TracerPid:"))
        }
        assert {"Seccomp:\t2\n", "TracerPid:\t0\n"} == modes
        assert sorted(links(mine.pid)) == before


def links(process):
    folder = f"/proc/{process}/fd"
    return [os.readlink(f"{folder}/{each}") for each in os.listdir(folder)]


def test_a_second_listener_cannot_be_had_and_nothing_is_left_behind():
    with child(lambda say: say("ready")) as mine:
        mine.says()
        listener = install_in(mine.pid, BPF)
        before = open(f"/proc/{mine.pid}/maps").read(), links(mine.pid)
        with pytest.raises(OSError, match="busy"):
            install_in(mine.pid, BPF)
        assert (open(f"/proc/{mine.pid}/maps").read(), links(mine.pid)) == before
        os.close(listener)


def test_one_that_is_gone():
    with child(lambda say: say("ready")) as mine:
        mine.says()
    with pytest.raises(ProcessLookupError):
        install_in(mine.pid, BPF)


def test_epoll_wait_does_not_end_with_eintr():
    waits = ("epoll_wait", "epoll_pwait")
    with child(polling) as mine:
        mine.says()
        while proc.call(mine.pid) not in map(number_of, waits):
            signal.sigtimedwait([], 0.01)
        os.close(install_in(mine.pid, BPF))
        nudge(mine.pid, waits)
        assert mine.says() == "0"


def test_a_call_that_is_trapped_is_served_meanwhile():
    with child(lambda say: say("ready")) as mine:
        mine.says()
        trap = NotifyTrap(install_in(mine.pid, BPF), NUMBERS)
        seen = []

        def serve():
            with select.epoll() as ready:
                ready.register(trap.fileno(), select.EPOLLIN)
                if ready.poll(0.001):
                    stop = trap.next()
                    seen.append((stop.call, stop.args[0]))
                    stop.proceed()

        have_called(mine.pid, "getsockname", [(0, 0, 0), (7, 0, 0)], serve)
        assert seen == [("getsockname", 0), ("getsockname", 7)]
        trap.close()


def test_a_process_that_does_not_stop_is_given_up_in_time(monkeypatch):
    """As one in vfork(2) does until its child has executed something."""
    monkeypatch.setattr(installing, "PATIENCE", 0.05)

    def wait_for_child(say):
        say("ready")
        libc.syscall(56, 0x4000 | signal.SIGCHLD, 0, 0, 0, 0) or signal.pause()

    with child(wait_for_child) as mine:
        mine.says()
        while proc.state(mine.pid) != "D":
            signal.sigtimedwait([], 0.01)
        with pytest.raises(TimeoutError):
            stopping.stopped(mine.pid, 0.05).__enter__()
        for each in proc.descendants(mine.pid):
            os.kill(each, signal.SIGKILL)


MEDIAN, EVER = 0.002, 0.005
"""Seconds that a thread is to be stopped: at the most in the median, and ever."""

SLOW = 10
"""How much slower this machine may be, or busier: the figures are in bench/README.md."""


def test_the_stop_is_short(monkeypatch):
    took, began = [], 0.0

    def interrupt(thread, real=requests.interrupt):
        nonlocal began
        began = began or time.monotonic()
        real(thread)

    def detach(thread, signal=0, real=requests.detach):
        nonlocal began
        real(thread, signal)
        took.append(time.monotonic() - began)
        began = 0.0

    monkeypatch.setattr(requests, "interrupt", interrupt)
    monkeypatch.setattr(requests, "detach", detach)
    rules = table.rules(Stack([]), closed=True)
    bpf = filters.build(rules)
    for _ in range(20):
        with child(busy) as mine:
            mine.says()
            os.close(install_in(mine.pid, bpf))
    print(f"median {1000 * statistics.median(took):.2f} ms, longest {1000 * max(took):.2f} ms")
    assert statistics.median(took) < SLOW * MEDIAN and max(took) < SLOW * EVER
