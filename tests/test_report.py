import os
import re

import pytest

from tesla_trace.report import Report


def test_to_a_file_with_the_time(tmp_path):
    path = tmp_path / "log"
    path.write_text("before\n")
    report = Report(str(path))
    report.write("one")
    report.write("two\udcff")
    before, one, two = path.read_text().splitlines()
    assert before == "before"
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d\d one", one)
    assert two.endswith(" two?")


def test_to_a_file_that_cannot_be():
    with pytest.raises(OSError):
        Report("/nowhere/log")


def test_to_stderr_with_our_name(capfd):
    Report().write("one")
    assert capfd.readouterr().err == "tesla_trace: one\n"


def test_nobody_suffers_when_it_cannot_be_written():
    Report("/dev/full").write("lost")


def test_hushed_it_keeps_nobody_waiting():
    read, write = os.pipe()
    saved = os.dup(2)
    os.dup2(write, 2)
    report = Report()
    os.dup2(saved, 2)
    for fd in (saved, write):
        os.close(fd)
    report.write("heard")
    report.hush()
    report.write("not heard")
    assert os.read(read, 100) == b"tesla_trace: heard\n"
    assert os.read(read, 100) == b""
    os.close(read)
