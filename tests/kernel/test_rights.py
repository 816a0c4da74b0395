"""Whose a thread is; taking on other rights, and another namespace, and coming back."""

import os
import socket
from weakref import WeakValueDictionary

import pytest

from tesla_trace.kernel import namespaces, rights
from tesla_trace.kernel.namespaces import Namespace
from tesla_trace.kernel.rights import Own, Rights

NOBODY = 65534
NET_BIND = 1 << 10
SO_NETNS_COOKIE = 71

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have other rights")


def status():
    lines = (line.partition(":") for line in open("/proc/self/status"))
    fields = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh")
    return {name: value.split() for name, _, value in lines if name in fields}


def bound(port):
    """Whether we may have a port below 1024."""
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.77", port))
        except PermissionError:
            return False
        return True


def test_whose_a_thread_is():
    me = os.getpid()
    pidfd = os.pidfd_open(me)
    process, ids = rights.of(me, pidfd)
    assert process == me and ids[:2] == (os.geteuid(), os.getegid())
    assert ids.capabilities == int(status()["CapEff"][0], 16) == Own().capabilities
    assert Own().ids == ids and Own().may_be(ids)
    assert sorted(rights.groups(me)) == sorted(os.getgroups())
    os.close(pidfd)


def test_of_a_thread_that_is_gone():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        rights.of(pid, pidfd)
    os.close(pidfd)


@root
@pytest.mark.parametrize(
    ("uid", "gid", "groups", "capabilities", "may"),
    [
        (NOBODY, NOBODY, (), 0, False),
        (NOBODY, 0, (5, 6), NET_BIND, True),
        (0, 0, (), 0, False),
        (0, NOBODY, (0,), NET_BIND, True),
    ],
)
def test_there_and_back(uid, gid, groups, capabilities, may):
    own = Own()
    before = status()
    with Rights(own, uid, gid, groups, capabilities):
        inside = status()
        assert bound(77) == may
    assert status() == before
    assert inside["Uid"] == ["0", str(uid), "0", str(uid)]
    assert inside["Gid"] == ["0", str(gid), "0", str(gid)]
    assert tuple(map(int, inside["Groups"])) == groups
    assert int(inside["CapEff"][0], 16) == capabilities
    assert [inside[name] for name in ("CapPrm", "CapInh")] == [before["CapPrm"], before["CapInh"]]


@root
def test_back_after_an_error():
    before = status()
    with pytest.raises(RuntimeError), Rights(Own(), NOBODY, NOBODY, (), 0):
        raise RuntimeError
    assert status() == before


@root
def test_back_when_it_cannot_be_entered():
    before = status()
    with pytest.raises(OSError), Rights(Own(), 2**32 - 2, 0, tuple(range(70000)), 0):
        pass
    assert status() == before


def test_they_are_kept_for_as_long_as_somebody_has_them():
    kept = WeakValueDictionary({"same": Rights(Own(), NOBODY, NOBODY, (), 0)})
    assert "same" not in kept
    one = kept["same"] = Rights(Own(), NOBODY, NOBODY, (), 0)
    assert kept["same"] is one


@root
def test_another_namespace():
    """Its sockets are made there, and we are back at home; the file is closed with the last use."""
    said, say = os.pipe()
    heard, hear = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            libc_unshare()
            os.write(say, b"!")
            os.read(heard, 1)
        finally:
            os._exit(0)
    os.read(said, 1)
    home = namespaces.of(os.getpid())
    there = Namespace(file := namespaces.of(pid), home)
    inside = os.readlink(f"/proc/{pid}/ns/net")
    before = os.readlink("/proc/thread-self/ns/net")
    with there:
        assert os.readlink("/proc/thread-self/ns/net") == inside != before
        one = socket.socket()
    assert os.readlink("/proc/thread-self/ns/net") == before
    with socket.socket() as other:
        cookies = [each.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8) for each in (one, other)]
    assert cookies[0] != cookies[1]
    assert there.owner == os.readlink("/proc/self/ns/user")
    one.close()
    del there
    with pytest.raises(OSError):
        os.fstat(file)
    os.write(hear, b"!")
    os.waitpid(pid, 0)
    for fd in (said, say, heard, hear, home):
        os.close(fd)


def libc_unshare():
    from tesla_trace.kernel.libc import check, libc

    check(libc.unshare(namespaces.CLONE_NEWNET))
