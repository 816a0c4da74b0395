import json
import os

import pytest

from tesla_trace.summary import Summary
from tesla_trace.syscalls.accounts import Totals
from tesla_trace.syscalls.uncovered import Count
from tesla_trace.syscalls.ways import WAYS

ENTRY = {"number": 1, "program": "curl", "out": 5, "outcome": "closed"}


def written(path, status=0, entries=(), counts=()):
    summary = Summary(str(path), ["curl", "\udcff"])
    for entry in entries:
        summary.keep(entry)
    summary.write(status, Totals(len(entries), 5, 7), counts)
    return json.loads(path.read_text())


def test_what_it_holds(tmp_path):
    counts = [Count(WAYS["udp"], False, "ntpd", 2)]
    told = written(tmp_path / "report", 3, [ENTRY, ENTRY], counts)
    assert told["program"] == ["curl", "\udcff"] and told["status"] == 3
    assert told["began"] > 0 and told["seconds"] >= 0
    assert told["flows"] == [ENTRY, ENTRY]
    assert told["totals"] == {"flows": 2, "out": 5, "in": 7}
    udp = {"way": "UDP socket", "program": "ntpd", "times": 2, "refused": False}
    assert told["not_covered"] == [udp]


def test_nothing_happened(tmp_path):
    told = written(tmp_path / "report", -15)
    assert told["flows"] == told["not_covered"] == [] and told["signal"] == 15


def test_it_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "report"
    path.write_text("before")
    before = path.open()
    link = tmp_path / "link"
    link.symlink_to("report")
    summary = Summary(str(link), ["true"])
    assert path.read_text() == "before" and len(os.listdir(tmp_path)) == 2
    summary.write(0, Totals(), [])
    assert json.loads(path.read_text())["status"] == 0
    assert before.read() == "before" and link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "report"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_it_stays_as_it_was_when_it_cannot_be_written(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    summary = Summary(str(folder / "report"), ["true"])
    folder.rmdir()
    with pytest.raises(FileNotFoundError):
        summary.write(0, Totals(), [])


@pytest.mark.parametrize("path", ["/nowhere/report", "/dev/null", "/"])
def test_a_file_that_cannot_be_one(path):
    with pytest.raises(OSError):
        Summary(path, ["true"])


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
