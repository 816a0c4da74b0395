"""Lines and columns of what a TOML file has."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.places import Places

TEXT = '''\
# a comment with [[rule]] and "
include = ["a.toml", 'b # no comment.toml',  # a comment
  """c"""]
"quoted \\"key\\"" = 1979-05-27T07:32:00Z

[[rule]]
match = "port \\u0038\\t0 # x"
use = [
  "log",
]
  [rule.sub . table]
  key = { inline = [1, 2], other.dotted = "x" }
[[rule]]
match = """
first
  second \\
     third"""
skip = "*"
literal = \'\'\'one
two\'\'\'\'
'''


def test_keys_values_and_letters():
    places = Places(TEXT)
    assert places.key(("include",)) == "2:1"
    assert places.value(("include",)) == "2:11"
    assert [places.value(("include", at)) for at in range(3)] == ["2:13", "2:23", "3:6"]
    assert places.key(('quoted "key"',)) == "4:1"
    assert [places.key(("rule", at)) for at in range(2)] == ["6:1", "13:1"]
    assert places.key(("rule",)) == "6:1"
    match = ("rule", 0, "match")
    assert places.key(match) == "7:1"
    assert [places.value(match, at) for at in (0, 5, 6, 7, 8)] == [
        "7:10",
        "7:15",  # \u0038
        "7:21",  # \t
        "7:23",
        "7:24",
    ]
    assert places.value(("rule", 0, "use", 0)) == "9:4"
    assert places.key(("rule", 0, "sub", "table")) == "11:3"
    assert places.value(("rule", 0, "sub", "table", "key", "inline", 1)) == "12:24"
    assert places.value(("rule", 0, "sub", "table", "key", "other", "dotted")) == "12:44"
    match = ("rule", 1, "match")
    assert [places.value(match, at) for at in (0, 6, 8, 15)] == ["15:1", "16:1", "16:3", "17:6"]
    assert places.value(("rule", 1, "literal"), 4) == "20:1"


def strings(value, path=()):
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from strings(each, (*path, key))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from strings(each, (*path, at))


def test_strings_are_understood_as_tomllib_does():
    places = Places(TEXT)
    found = dict(strings(tomllib.loads(TEXT)))
    assert len(found) == 9 and {path: places.string(path) for path in found} == found


LETTERS = st.text(st.sampled_from("ab\"'\\#=[]{},.\n\té \U0001f600"), max_size=12)


def basic(text, quote='"'):
    codes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
    return quote + "".join(codes.get(letter, letter) for letter in text) + quote


def written(value):
    if isinstance(value, dict):
        inside = ", ".join(f"{basic(key)} = {written(each)}" for key, each in value.items())
        return "{" + inside + "}"
    if isinstance(value, list):
        return "[ # ]\n" + ",\n".join(map(written, value)) + "]"
    return basic(value, '"""') if len(value) % 2 else basic(value)


VALUES = st.recursive(
    LETTERS, lambda part: st.lists(part, max_size=3) | st.dictionaries(LETTERS, part, max_size=3)
)


@given(st.dictionaries(LETTERS, VALUES, max_size=4))
def test_whatever_tomllib_reads_is_found(content):
    text = "".join(f"{basic(key)} = {written(value)}\n" for key, value in content.items())
    read = tomllib.loads(text)
    places = Places(text)
    for path, string in strings(read):
        assert places.string(path) == string
        line, column = map(int, places.value(path, len(string)).split(":"))
        assert text.splitlines()[line - 1][column - 1] == '"'
