"""The kernel's own socket in the program's hands: when it gets it, when not, how it is then."""

import os
import signal
import socket
import sys

import pytest

from tests.e2e.process import TESLA_TRACE, eventually, keeper_of, run, start, supervisor_of, under
from tests.e2e.rungs import HANDED_BACK, SPLICED, ways

ECHO = """\
import socket, threading
def serve(flow):
    while data := flow.recv(65536):
        flow.sendall(data)
    flow.close()
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
"""

BLOCKING = "flow = socket.create_connection(there)"
POLLING = """\
flow = socket.socket()
flow.setblocking(False)
flow.connect_ex(there)
poll = select.poll()
poll.register(flow, select.POLLOUT)
poll.poll(5000)
assert flow.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
flow.setblocking(True)"""
ACCEPTING = """\
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(16))
flow, _ = listener.accept()
import threading
def echo():
    while data := client.recv(65536):
        client.sendall(data)
threading.Thread(target=echo, daemon=True).start()"""
WAYS = {"blocking": BLOCKING, "polling": POLLING, "accepting": ACCEPTING}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)

PROGRAM = """\
import os, select, socket, sys
there = ("127.0.0.1", int(sys.argv[1]))
{way}
{then}
"""


@pytest.fixture(scope="module")
def echo():
    """The port of a server that sends back what it gets."""
    with start(sys.executable, "-c", ECHO) as server:
        yield server.until("\n").strip()


def program(way, then):
    return PROGRAM.format(way=way, then=then)


def stop_everything_of_ours(front):
    """Stop all processes but the program itself, and give what has been stopped."""
    ours = [keeper_of(front), supervisor_of(front)]
    for each in ours:
        os.kill(each, signal.SIGSTOP)
        eventually("it is stopped", lambda each=each: state(each) == "T")
    return ours


def state(process):
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


@each_way
def test_bytes_do_not_pass_us_any_more(way, echo):
    """They go on while we are stopped."""
    then = """\
print("ready", flush=True)
sys.stdin.readline()
sent = bytes(100_000)
flow.sendall(sent)
got = b""
while len(got) < len(sent):
    got += flow.recv(65536)
print(got == sent, flush=True)
sys.stdin.readline()"""
    words = [TESLA_TRACE, *HANDED_BACK, sys.executable, "-c", program(way, then), echo]
    with start(*words) as ran:
        ran.until("ready")
        stopped = stop_everything_of_ours(ran.pid)
        assert stopped
        ran.process.stdin.write(b"\n")
        ran.process.stdin.flush()
        assert ran.until("\n") == "True\n"
        for each in stopped:
            os.kill(each, signal.SIGCONT)
        ran.communicate("\n")
        assert ran.wait() == 0


def check(code, *words, tmp_path, back=True, handlers=HANDED_BACK):
    """The program does the same as natively, and its flow was handed back, or was not."""
    report = tmp_path / "report"
    native = run(sys.executable, "-c", code, *words)
    traced = under(handlers, sys.executable, "-c", code, *words, ours=["--report", report])
    assert native.status == 0, native
    assert traced == native
    assert (ways(report) == {"handed back"}) == back


EPOLL = """\
edge = select.EPOLLIN | select.EPOLLOUT | getattr(select, "{how}")
epoll = select.epoll()
flow = socket.socket()
flow.setblocking(False)
epoll.register(flow, edge)
epoll.poll(0)
epoll.modify(flow, edge)
flow.connect_ex(there)
while not any(event & select.EPOLLOUT for _, event in epoll.poll(5)):
    pass
assert flow.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
"""


@pytest.mark.parametrize("how", ["EPOLLET", "EPOLLIN", "EPOLLRDHUP"])
def test_an_epoll_from_before_connect_has_its_events(how, echo, tmp_path):
    then = """\
number = flow.fileno()
flow.send(b"hello")
while True:
    (fd, event), = epoll.poll(5)
    if event & select.EPOLLIN:
        break
print(fd == number, flow.recv(100))
flow.shutdown(socket.SHUT_WR)
while True:
    (fd, event), = epoll.poll(5)
    if event & (select.EPOLLIN | select.EPOLLRDHUP):
        break
print(fd == number, flow.recv(100))"""
    check(program(EPOLL.format(how=how), then), echo, tmp_path=tmp_path)


def test_an_event_for_once_that_has_come_stays_the_last(echo, tmp_path):
    then = """\
print(epoll.poll(0))
flow.shutdown(socket.SHUT_RDWR)
print(epoll.poll(0.2))
epoll.modify(flow, select.EPOLLIN)
print(len(epoll.poll(5)))"""
    code = program(EPOLL.format(how="EPOLLONESHOT"), then)
    check(code, echo, tmp_path=tmp_path, back=False)


