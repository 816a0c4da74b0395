"""What a start loads: nearly all of its time goes into that, and somebody waits for it."""

import subprocess
import sys

import pytest

from tesla_trace import flow
from tests.e2e.process import LIMIT

DEAR = {
    "ast",
    "copy",
    "ctypes.util",
    "dataclasses",
    "dis",
    "importlib.util",
    "inspect",
    "json",
    "pathlib",
    "pkgutil",
    "random",
    "shutil",
    "subprocess",
    "tempfile",
    "tokenize",
    "urllib.parse",
}
"""Modules of Python's own that take long, most of them by what they import in their turn."""

UNUSED = {
    "tesla_trace.flow.condition",
    "tesla_trace.flow.declaring",
    "tesla_trace.flow.kinds",
    "tesla_trace.flow.naming",
    "tesla_trace.flow.proxied",
    "tesla_trace.flow.transform",
    "tesla_trace.flow.usable",
}
"""What only some handlers are made of or bring with them, and what only rules need."""


RECORDED = """
import os, sys

class Recorder:
    def find_spec(name, *others):
        os.write(2, f"import {name}\\n".encode())

sys.meta_path.insert(0, Recorder)
from tesla_trace.cli import main
main()
"""


def started(*words):
    """What a start of true(1) imports, in all of our processes."""
    command = [sys.executable, "-c", RECORDED, *words, "true"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=LIMIT)
    lines = done.stderr.splitlines()
    return {line.removeprefix("import ") for line in lines if line.startswith("import ")}


def test_a_plain_start_loads_nothing_dear():
    modules = started("+dummy")
    assert {"tesla_trace.supervision.launch", "tesla_trace.handlers.dummy"} <= modules
    assert modules & (DEAR | UNUSED) == set()


def test_what_is_dear_is_seen_where_it_is_needed():
    """A list of modules that was read wrongly would hold none of them."""
    modules = started("+latency=1ms", "-for=port 1")
    assert {"dataclasses", "inspect", "tesla_trace.flow.kinds"} <= modules
    assert {"tesla_trace.flow.condition", "tesla_trace.flow.usable"} <= modules


def test_what_handlers_are_made_of_is_there_when_it_is_asked_for():
    there = {name: getattr(flow, name) for name in flow.__all__}
    assert there["Tunnel"] is flow.tunnel.Tunnel and there["option"] is flow.declaring.option
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = flow.Nonsense
