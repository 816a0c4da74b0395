import json
import os

import pytest

from tesla_trace.flow import Flow
from tesla_trace.summary import Summary
from tesla_trace.syscalls.accounts import Accounts
from tesla_trace.syscalls.escapes.uncovered import Count
from tesla_trace.syscalls.escapes.ways import WAYS

FLOW = Flow(number=1, program="curl", out=5, into=7)


def written(path, status=0, flows=(), counts=()):
    summary = Summary(str(path), ["curl", "\udcff"])
    books = Accounts(summary.keep)
    for flow in flows:
        books.began(flow)
        books.over(flow)
    summary.write(status, books, counts)
    return json.loads(path.read_text())


def test_what_it_holds(tmp_path):
    counts = [Count(WAYS["udp"], False, "ntpd", 2)]
    told = written(tmp_path / "report", 3, [FLOW, FLOW], counts)
    assert told["program"] == ["curl", "\udcff"] and told["status"] == 3
    assert told["began"] > 0 and told["seconds"] >= 0
    assert [(each["program"], each["outcome"]) for each in told["flows"]] == [
        ("curl", "closed")
    ] * 2
    assert told["totals"] == {"flows": 2, "out": 10, "in": 14}
    udp = {"way": "UDP socket", "program": "ntpd", "times": 2, "refused": False}
    assert told["not_covered"] == [udp]


def test_nothing_happened(tmp_path):
    told = written(tmp_path / "report", -15)
    assert told["flows"] == told["not_covered"] == [] and told["signal"] == 15


def test_it_can_be_written_before_all_is_over(tmp_path):
    path = tmp_path / "report"
    summary = Summary(str(path), ["curl"])
    books = Accounts(summary.keep)
    books.began(FLOW)
    for outcome in ("open", "closed"):
        summary.write(0, books, [])
        (flow,) = json.loads(path.read_text())["flows"]
        assert flow["outcome"] == outcome
        books.over(FLOW)


def test_it_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "report"
    path.write_text("before")
    before = path.open()
    link = tmp_path / "link"
    link.symlink_to("report")
    summary = Summary(str(link), ["true"])
    assert os.listdir(tmp_path) == ["link"], "what was there is of another run"
    summary.write(0, Accounts(summary.keep), [])
    assert json.loads(path.read_text())["status"] == 0
    assert before.read() == "before" and link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "report"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_a_folder_that_is_gone(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    summary = Summary(str(folder / "report"), ["true"])
    folder.rmdir()
    with pytest.raises(FileNotFoundError):
        summary.write(0, Accounts(summary.keep), [])


@pytest.mark.parametrize("path", ["/nowhere/report", "/dev/null", "/"])
def test_a_file_that_cannot_be_one(path):
    with pytest.raises(OSError):
        Summary(path, ["true"])


def test_a_pipe_is_not_a_file_that_is_missing():
    """As /dev/stdout in a pipeline, a link that leads to no path."""
    read, write = os.pipe()
    with os.fdopen(read), os.fdopen(write, "w"), pytest.raises(OSError, match="not a regular"):
        Summary(f"/proc/self/fd/{write}", ["true"])


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
