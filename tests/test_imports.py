"""The tree is the architecture: who may import what."""

import ast
import fnmatch
import os
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ANY = "*"
JOINS = [
    "tesla_trace.kernel",
    "tesla_trace.kernel.*",
    "tesla_trace.io",
    "tesla_trace.io.*",
    "tesla_trace.flow",
    "tesla_trace.flow.*",
    "tesla_trace.address",
    "tesla_trace.syscalls",
    "tesla_trace.syscalls.*",
]
SHARED = ["accounts", "acting", "held", "program_socket", "session"]
BELOW = ["arguments", "ends", "escapes", "handback"]
LAYERS = {
    "arguments": [],
    "ends": ["arguments"],
    "escapes": ["arguments"],
    "handback": ["arguments"],
    "options": ["arguments", *SHARED],
    "stream": ["arguments", "ends", "options", *SHARED],
    "datagram": ["arguments", *SHARED],
    "foreign": ["arguments", "escapes", "handback", "options", "stream", *SHARED],
}
"""Which other parts of `tesla_trace.syscalls` each package of it needs to run; the rest may stand
in annotations.  What is `SHARED` needs those `BELOW`, the table, socket(2) and parting all."""

MAY_IMPORT = {
    "handlers": ["tesla_trace.flow", "tesla_trace.handlers._*"],
    "tesla_trace/flow": ["tesla_trace.flow.*", "tesla_trace.address"],
    "tesla_trace/kernel": ["tesla_trace.kernel", "tesla_trace.kernel.*", "tesla_trace.address"],
    "tesla_trace/kernel/ptrace": ["tesla_trace.kernel", "tesla_trace.kernel.*"],
    "tesla_trace/io": [
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
    "tesla_trace/keeper": [*JOINS, "tesla_trace.keeper.*"],
    "tesla_trace/oci": [*JOINS, "tesla_trace.oci.*"],
    "tesla_trace": [ANY],
    "tesla_trace/cli": [ANY],
    "tesla_trace/doctor": [
        *JOINS,
        "tesla_trace.doctor",
        "tesla_trace.doctor.*",
        "tesla_trace.tables",
    ],
    "tesla_trace/supervision": [
        *JOINS,
        "tesla_trace.keeper.*",
        "tesla_trace.oci.*",
        "tesla_trace.report",
        "tesla_trace.summary",
        "tesla_trace.supervision",
        "tesla_trace.supervision.*",
    ],
    "tesla_trace/syscalls": JOINS,
    **{f"tesla_trace/syscalls/{each}": JOINS for each in LAYERS},
}
"""What of ours the files of a directory may import."""

OUTERMOST = "tesla_trace/cli", "tesla_trace/supervision"
"""What only they, and `__main__`, import; and the second of them not the first."""

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


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {path.parent for path in (ROOT / "tesla_trace").rglob("__init__.py")}
    names = {".".join(path.relative_to(ROOT).parts) for path in there}
    assert set(listed) == names | {"tesla_trace.handlers"}


def needed(path):
    """The parts of `tesla_trace.syscalls` that a file of it imports when it runs."""
    for node in ast.parse(path.read_text()).body:  # not those that are `if TYPE_CHECKING`
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tesla_trace.syscalls"):
            _, _, *part = node.module.split(".")
            yield from part[:1] or (each.name for each in node.names)


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
    if directory not in OUTERMOST and path.stem != "__main__":
        names = tuple(each.replace("/", ".") for each in OUTERMOST)
        assert not [name for name in ours(path) if name.startswith(names)]


def may_need(directory, path):
    _, _, *package = directory.split("/")
    if package:
        return {*package, *LAYERS[package[0]]}
    return (
        {*LAYERS, *SHARED, "create"}
        if path.stem in {"create", "parting", "table"}
        else {*BELOW, *SHARED}
    )


@pytest.mark.parametrize(
    ("directory", "path"),
    [(directory, path) for directory, path in FILES if "syscalls" in directory],
    ids=lambda each: each.stem if isinstance(each, Path) else each,
)
def test_the_calls_are_in_layers(directory, path):
    assert set(needed(path)) <= may_need(directory, path)


@each_file
def test_libseccomp_is_found_in_one_place_only(directory, path):
    if path != ROOT / "tesla_trace/kernel/seccomp.py":
        assert "pyseccomp" not in set(imports(path))


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
    assert "stream" in needed(ROOT / "tesla_trace/syscalls/foreign/adopt.py")


def test_handlers_are_a_package_of_ours_by_a_link():
    assert os.readlink(ROOT / "tesla_trace" / "handlers") == "../handlers"
