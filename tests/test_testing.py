"""The contract finds every fault that it is there to find, and a package of others' can use it."""

import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from tests.e2e.process import LIMIT, ROOT

TEMPLATE = ROOT / "docs/template"

EVERY_BYTE = "test_every_byte_arrives_once_in_order_and_then_the_end"
EACH = "test_each_arrives_once_whole_and_in_order"

BROKEN = {
    "Waits": "test_no_method_blocks",
    "Loses": EVERY_BYTE,
    "Doubles": EVERY_BYTE,
    "Overtakes": EVERY_BYTE,
    "Alters": EVERY_BYTE,
    "SaysNever": EVERY_BYTE,
    "EndsBoth": EVERY_BYTE,
    "HidesTheEnd": EVERY_BYTE,
    "NeverLetsWrite": EVERY_BYTE,
    "ForgetsAtClose": "test_what_is_written_at_once_still_goes_after_close",
    "EndsInError": "test_closed_at_once_is_a_good_end",
    "WritesAfterShutdown": "test_shut_down_at_once_is_a_good_end",
    "SpeaksAfterClose": "test_given_up_inside_an_event_it_is_silent",
    "KeepsATimer": "test_closed_in_the_middle_is_silent",
    "ClosesForAbort": "test_aborted_it_is_a_reset_and_not_an_end",
    "SwallowsMayWrite": "test_a_reader_that_stops_stops_the_writer",
    "IgnoresMayAvail": "test_stopped_inside_an_event_it_stops_at_once",
    "TellsTwice": "test_a_lost_connection_is_told_once",
    "KeepsTheWay": "test_what_waits_to_be_sent_is_given_up_with_the_connection",
    "SaysItHears": "test_a_flow_that_hears_nothing_more_says_so_below",
    "HidesThePeer": "test_control_calls_pass",
    "PassesRequestsOn": "test_a_request_that_a_handler_does_not_know_goes_no_further",
    "ConnectsTwice": "test_a_flow_is_connected_once",
    "EndsAtNothing": "test_nothing_may_be_written",
    "AnswersInsideACall": "test_refused_is_told_once_and_may_be_tried_again",
    "RefusesTwice": "test_refused_is_told_once_and_may_be_tried_again",
}
"""Handlers for streams with a fault, and the test that must find it."""

BROKEN_DATAGRAMS = {
    "Loses": EACH,
    "Doubles": EACH,
    "Overtakes": EACH,
    "Alters": EACH,
    "DropsEmpty": EACH,
    "HidesTheOrigin": EACH,
    "ForgetsThePeer": "test_a_peer_may_be_chosen_and_chosen_again",
    "HidesErrors": "test_an_error_of_one_is_that_of_one",
    "SpeaksAfterClose": "test_given_up_inside_an_event_it_is_silent",
    "KeepsATimer": "test_given_up_at_any_time_it_is_silent",
    "ForgetsAtClose": "test_what_was_written_at_once_still_goes_after_close",
    "IgnoresMayAvail": "test_a_reader_that_stops_is_given_nothing",
    "HidesTheName": "test_control_calls_pass",
}
"""The same for datagrams."""


def pytest_in(folder, *words):
    """The names of the tests that passed, and of those that failed, in a folder with a package."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=xml"]
    command.append("--hypothesis-seed=0")  # the same every time
    done = subprocess.run(
        [*command, *words],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=6 * LIMIT,
    )
    passed, failed = set(), set()
    for case in xml.parse(folder / "xml").iter("testcase"):
        name = case.get("classname").rpartition(".")[2], case.get("name").partition("[")[0]
        bad = case.find("failure") is not None or case.find("error") is not None
        (failed if bad else passed).add(name)
    return passed, failed, done.stdout


FOUND_IS_ENOUGH = """\
from hypothesis import Phase, settings
settings.register_profile("found is enough", phases=[Phase.generate], database=None)
settings.load_profile("found is enough")
"""
"""To look for the least data that shows a fault takes twenty times as long as to find it."""


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("contract", "broken"), [("Stream", BROKEN), ("Datagram", BROKEN_DATAGRAMS)]
)
def test_each_fault_is_found(tmp_path, contract, broken):
    lines = [f"from tesla_trace.testing import {contract}Contract", ""]
    for name in broken:
        lines += [f"class Test{name}({contract}Contract):"]
        lines += [f"    words = ['+fixtures.broken:{name}']", ""]
    (tmp_path / "test_broken.py").write_text("\n".join(lines))
    (tmp_path / "conftest.py").write_text(FOUND_IS_ENOUGH)
    found = [f"test_broken.py::Test{name}::{test}" for name, test in broken.items()]
    passed, failed, out = pytest_in(tmp_path, *found)
    expected = {(f"Test{name}", test) for name, test in broken.items()}
    assert failed == expected, (sorted(expected - failed), out[-3000:])


@pytest.fixture
def package(tmp_path):
    """The template, as if it were installed."""
    for file in TEMPLATE.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text())
    info = tmp_path / "tesla_trace_mine-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tesla-trace-mine\nVersion: 0.1.0\n"
    )
    points = TEMPLATE.joinpath("pyproject.toml").read_text()
    section = points.partition('[project.entry-points."tesla_trace.handlers"]')[2].split("[")[0]
    (info / "entry_points.txt").write_text("[tesla_trace.handlers]\n" + section.replace('"', ""))
    return tmp_path


def test_the_template_passes(package):
    passed, failed, out = pytest_in(package)
    assert not failed and len(passed) > 25, out[-3000:]


def test_a_handler_of_others_goes_by_its_name(package):
    """Here with a program that talks to itself and, knowing of us, to the handler."""
    program = """
import socket
from tesla_trace import client
server = socket.create_server(("127.0.0.1", 0))
here = socket.create_connection(server.getsockname())
there, _ = server.accept()
here.sendall(b"hello")
print(there.recv(5, socket.MSG_WAITALL), client.ioctl(here, "mine", 1, b"you"))
"""
    command = Path(sys.executable).parent / "tesla_trace", "+mine", "-loud"
    done = subprocess.run(
        [*command, sys.executable, "-c", program],
        env={"PYTHONPATH": str(package), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.stdout == "b'hello' b'hello you'\n", done.stderr
    assert "5 bytes out" in done.stderr and "5 bytes in" in done.stderr


def test_what_needs_no_pytest_does_without():
    code = """
import sys
sys.modules["pytest"] = sys.modules["hypothesis"] = None
from tesla_trace.testing import Air, Network, Playbook
import tesla_trace.cli, tesla_trace.supervision.launch
try:
    from tesla_trace.testing import StreamContract
except ImportError as wrong:
    print(wrong.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() in ("pytest", "hypothesis"), done.stderr
    for path in (ROOT / "tesla_trace/supervision").glob("*.py"):
        assert "tesla_trace.testing" not in path.read_text()
