"""--report: every flow, and what was not covered."""

import json
import sys

from tests.e2e.process import TESLA_TRACE, run, start, under

PROGRAM = """\
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    there = listener.getsockname()
    with socket.create_connection(there) as client:
        server, _ = listener.accept()
        client.sendall(b"a" * 100000)
        client.shutdown(socket.SHUT_WR)
        while server.recv(65536): pass
        server.sendall(b"b" * 10)
        server.close()
        while client.recv(65536): pass
try:
    socket.create_connection(there)
except ConnectionRefusedError:
    pass
socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136)
raise SystemExit(7)
"""


def test_of_a_program(tmp_path):
    path = tmp_path / "report"
    ran = under(["+dummy"], sys.executable, "-c", PROGRAM, ours=["--report", path])
    told = json.loads(path.read_text())
    assert ran.status == told["status"] == 7
    assert told["program"] == [sys.executable, "-c", PROGRAM]
    flows = sorted(told["flows"], key=lambda flow: (flow["outcome"], flow["accepted"]))
    refused, client, server = flows
    assert refused["outcome"] == "ECONNREFUSED" and refused["target"] == client["target"]
    assert (client["out"], client["in"], client["outcome"]) == (100000, 10, "closed")
    assert (server["out"], server["in"], server["outcome"]) == (10, 100000, "closed")
    assert not client["accepted"] and server["accepted"]
    assert {flow["program"] for flow in flows} == {"python"}
    assert len({flow["pid"] for flow in flows}) == 1
    assert all(0 <= flow["seconds"] <= told["seconds"] for flow in flows)
    assert told["totals"] == {"flows": 3, "out": 100010, "in": 100010}
    assert [(each["way"], each["times"]) for each in told["not_covered"]] == [("UDP socket", 1)]


def test_the_end_names_what_was_not_covered():
    """In the last line, on stderr, before the program's end is passed on; and only then."""
    ran = run(TESLA_TRACE, "+dummy", sys.executable, "-c", PROGRAM)
    assert ran.err == "tesla_trace: not covered: 1 UDP socket (python)\n"
    assert run(TESLA_TRACE, "+dummy", "true").err == ""


def test_a_flow_that_is_reset(tmp_path):
    code = """\
import socket, struct
with socket.create_server(("127.0.0.1", 0)) as listener:
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    try:
        client.recv(1)
    except ConnectionResetError:
        print("reset")
"""
    path = tmp_path / "report"
    ran = under(["+dummy"], sys.executable, "-c", code, ours=["--report", path])
    assert ran.out == "reset\n"
    flows = json.loads(path.read_text())["flows"]
    assert {flow["accepted"]: flow["outcome"] for flow in flows} == {
        False: "ECONNRESET",
        True: "closed",
    }


def test_of_a_program_that_is_killed(tmp_path):
    path = tmp_path / "report"
    words = ["--report", path, "+dummy", "sh", "-c", "echo ready; exec sleep 60"]
    with start(TESLA_TRACE, *words) as program:
        program.until("ready")
        program.send(15)
        assert program.wait() == -15
    assert json.loads(path.read_text())["signal"] == 15


def test_of_datagrams(tmp_path):
    code = """\
import socket
server, client = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
server.bind(("127.0.0.1", 0))
client.connect(server.getsockname())
client.send(b"12345")
data, back = server.recvfrom(10)
server.sendto(b"123", back)
client.recv(10)
"""
    path = tmp_path / "report"
    ran = under(["+dummy"], sys.executable, "-c", code, ours=["--report", path])
    assert ran.status == 0, ran
    flows = json.loads(path.read_text())["flows"]
    assert sorted((flow["out"], flow["in"]) for flow in flows) == [(3, 5), (5, 3)]
