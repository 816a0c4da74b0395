"""Programs that know of handlers: what they ask, what they are told, on every way for the bytes."""

import errno
import re
import sys

import pytest

from tests.e2e.conftest import BUILDS, FLAGS, builds
from tests.e2e.process import ROOT, TESLA_TRACE, run, start, under
from tests.e2e.rungs import ways

PROGRAM = [sys.executable, ROOT / "fixtures/knowing.py"]
TELLS = "+fixtures.handlers:Tells"
RUNGS = {
    "handlers": ["+dummy", TELLS],
    "spliced": ["--datapath=splice", TELLS],
    "handed back": [TELLS],
}


def lines(ran):
    assert ran.status == 0, ran
    return ran.out.splitlines()


@pytest.fixture(scope="module")
def server():
    """An echo server, run natively."""
    with start(sys.executable, "-c", ECHO) as program:
        yield program.until("\n").strip()


ECHO = """
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read())
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""

WITH = [
    "handler dummy",
    "handler log",
    "dummy answers hello",
    "dummy tells 1: tell me",
    "the server says ping",
]


def check_example(command, server):
    native = lines(run(*command, "127.0.0.1", server))
    assert native[0].startswith("no handlers") and native[1:] == ["the server says ping"]
    ran = under(["+dummy", "+log"], *command, "127.0.0.1", server)
    assert lines(ran) == WITH
    assert any("said: now it gets interesting" in line for line in ran.log)


@pytest.mark.parametrize("build", BUILDS)
def test_the_example_in_c(built, build, server):
    check_example([built.path("knows", build, "examples")], server)


def test_the_example_in_python(server):
    check_example([sys.executable, ROOT / "examples/knows.py"], server)


def test_without_us_there_are_none():
    assert lines(run(*PROGRAM, "before")) == ["ENOPROTOOPT []"] * 3 + ["[]"]


def test_before_there_is_a_connection():
    ran = under([TELLS], *PROGRAM, "before")
    assert lines(ran) == ["ENOTCONN []", "ENOTCONN []", "ENOPROTOOPT []", "['tells']"]


@pytest.mark.parametrize("rung", RUNGS)
def test_on_every_way(rung, tmp_path):
    report = tmp_path / "report"
    ran = under(RUNGS[rung], *PROGRAM, "asking", "stream", ours=["--report", report])
    names = ["dummy", "tells"] if rung == "handlers" else ["tells"]
    assert lines(ran) == [
        str(names),
        "b'cba'",
        "Event(handler='tells', number=0, kind=1, lost=0, data=b'connected')",
        "Event(handler='tells', number=0, kind=7, lost=0, data=b'abc')",
        "b'erom'",
        "Event(handler='tells', number=0, kind=7, lost=0, data=b'more')",
        "b'data'",
        str(names),
        "b'back'",
        "b'niaga'",
        "Event(handler='tells', number=0, kind=7, lost=0, data=b'again') None",
    ]
    assert rung in ways(report)


def test_on_datagram_sockets():
    assert lines(under([TELLS], *PROGRAM, "asking", "datagram")) == [
        "['tells']",
        "b'cba'",
        "Event(handler='tells', number=0, kind=1, lost=0, data=b'connected')",
        "Event(handler='tells', number=0, kind=7, lost=0, data=b'abc')",
        "b'erom'",
        "Event(handler='tells', number=0, kind=7, lost=0, data=b'more')",
        "b'data'",
        "b'niaga'",
        "Event(handler='tells', number=0, kind=7, lost=0, data=b'again') None",
    ]


def test_several_of_one_name():
    ran = under(["+dummy", TELLS, "+dummy", TELLS], *PROGRAM, "asking", "stream")
    assert lines(ran)[0] == "['dummy', 'tells', 'dummy', 'tells']"
    assert "Event(handler='tells', number=1, kind=1, lost=0, data=b'connected')" in lines(ran)


@pytest.mark.parametrize("rung", RUNGS)
def test_what_makes_no_sense(rung):
    assert lines(under(RUNGS[rung], *PROGRAM, "wrong")) == [
        "ENODEV ENODEV",
        "ENOTTY EINVAL",
        "ENOPROTOOPT",
        "EINVAL",
        "EINVAL",
        "ENOPROTOOPT",
        "EINVAL",
        "EINVAL",
        "None",
        *["-1 EFAULT"] * 4,
    ]


def test_an_answer_is_not_cut_short():
    """The names of ten handlers take 60 bytes, where there is room for 48."""
    assert lines(under(["+dummy"] * 10, *PROGRAM, "room")) == ["ERANGE", "10"]


@pytest.mark.parametrize("rung", RUNGS)
def test_noise(rung):
    ran = under(RUNGS[rung], *PROGRAM, "noise")
    assert lines(ran) == ["EINVAL ENODEV ENOPROTOOPT ENOTTY done", "b'data' b'cba'"]
    assert not any("Traceback" in line for line in ran.log)


@pytest.mark.parametrize("rung", RUNGS)
def test_events_are_lost_rather_than_waited_for(rung):
    """And of 2000 descriptors that the program closes none stays with us, who may have 300."""
    command = [TESLA_TRACE, *RUNGS[rung], *PROGRAM, "many"]
    ran = run("sh", "-c", 'ulimit -n 300; exec "$@"', "sh", *command)
    assert lines(ran) == ["True b'x' 1000", "EPIPE False", "None", "b'y'"]


@pytest.mark.parametrize("rung", RUNGS)
def test_a_handler_that_fails_at_a_request_tells_no_more(rung):
    ran = under(RUNGS[rung], *PROGRAM, "failing")
    assert lines(ran) == ["ECONNABORTED", "ENOTCONN []"]
    assert any("as it was told to" in line for line in ran.log)


def test_which_way_a_connection_takes_through_a_proxy(proxy):
    ran = under([f"+socks=127.0.0.1:{proxy.port}", "-loopback"], *PROGRAM, "way")
    (line,) = lines(ran)
    names = r"\['socks']"
    assert re.fullmatch(rf"{names} proxy 127.0.0.1:{proxy.port}( bound \S+:\d+)?", line)
    (line,) = lines(under([f"+socks=127.0.0.1:{proxy.port}"], *PROGRAM, "way"))
    assert line == "['socks'] direct"


PAGE = (ROOT / "docs/knowing.md").read_text()

CONNECTED = """
import socket
server = socket.create_server(("127.0.0.1", 0))
sock = socket.create_connection(server.getsockname())
"""


def test_what_the_page_shows_in_python():
    (text,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    ran = under(["+log", TELLS], sys.executable, "-c", CONNECTED + text)
    assert lines(ran) == ["Event(handler='tells', number=0, kind=1, lost=0, data=b'connected')"]
    assert any("said: here it begins" in line for line in ran.log)


def test_what_the_page_shows_in_c(tmp_path):
    (text,) = re.findall(r"```c\n(.*?)```", PAGE, re.S)
    if not builds("glibc"):
        pytest.skip("needs gcc")
    source = tmp_path / "page.c"
    source.write_text(
        "#include <tesla_trace.h>\n#include <unistd.h>\n"
        "int main(void) { int fd = socket(AF_INET, SOCK_STREAM, 0); listen(fd, 1);\n"
        + text
        + "return size < 0 ? errno : write(1, names, size) != size; }\n"
    )
    program = tmp_path / "page"
    done = run("gcc", *FLAGS, f"-I{ROOT}/include", source, "-o", program)
    assert done.status == 0, done.err
    assert run(program).status == errno.ENOPROTOOPT
    ran = under(["+dummy", "+log"], program)
    assert lines(ran) == ["dummy\0log\0"] and any("here it begins" in line for line in ran.log)