@each_way
def test_what_was_set_before_holds(way, echo, tmp_path):
    then = """\
import fcntl, struct
for level, option, size in [(1, socket.SO_RCVTIMEO, 16), (1, socket.SO_RCVLOWAT, 4),
        (1, socket.SO_OOBINLINE, 4), (1, socket.SO_LINGER, 8), (6, socket.TCP_NODELAY, 4),
        (1, socket.SO_KEEPALIVE, 4), (1, socket.SO_DOMAIN, 4), (1, socket.SO_ERROR, 4)]:
    print(option, flow.getsockopt(level, option, size))
print(fcntl.fcntl(flow, fcntl.F_GETFL), os.get_inheritable(flow.fileno()))
try:
    flow.recv(1)
except BlockingIOError as late:
    print(late)"""
    settings = """\
import struct
class Set(socket.socket):
    def __init__(self, *words, **more):
        super().__init__(*words, **more)
        if "fileno" not in more:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 50_000))
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 3)
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 2))
socket.socket = Set
"""
    check(program(settings + way, then), echo, tmp_path=tmp_path)


PLAIN = "socket.socket(); flow.connect(there)"


@each_way
def test_copies_of_the_descriptor_are_the_same_socket(way, echo, tmp_path):
    way = way.replace("socket.create_connection(there)", PLAIN).replace(
        "flow.connect", "copy = flow.dup(); flow.connect"
    )
    then = """\
copy = globals().get("copy") or flow.dup()
flow.send(b"one")
print(copy.recv(3))
copy.send(b"two")
print(flow.recv(3), copy.getpeername() == flow.getpeername())
flow.close()
copy.send(b"three")
print(copy.recv(5))"""
    check(program(way, then), echo, tmp_path=tmp_path)


@pytest.mark.parametrize("way", [BLOCKING, POLLING], ids=["blocking", "polling"])
def test_a_socket_that_another_process_has_too_is_not_handed_back(way, echo, tmp_path):
    way = (
        way.replace("socket.create_connection(there)", PLAIN)
        .replace(
            "flow.connect",
            """\
read, write = os.pipe()
if (child := os.fork()) == 0:
    os.read(read, 1)
    flow.setblocking(True)
    print("child:", flow.send(b"hello"), flow.recv(5), flush=True)
    os._exit(0)
flow.connect""",
        )
        .replace("; \\\nread", "\nread")
    )
    then = """\
os.write(write, b"x")
os.waitpid(child, 0)
flow.setblocking(True)
flow.send(b"parent")
print("parent:", flow.recv(6), flow.getpeername()[1] == there[1])"""
    way = way.replace("socket.socket(); read", "socket.socket()\nread")
    check(program(way, then), echo, tmp_path=tmp_path, back=False)


def test_a_socket_that_another_thread_waits_on_is_not_handed_back_then(echo, tmp_path):
    then = """\
import threading
flow = socket.socket()
flow.setblocking(False)
flow.connect_ex(there)
select.select([], [flow], [], 5)
told = []
def wait():
    told.append(select.select([flow], [], [], 10)[0] == [flow])
waiter = threading.Thread(target=wait)
waiter.start()
def waits():
    with open(f"/proc/self/task/{waiter.native_id}/syscall") as file:
        return file.read().split()[1:2] == [hex(flow.fileno() + 1)]
while not waits():
    pass
print(flow.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
flow.send(b"hello")
waiter.join()
print(told, flow.recv(5), flush=True)
os._exit(0)  # in its next call it would be, as nobody waits any more"""
    check(program("", then), echo, tmp_path=tmp_path, back=False)


def test_a_socket_with_signals_is_not_handed_back(echo, tmp_path):
    way = BLOCKING.replace("socket.create_connection(there)", PLAIN).replace(
        "flow.connect",
        "import fcntl, signal; signal.signal(signal.SIGIO, lambda *_: None)\n"
        "fcntl.fcntl(flow, fcntl.F_SETOWN, os.getpid())\n"
        "flow.connect",
    )
    then = """\
fcntl.fcntl(flow, fcntl.F_SETFL, os.O_ASYNC)
flow.send(b"hello")
print(flow.recv(5), fcntl.fcntl(flow, fcntl.F_GETOWN) == os.getpid())"""
    check(program(way, then), echo, tmp_path=tmp_path, back=False)


AT_BIRTH = ["--datapath=splice", "+fixtures.handlers:Aside"]


