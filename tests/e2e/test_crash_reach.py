"""What a program reaches when the supervisor has died, by whatever call."""

import json
import os
import socket

import pytest

from tests.e2e.test_crash import go, python, under

TRIES = """\
import array, ctypes, errno, json, os, select, socket, sys
outside, port, inherited_tcp, inherited_udp = map(int, sys.argv[1:])
there = ("127.0.0.1", port)
libc = ctypes.CDLL(None, use_errno=True)

def check(result):
    if result < 0: raise OSError(ctypes.get_errno(), "")

def made(*kind): socket.socket(*kind).close()

def tcp():
    return early.pop()

def by_path():
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("")
        server.listen()
        client.connect(server.getsockname())
        with server.accept()[0] as accepted:
            client.sendmsg([b"x"])
            assert accepted.recv(1) == b"x"
            one, other = os.pipe()
            kind = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [one]))
            client.sendmsg([b"x"], [kind])

def netlink():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as flow:
        flow.bind((0, 0))
        flow.sendto(bytes([20, 0, 0, 0, 18, 0, 1, 3]) + bytes(12), (0, 0))
        flow.recv(65536)

def nonblocking():
    one = tcp()
    one.setblocking(False)
    try: one.connect(there)
    except BlockingIOError:
        select.select([], [one], [], 10)
        number = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number: raise OSError(number, "")

def options():
    one = tcp()
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

def named():
    one = tcp()
    one.bind(("127.0.0.1", 0))
    assert one.getsockname()[1]

def by_fastopen(): tcp().sendto(b"GET / HTTP/1.0\\r\\n\\r\\n", socket.MSG_FASTOPEN, there)

def taken(): check(libc.syscall(438, os.pidfd_open(os.getpid()), inherited_udp, 0))

def traced(): check(libc.ptrace(0x4206, outside, 0, 0))

inherited = socket.socket(fileno=inherited_tcp), socket.socket(fileno=inherited_udp)
early = [socket.socket() for _ in range(6)]
late = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
connected = socket.create_connection(there)
listener = socket.create_server(("127.0.0.1", 0))
listener.setblocking(False)
print("ready", flush=True)
sys.stdin.readline()
said = {}
for name, does in {
    "socket": lambda: made(),
    "udp": lambda: made(socket.AF_INET, socket.SOCK_DGRAM),
    "raw": lambda: made(socket.AF_INET, socket.SOCK_RAW, 1),
    "vsock": lambda: made(socket.AF_VSOCK),
    "connect": lambda: tcp().connect(there),
    "connect, non-blocking": nonblocking,
    "bind": named,
    "options": options,
    "fast open": by_fastopen,
    "sendto": lambda: late[0].sendto(b"x", there),
    "udp connect": lambda: late[1].connect(there),
    "recvfrom": lambda: late[2].recvfrom(1),
    "recvfrom again": lambda: late[2].recvfrom(1, socket.MSG_DONTWAIT),
    "accept": lambda: listener.accept(),
    "accept again": lambda: listener.accept(),
    "peer of what broke": lambda: connected.getpeername(),
    "what broke": lambda: connected.recv(1) or connected.getsockopt(1, socket.SO_ERROR),
    "inherited connect": lambda: inherited[0].connect(there),
    "inherited sendto": lambda: inherited[1].sendto(b"x", there),
    "inherited sendmsg": lambda: inherited[1].sendmsg([b"x"], [], 0, there),
    "pidfd_getfd": taken,
    "ptrace": traced,
    "unix": by_path,
    "netlink": netlink,
    "no descriptor": lambda: check(libc.connect(999, b"", 0)),
    "no socket": lambda: check(libc.sendto(0, b"x", 1, 0, b"x" * 16, 16)),
}.items():
    try: does()
    except OSError as wrong: said[name] = errno.errorcode.get(wrong.errno, str(wrong))
    else: said[name] = "done"
print(json.dumps(said))
"""

ALWAYS = {
    "accept": "ENETDOWN",
    "accept again": "EAGAIN",
    "peer of what broke": "ENOTCONN",
    "what broke": "done",
    "unix": "done",
    "netlink": "done",
    "no descriptor": "EBADF",
    "no socket": "ENOTSOCK",
}
OPEN = {
    **ALWAYS,
    "recvfrom": "ENETDOWN",
    "recvfrom again": "EAGAIN",
}
"""All others are done."""
CLOSED = {
    **ALWAYS,
    "options": "ENOTSUP",
    "peer of what broke": "done",
    "pidfd_getfd": "EPERM",
    "ptrace": "EPERM",
}
"""All others fail with ENETDOWN."""


@pytest.mark.parametrize(("policy", "rest"), [("open", "done"), ("closed", "ENETDOWN")])
def test_what_is_reached(policy, rest, web):
    said = outcomes(policy, web, handlers=["+dummy"])
    expected = OPEN if policy == "open" else CLOSED
    assert said == {name: expected.get(name, rest) for name in said}


def test_what_is_reached_where_nothing_may_pass(web):
    said = outcomes("", web, handlers=["--datapath=splice", "+socks=127.0.0.1:9"])
    assert said == {name: CLOSED.get(name, "ENETDOWN") for name in said}


def outcomes(policy, web, handlers):
    asked = list(web.asked)
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        outside = os.fork()
        if outside == 0:
            os.execvp("sleep", ["sleep", "60"])
        words = python(TRIES, outside, web.port, tcp.fileno(), udp.fileno())
        fds = [tcp.fileno(), udp.fileno()]
        try:
            with under(policy, *words, handlers=handlers, fds=fds) as us:
                us.crash()
                go(us.program)
                out, err = us.program.communicate()
        finally:
            os.kill(outside, 9)
            os.waitpid(outside, 0)
    assert len(out.splitlines()) == 2, err
    if policy != "open":
        assert web.asked == asked
    return json.loads(out.splitlines()[1])
