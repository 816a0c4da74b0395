"""A stopped thread is given descriptors, and nothing else is left in it."""

import contextlib
import errno
import fcntl
import os
import resource
import socket

import pytest

from tesla_trace.kernel import proc
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.give import give
from tesla_trace.kernel.ptrace.inject import Injection
from tesla_trace.kernel.thread import open_pidfd
from tests.kernel.child import child
from tests.kernel.ptrace.test_inject import stopped


def given(pid, fd, **how):
    pidfd = open_pidfd(pid)
    try:
        with Injection(pid) as on:
            return give(on, pidfd, fd, **how)
    finally:
        os.close(pidfd)


def files(pid):
    return dict(proc.files(pid))


@pytest.fixture
def one():
    with child(lambda say: say("there")) as made:
        assert made.says() == "there"
        stopped(made.pid)
        yield made.pid
        requests.detach(made.pid)


@pytest.fixture
def ours():
    one, other = socket.socketpair()
    with one, other:
        yield one


def test_as_the_lowest_free_number(one, ours):
    before = files(one)
    lowest = min(set(range(len(before) + 1)) - set(before))
    for cloexec in (True, False):
        number = given(one, ours.fileno(), cloexec=cloexec, at=None)
        name = f"socket:[{os.fstat(ours.fileno()).st_ino}]"
        assert number == lowest
        assert files(one) == {**before, number: name}
        assert proc.closes_on_exec(one, number) == cloexec
        with Injection(one) as on:
            on.call("close", number)
    assert files(one) == before


def test_in_the_place_of_another(one, ours):
    before = files(one)
    assert given(one, ours.fileno(), cloexec=False, at=2) == 2
    after = files(one)
    assert after.pop(2) == f"socket:[{os.fstat(ours.fileno()).st_ino}]"
    assert after == {fd: name for fd, name in before.items() if fd != 2}


@pytest.fixture
def full(one):
    """One that has all descriptors that it may have by its soft limit; gives that."""
    hard = resource.prlimit(one, resource.RLIMIT_NOFILE)[1]
    limit = max(files(one)) + 1
    resource.prlimit(one, resource.RLIMIT_NOFILE, (limit, hard))
    with Injection(one) as on, contextlib.suppress(OSError):
        while True:
            on.call("fcntl", 0, fcntl.F_DUPFD, 0)
    assert set(files(one)) == set(range(limit))
    return limit


def test_where_there_is_no_room(one, full, ours):
    before = files(one)
    with pytest.raises(OSError) as raised:
        given(one, ours.fileno(), cloexec=False, at=None)
    assert raised.value.errno == errno.EMFILE
    assert files(one) == before


def test_the_last_number_below_a_soft_limit(one, full, ours):
    limits = full + 1, resource.prlimit(one, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(one, resource.RLIMIT_NOFILE, limits)
    assert given(one, ours.fileno(), cloexec=False, at=None) == full
    assert set(files(one)) == set(range(full + 1))
    assert resource.prlimit(one, resource.RLIMIT_NOFILE) == limits