@pytest.mark.parametrize(
    "words", [SPLICED, AT_BIRTH, ["--datapath=handlers", *HANDED_BACK], ["+dummy"]]
)
def test_it_is_not_handed_back_unless_wanted(words, echo, tmp_path):
    code = program(BLOCKING, "flow.send(bytes(100000)); flow.recv(1)")
    check(code, echo, tmp_path=tmp_path, back=False, handlers=words)


@pytest.mark.needs("microsocks")
@pytest.mark.parametrize("way", [BLOCKING, POLLING], ids=["blocking", "polling"])
def test_the_program_sees_whom_it_asked_for_and_not_the_proxy(way, echo, proxy, tmp_path):
    then = """\
print(flow.getpeername() == there, flow.getsockname()[0])
if (child := os.fork()) == 0:
    print(flow.getpeername() == there, flush=True)
    os._exit(0)
os.waitpid(child, 0)
try:
    flow.connect(there)
except OSError as wrong:
    print(wrong)
flow.send(b"hello")
print(flow.recv(5))"""
    handlers = [f"+socks=127.0.0.1:{proxy.port}", "-loopback"]
    check(program(way, then), echo, tmp_path=tmp_path, handlers=handlers)
    assert f"connected to 127.0.0.1:{echo}" in proxy.log


def test_a_handler_goes_on_answering(echo, tmp_path):
    then = """\
print(flow.getsockopt(socket.IPPROTO_IP, socket.IP_TTL), flow.getpeername()[0])
flow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print(flow.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)"""
    report = tmp_path / "report"
    words = [sys.executable, "-c", program(BLOCKING, then), echo]
    ran = under(["+fixtures.handlers:Answers"], *words, ours=["--report", report])
    assert ran.out == "77 192.0.2.77\nTrue\n"
    assert ways(report) == {"handed back"}


@pytest.mark.needs("microsocks")
def test_what_is_connected_anew_goes_through_the_proxy_again(echo, proxy, tmp_path):
    then = """\
import ctypes
libc = ctypes.CDLL(None)
for _ in range(3):
    print(libc.connect(flow.fileno(), bytes(16), 16), flow.connect_ex(there))
    flow.send(b"hello")
    print(flow.recv(5))"""
    handlers = [f"+socks=127.0.0.1:{proxy.port}", "-loopback"]
    native = run(sys.executable, "-c", program(BLOCKING, then), echo)
    assert under(handlers, sys.executable, "-c", program(BLOCKING, then), echo) == native
    assert proxy.log.count(f"connected to 127.0.0.1:{echo}") == 4


def test_a_proxy_that_says_more_than_it_was_asked(echo, tmp_path):
    """What came with its answer is the program's, who has it before what comes later."""
    from fixtures.peers.socks_server import SocksServer

    with socket.create_server(("127.0.0.1", 0)) as eager, SocksServer() as proxy:
        port = eager.getsockname()[1]
        then = "print(flow.recv(100, socket.MSG_WAITALL))"
        words = [sys.executable, "-c", program(BLOCKING, then), str(port)]
        handlers = [f"+socks=127.0.0.1:{proxy.port}", "-loopback"]
        with start(TESLA_TRACE, *handlers, *words) as ran:
            flow, _ = eager.accept()
            with flow:
                flow.sendall(b"x" * 50)
                flow.sendall(b"y" * 50)
            out, _ = ran.communicate()
    assert out == f"{b'x' * 50 + b'y' * 50}\n"


@pytest.mark.parametrize(
    ("words", "there"),
    [([], False), (["--datapath=splice"], True), (["--datapath=handlers"], True)],
)
def test_who_may_be_looked_into_where_nothing_may_go_past(words, there):
    """The rule that guards what was handed back, and what it costs."""
    look = ["readlink", f"/proc/{os.getpid()}/exe"]
    assert run(*look).status == 0
    assert (under(["+socks=127.0.0.1:9"], *look, ours=words).status == 0) == there
    assert under(HANDED_BACK, *look).status == 0


def test_a_socket_on_its_way_to_another_process_is_connected_all_the_same(echo):
    """It arrives as it was sent: without a connection."""
    code = """\
import array, os, socket, sys
there = ("127.0.0.1", int(sys.argv[1]))
near, far = socket.socketpair()
flow = socket.socket()
near.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [flow.fileno()]))])
flow.connect(there)
flow.send(b"hello")
print(flow.recv(5), flush=True)
_, ancillary, *_ = far.recvmsg(1, 1024)
sent = socket.socket(fileno=array.array("i", ancillary[0][2])[0])
print(sent.getpeername() == there)  # a trapped call: it is seen whose it is
sent.send(b"again")
print(sent.recv(5))
"""
    assert under(HANDED_BACK, sys.executable, "-c", code, echo).out == "b'hello'\nTrue\nb'again'\n"
