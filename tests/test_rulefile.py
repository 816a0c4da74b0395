"""Rule files: what is read, what they include, and where they are wrong."""

import pytest

from tesla_trace.flow import installed
from tesla_trace.flow.condition import ALWAYS
from tesla_trace.flow.condition_text import read as condition
from tesla_trace.flow.rules import Unusable
from tesla_trace.rulefile import Unreadable, read


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes a file, in a folder that is not the current one."""
    monkeypatch.chdir("/")

    def write(text, name="rules.toml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def test_rules(file):
    path = file("""\
[[rule]]
match = "port 443 and not net 10.0.0.0/8"
use = ["socks", "log#2"]
skip = "*"

[[rule]]
skip = ["dummy"]
""")
    one, other = read(path, installed())
    assert one.condition == condition(one.text) and one.text == "port 443 and not net 10.0.0.0/8"
    assert one.place == f"{path}:2:10"
    assert [each.handler for each in one.use] == ["socks", "log#2"]
    assert [each.place for each in one.use + one.skip] == [
        f"{path}:3:9",
        f"{path}:3:18",
        f"{path}:4:9",
    ]
    assert (other.condition, other.text, other.place) == (ALWAYS, "", f"{path}:6:1")


def test_nothing_is_no_rules(file):
    assert read(file("# later\n"), installed()) == []


def test_what_is_included_comes_before(file):
    one = '[[rule]]\nmatch = "port {}"\nskip = "log"\n'
    file(one.format(1), "more/b.toml")
    file('include = "../last.toml"\n' + one.format(2), "more/a.toml")
    file(one.format(3), "last.toml")
    file("not TOML", "more/other.txt")
    path = file('include = ["more/*.toml", "none/*.toml"]\n' + one.format(4))
    found = read(path, installed())
    assert [rule.text for rule in found] == ["port 3", "port 2", "port 1", "port 4"]
    assert found[0].place.endswith("/last.toml:2:10")


def test_a_file_is_read_once(file):
    """Or forty that include the next one twice would be read a million million times."""
    for number in range(40):
        file(f'include = ["{number + 1}.toml", "./{number + 1}.toml"]', f"{number}.toml")
    last = file('[[rule]]\nskip = "log"\n', "40.toml")
    first, known = last.replace("/40.toml", "/0.toml"), set()
    assert len(read(first, installed(), known)) == 1 and len(known) == 41
    assert read(last, installed(), known) == []


def test_a_file_of_the_home_folder(file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file('[[rule]]\nskip = "log"\n', "common.toml")
    assert len(read(file('include = "~/common.toml"'), installed())) == 1


RULE = "[[rule]]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[rule]\nskip = "log"', ":1:"),
        (RULE + 'skip = "log', ":2:12: "),
        (RULE + "skip = ", ":2:8: "),
        ('[[rules]]\nskip = "log"', ":1:1: 'rules' is not known here"),
        ("\nx.y = 1", ":2:1: 'x' is not known here"),
        ('[rule]\nskip = "log"', ":1:1: a rule begins with [[rule]]"),
        (RULE + 'when = "tcp"\nskip = "log"', ":2:1: 'when': a rule has match, use, skip"),
        (RULE + 'match = "tcp"', ":1:1: a rule names handlers in `use` or in `skip`"),
        (RULE + 'match = "tcp"\nuse = []', ":1:1: a rule names handlers"),
        (RULE + 'match = 443\nuse = "log"', ":2:9: a condition is a string"),
        (RULE + 'match = "port x"\nuse = "log"', ":2:15: 'x' is not a port"),
        (RULE + '  match = "tcp and port 70000"\nuse = "log"', ":2:25: '70000' is not a port"),
        (RULE + 'match = "\\u0074cp or prt"\nuse = "log"', ":2:22: 'prt' is no test"),
        (
            RULE + 'match = """tcp\n  and (net 10.0.0.1/8)"""\nuse = "log"',
            ":3:12: '10.0.0.1/8' has",
        ),
        (RULE + 'match = "tcp and"\nuse = "log"', ":2:17: a test such as"),
        (RULE + 'use = ["log", "lgo"]', ":2:16: 'lgo': no such handler; there are "),
        (RULE + 'use = "log#0"', ":2:8: 'log#0': no such handler"),
        (RULE + "use = 5", ":2:7: a string is wanted, or an array"),
        (RULE + 'use = ["log", 5]', ":2:15: a string is wanted"),
        ("x = " + "[" * 5000 + "]" * 5000, ": too much within each other"),
        ("include = 5", ":1:11: a string is wanted"),
        ('include = ["none.toml"]', ":1:13: "),
        ('include = "rules.toml"', ":1:12: a circle: "),
    ],
)
def test_where_and_why_it_is_wrong(file, text, said):
    path = file(text)
    with pytest.raises(Unreadable) as wrong:
        read(path, installed())
    assert str(wrong.value).startswith(path + said), wrong.value
    assert "\n" not in str(wrong.value)


def test_a_circle_is_shown(file):
    one = file('include = "b.toml"', "a.toml")
    other = file('\ninclude = [ "a.toml" ]', "b.toml")
    with pytest.raises(Unreadable) as wrong:
        read(one, installed())
    assert str(wrong.value) == f"{other}:2:14: a circle: {one} includes {other} includes {one}"


def test_a_file_that_cannot_be_read(file, tmp_path):
    with pytest.raises(Unreadable, match="/none: No such file or directory"):
        read(f"{tmp_path}/none", installed())
    with pytest.raises(Unreadable, match="Is a directory"):
        read(str(tmp_path), installed())
    path = file("")
    (tmp_path / "rules.toml").write_bytes(b"\xff")
    with pytest.raises(Unusable, match="not UTF-8"):
        read(path, installed())
