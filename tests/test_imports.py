"""The tree is the architecture: who may import what."""

import ast
import fnmatch
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ANY = "*"
MAY_IMPORT = {
    "handlers": ["tesla_trace.flow", "tesla_trace.handlers._*"],
    "tesla_trace/flow": ["tesla_trace.flow.*", "tesla_trace.address"],
    "tesla_trace/kernel": ["tesla_trace.kernel", "tesla_trace.kernel.*", "tesla_trace.address"],
    "tesla_trace/io": [
        "tesla_trace.io",
        "tesla_trace.io.*",
        "tesla_trace.flow",
        "tesla_trace.flow.*",
        "tesla_trace.address",
    ],
    "tesla_trace/syscalls": [
        "tesla_trace.syscalls",
        "tesla_trace.syscalls.*",
        "tesla_trace.kernel",
        "tesla_trace.kernel.*",
        "tesla_trace.io",
        "tesla_trace.io.*",
        "tesla_trace.flow",
        "tesla_trace.flow.*",
        "tesla_trace.address",
    ],
    "tesla_trace/testing": [
        "tesla_trace.testing",
        "tesla_trace.testing.*",
        "tesla_trace.flow",
    ],
    "tesla_trace": [ANY],
}
"""What of ours the files of a directory may import."""

OUTERMOST = {"cli", "front", "launch", "supervisor"}
"""Files of `tesla_trace` that only they, and `__main__`, import."""

NO_IO = {"handlers", "tesla_trace/flow"}
"""Directories that leave the world alone."""

IO = "asyncio fcntl io os pathlib select selectors signal subprocess threading time".split()
DOES_IO = {
    "tesla_trace/flow/errors.py": ["os"],  # strerror
    "tesla_trace/flow/secret.py": ["os", "open"],  # a password, read with the options
    "handlers/_pem.py": ["os", "open"],  # keys and certificates, likewise
}

FILES = [
    (directory, path) for directory in MAY_IMPORT for path in sorted(ROOT.glob(f"{directory}/*.py"))
]
each_file = pytest.mark.parametrize(
    ("directory", "path"), FILES, ids=[str(path.relative_to(ROOT)) for _, path in FILES]
)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "tesla_trace":
                yield from (f"tesla_trace.{each.name}" for each in node.names)
            else:
                yield node.module


def ours(path):
    roots = {"tesla_trace", "handlers", "tests", "bench", "fixtures"}
    return {name for name in imports(path) if name.partition(".")[0] in roots}


def test_every_directory_has_its_line_in_the_table():
    there = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "tesla_trace").rglob("*.py")}
    assert there - {"tesla_trace/handlers"} <= set(MAY_IMPORT)


@each_file
def test_imports_go_one_way(directory, path):
    allowed = MAY_IMPORT[directory]
    assert [n for n in ours(path) if not any(fnmatch.fnmatch(n, each) for each in allowed)] == []
    if directory != "tesla_trace" or path.stem not in OUTERMOST | {"__main__"}:
        assert not {f"tesla_trace.{each}" for each in OUTERMOST} & ours(path)


@each_file
def test_handlers_are_named_in_one_place_only(directory, path):
    if directory.startswith("tesla_trace/") and path.name != "installed.py":
        assert "tesla_trace.handlers" not in path.read_text()


@pytest.mark.parametrize(
    "path",
    [path for directory, path in FILES if directory in NO_IO],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_middle_does_no_io(path):
    name = str(path.relative_to(ROOT))
    modules = {each.partition(".")[0] for each in imports(path)}
    assert modules & set(IO) <= set(DOES_IO.get(name, []))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            assert node.id not in {"open", "print", "input"} - set(DOES_IO.get(name, []))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "socket":
                assert node.attr.isupper(), "socket is there for its numbers"


def test_the_table_holds_what_it_says():
    """A parser of imports that found nothing would allow everything."""
    assert "tesla_trace.flow" in ours(ROOT / "handlers/socks.py")
    assert "tesla_trace.flow.handler" in ours(ROOT / "tesla_trace/flow/tunnel.py")
    assert len(FILES) > 30


def test_handlers_are_a_package_of_ours_by_a_link():
    assert os.readlink(ROOT / "tesla_trace" / "handlers") == "../handlers"
