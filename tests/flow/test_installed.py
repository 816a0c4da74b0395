import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest

from tesla_trace.flow import TEXT, FlowHandler, Stack, UsageError, flag, installed, option, parse
from tesla_trace.flow.installed import Installed
from tesla_trace.handlers.dummy import Dummy
from tesla_trace.testing.network import Network


class Theirs(FlowHandler):
    """Another package's handler; its own name is not what it is called by."""

    name = "mine"


class Shadowed(FlowHandler):
    """One whose option could never be given."""

    name = "shadowed"

    @dataclass(frozen=True)
    class Options:
        loud: bool = flag(help="loudly")
        for_: str = option(TEXT, "", help="whom it is for")


NOT_A_HANDLER = 1


def test_ours_are_named_like_their_files():
    ours = {"compress", "crypt", "dummy", "http", "latency", "log", "shape", "socks", "tls"}
    assert ours <= set(installed())
    for name in ours:
        assert installed()[name].__module__ == f"tesla_trace.handlers.{name}"
        assert installed()[name].name == name
    assert len(installed()) == len(list(installed())) and installed() is installed()


def test_naming_a_handler_imports_no_other():
    """What another one needs, h11 or TLS, may be missing or slow."""
    code = """
        import sys
        from tesla_trace.flow import Stack, UsageError, installed, parse
        Stack(parse(["+dummy"]))
        assert "http" in list(installed())
        try:
            parse(["+no-such-handler"])
        except UsageError as error:
            assert "+http" in str(error)
        print(*sorted(name for name in sys.modules if name.startswith("tesla_trace.handlers")))
        print(*sorted({"ssl", "h11", "zlib", "cryptography"} & set(sys.modules)))
    """
    run = subprocess.run(
        [sys.executable, "-S", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert run.stderr == ""
    handlers, needed = run.stdout.splitlines()
    assert handlers == "tesla_trace.handlers tesla_trace.handlers.dummy"
    assert "ssl" not in needed and "h11" not in needed


def test_any_class_by_its_full_name():
    name = "tests.flow.test_installed:Theirs"
    named = parse([f"+{name}", "+dummy"])
    assert [each for each, _ in named] == [name, "dummy"]
    network = Network()
    flow = Stack(named).plumber(network.clock, network.wire)(2, 1)
    assert type(flow) is Theirs and type(flow.below) is Dummy


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another package with a handler, a broken one, and one that is not there."""
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tesla_trace.handlers]\n"
        "theirs = tests.flow.test_installed:Theirs\n"
        "dummy = tests.flow.test_installed:Theirs\n"
        "gone = no_such_module:Theirs\n"
    )
    (tmp_path / "needy.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_the_handlers_of_other_packages_go_by_entry_points(elsewhere):
    there = Installed()
    assert {"theirs", "gone", "dummy"} <= set(there) and len(there) == len(set(there))
    assert there["theirs"] is Theirs
    assert there["dummy"] is Dummy, "nobody takes the place of ours"
    assert parse(["+theirs"], there)[0][0] == "theirs"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone", "No module named 'no_such_module'"),
        ("needy:Needy", "No module named 'no_such_module'"),
        ("no_such_module:Class", "No module named 'no_such_module'"),
        ("tests.flow.no_such:Class", "No module named 'tests.flow.no_such'"),
        ("tests.flow.test_installed:None", None),
        ("tests.flow.test_installed:", None),
        (":Class", "Empty module name"),
        (".module:Class", None),
        ("tests.flow.test_installed:NOT_A_HANDLER", "is not a FlowHandler"),
        (
            "tesla_trace.testing.network:Network",
            "tesla_trace.testing.network:Network is not a FlowHandler",
        ),
        (
            "tests.flow.test_installed:Shadowed",
            "cannot be used: tests.flow.test_installed:Shadowed has an option -for, "
            "which every handler has already",
        ),
        ("nothing", "no such handler; there are +compress +crypt "),
        ("", "no such handler; there are +compress +crypt "),
    ],
)
def test_a_wrong_one_is_told_in_one_line(elsewhere, name, why):
    with pytest.raises(UsageError) as error:
        parse([f"+{name}"], Installed())
    told = str(error.value)
    assert told.startswith(f"+{name}: ") and "\n" not in told
    assert ("cannot be used: " in told) is (":" in name or name == "gone")
    assert why is None or why in told
