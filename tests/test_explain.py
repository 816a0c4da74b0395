"""--explain, and what is wrong with rules, as the command line shows it."""

import pytest

from tests.test_cli import tesla_trace

RULES = """\
[[rule]]
match = "net 10.0.0.0/8 or host *.corp"
skip = ["socks"]

[[rule]]
match = "program wget and out"
use = ["dummy"]
"""


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


@pytest.mark.parametrize(
    ("flow", "lines"),
    [
        (
            "10.0.0.1:80 program curl",
            [
                "tcp to 10.0.0.1:80 by curl:",
                "  +log    not used  -for='port 5432 or in'",
                "  +socks  not used  F:2:10: net 10.0.0.0/8 or host *.corp",
                "  +dummy  used      no rule is against it",
            ],
        ),
        (
            "www.example.org:5432 program wget",
            [
                "tcp to www.example.org:5432 by wget:",
                "  +log    used      -for='port 5432 or in'",
                "  +socks  used      not decided, so nothing may bypass it: it depends on "
                "F:2:10: net 10.0.0.0/8 or host *.corp",
                "  +dummy  used      F:6:10: program wget and out",
            ],
        ),
        (
            "www.CORP:80 udp",
            [
                "udp to www.CORP:80:",
                "  +log    not used  -for='port 5432 or in'",
                "  +socks  not used  F:2:10: net 10.0.0.0/8 or host *.corp",
                "  +dummy  used      no rule is against it",
            ],
        ),
        (
            "[2001:db8::1]:40000 in port 80",
            [
                "tcp from [2001:db8::1]:40000 to port 80:",
                "  +log    used      -for='port 5432 or in'",
                "  +socks  used      no rule is against it",
                "  +dummy  used      no rule is against it",
            ],
        ),
    ],
)
def test_which_rule_decides_of_which_handler(rules, flow, lines):
    handlers = ["+log", "-for=port 5432 or in", "+socks=proxy:1080", "+dummy"]
    where, *words = flow.split()
    ran = tesla_trace(*handlers, "--rules", rules, "--explain", where, *words)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.replace(str(rules), "F").splitlines() == lines


def test_what_depends_on_what_was_not_said():
    ran = tesla_trace("+log", "-for=program curl", "--explain=10.0.0.1:80")
    assert ran.stdout.splitlines()[1] == (
        "  +log  not used  not decided, so it is left out: it depends on -for='program curl'"
    )
    ran = tesla_trace("+log", "-for=port 80", "--explain", "10.0.0.1:80", "in")
    assert "from 10.0.0.1:80 to a port that is not said" in ran.stdout
    assert "not decided" in ran.stdout


def test_a_name_where_flows_have_none():
    assert "ask for a number" in tesla_trace("+log", "--explain", "a.test:80").stdout
    told = tesla_trace("+socks=proxy:1080", "--explain", "a.test:80").stdout
    assert "ask for a number" not in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+log", "--explain", "10.0.0.1"], "--explain 10.0.0.1: not an address"),
        (["+log", "--explain", "a:1", "upwards"], "'upwards' is not understood; it takes HOST"),
        (["+log", "--explain", "a:1", "program"], "'program' is not understood"),
        (["+log", "--explain", "a:1", "port", "80"], "so `in` is missing"),
        (["+log", "--explain", "a:1", "in", "port", "0"], "--explain port 0: not a port such as"),
        (["+log", "--explain", "a:1", "in", "port", "99999"], "port 99999: not a port such as 443"),
        (["+log", "--explain", "a:1", "in", "port", "http"], "port http: not a port such as 443"),
        (["+log", "--explain", "a:1", "in", "port"], "'port' is not understood; it takes HOST"),
        (["+log", "-for=program ,", "true"], "column 9: '' is not a process's name such as curl"),
        (["+log", "--explain"], "--explain: HOST:PORT is missing"),
        (["+log", "--rules"], "--rules: a file name is missing"),
        (["+log", "--rules", "/nowhere", "true"], "/nowhere: No such file or directory"),
        (["+log", "-for=host a", "true"], "-for='host a': flows have no names here"),
        (["+log", "-for=port x", "true"], "+log -for='port x': column 6: 'x' is not a port"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_runs(words, said):
    ran = tesla_trace(*words)
    assert ran.returncode == 2 and ran.stdout == "" and ran.stderr.count("\n") == 1
    assert said in ran.stderr


def test_a_rule_that_can_decide_nothing(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(RULES + '[[rule]]\nmatch = "host 10.1.2.3"\nuse = ["log", "socks"]\n')
    ran = tesla_trace("+log", "--rules", path, "true")
    assert ran.returncode == 2 and ran.stderr == (
        f"tesla_trace: {path}:10:16: this decides nothing of 'socks': "
        f"{path}:2:10 comes first, and is true of the same flows\n"
    )


def test_what_datagrams_are_nothing_for():
    ran = tesla_trace("+compress", "+dummy", "--explain", "192.0.2.1:9", "udp")
    assert ran.stdout.splitlines()[1:] == [
        "  +compress  not used  it has no use for datagrams",
        "  +dummy     used      no rule is against it",
    ]


def test_of_a_name_no_family_is_known():
    ran = tesla_trace("+socks=127.0.0.1:9", "-except=ipv6", "--explain", "www.example.org:80")
    assert "used" in ran.stdout and "not decided" in ran.stdout
