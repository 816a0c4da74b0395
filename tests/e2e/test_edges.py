"""Ends that come at awkward moments, the same natively and under us."""

import os
import signal
import sys

import pytest

from tests.e2e.process import TESLA_TRACE, run, start, under

natively_and_under = pytest.mark.parametrize(
    "words", [[], [TESLA_TRACE, "+dummy"]], ids=["natively", "under us"]
)

RESET_BEFORE_ACCEPT = """\
import os, select, socket, struct
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
client.close()
poll = select.poll()
poll.register(listener, select.POLLIN)
print(poll.poll(5000) != [])
flow, _ = listener.accept()
try:
    print(flow.recv(1))
except ConnectionResetError as error:
    print(error)
print(poll.poll(100))
"""

SHUT_LISTENER = """\
import select, socket
listener = socket.create_server(("127.0.0.1", 0))
poll = select.poll()
poll.register(listener, 0)
print(poll.poll(0))
listener.shutdown(socket.SHUT_RDWR)
print([state & select.POLLHUP for _, state in poll.poll(5000)])
try:
    listener.accept()
except OSError as error:
    print(error)
"""

BOTH_WAYS_SHUT = """\
import socket
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
client.shutdown(socket.SHUT_RDWR)
print(client.getsockname()[0], client.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == 2)
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
try:
    client.connect(listener.getsockname())
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("code", [RESET_BEFORE_ACCEPT, SHUT_LISTENER, BOTH_WAYS_SHUT])
def test_same_as_natively(code):
    native = run(sys.executable, "-c", code)
    traced = under(["+log", "+dummy"], sys.executable, "-c", code)
    assert native.status == 0 and traced == native
    assert traced.log, "nothing went through the handlers"


@natively_and_under
@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGQUIT, signal.SIGTERM])
def test_a_signal_ends_a_thread_that_accepts(words, number):
    code = """\
import resource, socket
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with socket.create_server(("127.0.0.1", 0)) as listener:
    print("ready", flush=True)
    listener.accept()
"""
    with start(*words, sys.executable, "-c", code) as program:
        program.until("ready")
        program.send(number)
        assert program.wait() == -number


@natively_and_under
def test_a_stopped_program_that_is_killed_is_gone(words):
    with start(*words, "sh", "-c", "echo $$; kill -STOP $$; echo never") as program:
        pid = int(program.until("\n"))
        os.waitid(os.P_PID, program.pid, os.WSTOPPED | os.WNOWAIT)
        os.kill(pid, signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL


def test_nothing_is_left_of_sockets_that_were_never_connected():
    code = """\
import contextlib, os, socket, time

def one(number):
    with socket.socket() as new:
        if number % 3:
            new.bind(("127.0.0.1", 0))
        if number % 3 == 2:
            new.listen()

def left():
    with socket.socket():  # a trapped call: what has been closed before is served first
        return len(os.listdir(f"/proc/{os.getppid()}/fd")), watches()

def watches():
    found = 0
    for fd in os.listdir(directory := f"/proc/{os.getppid()}/fdinfo"):
        with contextlib.suppress(FileNotFoundError), open(f"{directory}/{fd}") as info:
            found += info.read().count("inotify wd:")
    return found

for number in range(3):  # what is made once
    one(number)
before = left()
for number in range(1000):
    one(number)
end = time.monotonic() + 10
while (more := any(map(int.__gt__, left(), before))) and time.monotonic() < end:
    pass  # a copy of a socket is kept for a moment
print(not more, before[1])
"""
    assert under(["+dummy"], sys.executable, "-c", code).out == "True 1\n"
