"""A program's sockets have the rights of the program, whatever ours are."""

import os
import sys

import pytest

from tests.e2e.process import run, under

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give up rights")

TRY = """\
import ctypes, encodings.idna, os, socket, threading
def tries(who):
    for what, do in {
        "any port": lambda s: s.bind(("127.0.0.1", 0)),
        "a low port": lambda s: s.bind(("127.0.0.9", 81)),
        "SO_MARK": lambda s: s.setsockopt(socket.SOL_SOCKET, 36, 5),
        "SO_PRIORITY": lambda s: s.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 7),
        "IP_TRANSPARENT": lambda s: s.setsockopt(socket.IPPROTO_IP, 19, 1),
        "TCP_NODELAY": lambda s: s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    }.items():
        with socket.socket() as one:
            try:
                do(one)
                print(who, what, "ok", flush=True)
            except OSError as error:
                print(who, what, error, flush=True)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, 1): print(who, "raw ok")
    except OSError as error:
        print(who, "raw", error)
def owners(what, one, peer=0):
    ends = [":%04X" % port for port in (one.getsockname()[1], peer)]
    table = [line.split() for line in open("/proc/net/tcp")]
    # Others, and connections that are over, may have the port, too; with another peer.
    owned = [row[7] for row in table if row[1].endswith(ends[0]) and row[2].endswith(ends[1])]
    print(what, owned, flush=True)
def a_flow(what, listener):
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    owners(what, client, client.getpeername()[1])
    client.close()
    server.close()
"""

DROPPED = """\
tries("root")
early = socket.create_server(("127.0.0.1", 0))
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
tries("nobody")
a_flow("of root's listener", early)
with socket.create_server(("127.0.0.1", 0)) as late:
    owners("listener", late)
    a_flow("all", late)
"""

FOR_A_WHILE = """\
for at in range(2):
    os.seteuid(65534)
    tries("nobody")
    os.seteuid(0)
    tries("root again")
"""

IN_A_THREAD = """\
def thread():
    libc = ctypes.CDLL(None)
    libc.syscall(117, 65534, 65534, 65534)  # setresuid of this thread alone
    tries("thread")
if os.uname().machine == "x86_64":
    one = threading.Thread(target=thread)
    one.start()
    one.join()
tries("root still")
"""

CAPABILITIES = "tries('as it is')\n"


@pytest.mark.parametrize("code", [DROPPED, FOR_A_WHILE, IN_A_THREAD])
def test_of_a_user(code):
    words = [sys.executable, "-c", TRY + code]
    native, traced = run(*words), under(["+log", "+dummy"], *words)
    assert native.status == 0 and traced == native
    assert "a low port ok" in native.out and "a low port [Errno 13]" in native.out


@pytest.mark.needs("setpriv")
@pytest.mark.parametrize(
    "dropped", ["net_bind_service", "net_raw", "net_admin,-net_raw", "net_admin,-net_bind_service"]
)
def test_of_root_without_a_capability(dropped):
    words = ["setpriv", f"--bounding-set=-{dropped}", "--inh-caps=-all"]
    words += [sys.executable, "-c", TRY + CAPABILITIES]
    native, traced = run(*words), under(["+log", "+dummy"], *words)
    assert native.status == 0 and traced == native
    assert " ok\n" in native.out and "Errno" in native.out


@pytest.mark.needs("unshare")
def test_of_root_in_a_user_namespace():
    """Whose capabilities count for nothing in the network namespace it has not made."""
    words = ["unshare", "--map-root-user", sys.executable, "-c", TRY + CAPABILITIES]
    native, traced = run(*words), under(["+log", "+dummy"], *words)
    if native.status:
        pytest.skip("needs user namespaces")
    assert traced == native and "a low port [Errno 13]" in native.out


MOVED = """\
import os
with socket.socket() as outside:
    libc = ctypes.CDLL(None)
    assert libc.unshare(0x10000000 | 0x40000000) == 0
    for what, do in {
        "bind": lambda: outside.bind(("127.0.0.9", 82)),
        "SO_MARK": lambda: outside.setsockopt(socket.SOL_SOCKET, 36, 5),
    }.items():
        try:
            do()
            print(what, "ok")
        except OSError as error:
            print(what, error)
"""


def test_of_one_that_made_itself_root_of_another_namespace():
    """It may all in there, but nothing with the socket that it took along."""
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    words += ["/usr/bin/env", "python3", "-c", TRY + MOVED]
    native = run(*words, PATH="/usr/bin")
    if native.status:
        pytest.skip("needs user namespaces, and a Python for everybody")
    traced = under(["+log", "+dummy"], *words, PATH="/usr/bin")
    assert traced == native and native.out.count("Errno") == 2


def test_we_are_ourselves_again():
    """After calls with other rights, failed ones too, ours are as before."""
    code = TRY + DROPPED + 'print(open(f"/proc/{os.getppid()}/status").read())\n'
    status = under(["+dummy"], sys.executable, "-c", code).out
    ours = open("/proc/self/status").read()
    for field in ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh"):
        (line,) = [line for line in ours.splitlines() if line.startswith(f"{field}:")]
        assert line.rstrip() in [each.rstrip() for each in status.splitlines()], field
