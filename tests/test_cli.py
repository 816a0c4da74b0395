"""The command line: what is ours, the handlers', and the program's; and what is wrong with it."""

import subprocess
import sys

import pytest

from tesla_trace import __version__
from tesla_trace.cli.options import take_apart
from tesla_trace.cli.words import DATAPATHS, Words
from tesla_trace.io.datapath import Datapath
from tests.e2e.process import LIMIT, TESLA_TRACE


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("+dummy prog", Words(["+dummy"], ["prog"])),
        ("+socks=a:1 -user=x prog -v", Words(["+socks=a:1", "-user=x"], ["prog", "-v"])),
        ("+a -b -c +d -e=f -- -prog -x", Words(["+a", "-b", "-c", "+d", "-e=f"], ["-prog", "-x"])),
        ("+a -- --log x", Words(["+a"], ["--log", "x"])),
        ("-- prog", Words([], ["prog"])),
        ("--log f +a prog", Words(["+a"], ["prog"], log="f")),
        ("--log=f=g +a prog", Words(["+a"], ["prog"], log="f=g")),
        ("+a --log f -b prog", Words(["+a", "-b"], ["prog"], log="f")),
        ("-d --wait +a prog -d", Words(["+a"], ["prog", "-d"], debug=True, wait=True)),
        ("--strict --report=f +a prog", Words(["+a"], ["prog"], report="f", strict=True)),
        ("--report f +a prog", Words(["+a"], ["prog"], report="f")),
        ("--datapath=splice +a prog", Words(["+a"], ["prog"], datapath="splice")),
        ("--datapath handlers +a prog", Words(["+a"], ["prog"], datapath="handlers")),
        ("--trap=ptrace +a prog", Words(["+a"], ["prog"], trap="ptrace")),
        ("--trap auto --kill-on-exit +a p", Words(["+a"], ["p"], trap="auto", kill=True)),
        ("+a -d prog", Words(["+a", "-d"], ["prog"])),
        ("+a", Words(["+a"])),
        ("+a - x", Words(["+a"], ["-", "x"])),
        ("+a --rules f --rules=g p", Words(["+a"], ["p"], rules=["f", "g"])),
        ("+a --explain b:1 in", Words(["+a"], ["in"], action="explain", value="b:1")),
        ("--keygen f", Words(action="keygen", value="f")),
        ("--keygen=f", Words(action="keygen", value="f")),
        ("--version", Words(action="version")),
        ("--handlers", Words(action="handlers")),
        ("--attach 7 --grace 2 +a", Words(["+a"], attach=7, grace=2.0)),
        ("--doctor", Words(action="doctor")),
        ("", Words()),
    ],
)
def test_take_apart(line, words):
    assert take_apart(line.split()) == words


@pytest.mark.parametrize(
    "line",
    [
        "--nonsense",
        "-x +a",
        "--log",
        "--keygen",
        "--report",
        "--datapath",
        "--datapath=teleport +a b",
        "--trap",
        "--trap=luck +a b",
        "--strict=1 +a b",
        "--wait=yes +a b",
    ],
)
def test_an_option_that_makes_no_sense(line):
    with pytest.raises(ValueError, match=line.split("=")[0].split()[0]):
        take_apart(line.split())


def test_all_ways_of_bytes_have_a_word():
    assert set(DATAPATHS) == {each.value for each in Datapath}


def tesla_trace(*words):
    command = [TESLA_TRACE, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("+nonsense PROGRAM", ["nonsense", "socks", "dummy"]),
        ("+fixtures.nowhere:Class PROGRAM", ["fixtures.nowhere"]),
        ("+fixtures.handlers:Nobody PROGRAM", ["Nobody"]),
        ("+socks -nonsense=1 PROGRAM", ["-nonsense", "-version"]),
        ("+socks=1080 PROGRAM", ["1080", "proxy:1080"]),
        ("+socks= PROGRAM", ["socks"]),
        ("+socks=proxy:1080 -version=6 PROGRAM", ["6", "4a"]),
        ("+socks=proxy:1080 -version PROGRAM", ["-version"]),
        ("+socks=proxy:1080 -timeout=never PROGRAM", ["never", "50ms"]),
        ("+socks=proxy:1080 -loopback=5 PROGRAM", ["-loopback"]),
        ("+socks=proxy:1080 -user=x -password-file=/nowhere PROGRAM", ["/nowhere"]),
        ("+latency=fast PROGRAM", ["fast"]),
        ("+shape -out=0 PROGRAM", ["0"]),
        ("+crypt PROGRAM", ["-key"]),
        ("+crypt -key=/nowhere PROGRAM", ["/nowhere"]),
        ("+dummy=5 PROGRAM", ["dummy"]),
        ("+ PROGRAM", ["+"]),
        ("--nonsense +dummy PROGRAM", ["--nonsense"]),
        ("--log /nowhere/log +dummy PROGRAM", ["/nowhere/log"]),
        ("--log", ["--log"]),
        ("--report /nowhere/report +dummy PROGRAM", ["/nowhere/report", "No such file"]),
        ("--report=/dev/null +dummy PROGRAM", ["/dev/null", "not a regular file"]),
        ("--report", ["--report"]),
        ("--keygen", ["--keygen"]),
        ("--attach", ["--attach", "a process is missing"]),
        ("--attach 4711", ["--attach", "no handlers given", "--handlers"]),
        ("--tree +dummy PROGRAM", ["--tree", "only with --attach"]),
        ("--grace 5 +dummy PROGRAM", ["--grace", "only with --attach"]),
        ("--metadata +dummy PROGRAM", ["--metadata", "--oci-agent or --oci-profile"]),
        ("--detach 4711 +dummy", ["--detach", "neither handlers nor a program"]),
        ("--attach 4711 +dummy --detach 4711", ["--detach", "neither handlers nor a program"]),
        ("--doctor PROGRAM", ["--doctor", "neither handlers nor a program"]),
        ("+socks=proxy:1080", ["no program"]),
        ("", ["no program", "--help"]),
    ],
)
def test_one_line_says_what_is_wrong_and_what_is_right(line, said, tmp_path):
    """And the program is not started."""
    started = tmp_path / "started"
    words = line.replace("PROGRAM", f"touch {started}").split()
    ran = tesla_trace(*words)
    assert ran.returncode == 2, ran
    assert ran.stdout == "" and ran.stderr.count("\n") == 1, ran.stderr
    assert [word for word in said if word not in ran.stderr] == [], ran.stderr
    assert not started.exists()


def test_what_is_printed_of_our_own():
    assert tesla_trace("--version").stdout == f"tesla_trace {__version__}\n"
    assert "usage: tesla_trace" in tesla_trace("--help").stdout
    assert tesla_trace("-h").stdout == tesla_trace("--help").stdout
    usage = tesla_trace("+socks")
    assert usage.returncode == 0 and "-password-file" in usage.stdout
    assert "-except=CONDITION" in usage.stdout


def test_keygen(tmp_path):
    key = tmp_path / "key"
    assert tesla_trace("--keygen", str(key)).returncode == 0
    assert key.stat().st_mode & 0o777 == 0o600
    again = tesla_trace("--keygen", str(key))
    assert again.returncode == 2 and "exists" in again.stderr


def test_nothing_heavy_is_imported_before_it_is_needed():
    heavy = {"cryptography", "ptrace", "rich", "matplotlib", "ssl", "h11", "asyncio"}
    code = "import tesla_trace.cli, tesla_trace.supervision.launch, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not {each.partition(".")[0] for each in done.stdout.split()} & heavy
