"""What a runtime tells: whole, a byte at a time, cut short, and all that it must not be."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.oci.state import DEPTH, HIGHEST, LISTENER, ROOM, Malformed, Reader, State

# As runc 1.1.5 and crun 1.8.1 write it.
RUNC = (
    b'{"ociVersion":"1.0.2-dev","fds":["seccompFd"],"pid":30214,"metadata":"+log","state":'
    b'{"ociVersion":"1.0.2-dev","id":"x2","status":"creating","pid":30214,"bundle":"/tmp/b"}}'
)
CRUN = (
    b'{\n    "ociVersion": "0.2.0",\n    "fds": [\n        "seccompFd"\n    ],\n'
    b'    "pid": 31586,\n    "metadata": "a } \\" \\\\",\n    "state": {\n'
    b'        "ociVersion": "0.2.0",\n        "id": "x2",\n        "status": "creating",\n'
    b'        "pid": 31586,\n        "bundle": "/tmp/b"\n    }\n}\n'
)
READ = {
    RUNC: State("x2", "/tmp/b", 30214, (LISTENER,), "+log"),
    CRUN: State("x2", "/tmp/b", 31586, (LISTENER,), 'a } " \\'),
}
each_runtime = pytest.mark.parametrize("text", READ, ids=["runc", "crun"])

GOOD = {
    "ociVersion": "1.0.2",
    "fds": [LISTENER],
    "pid": 7,
    "state": {"ociVersion": "1.0.2", "id": "c", "status": "creating", "bundle": "/b"},
}


def read(text):
    return Reader().feed(text)


def said(**changes):
    return json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v is not None}).encode()


@each_runtime
def test_whole(text):
    assert read(text) == READ[text]


@each_runtime
def test_one_byte_at_a_time(text):
    reader = Reader()
    answers = [reader.feed(text[at : at + 1]) for at in range(len(text.rstrip()))]
    assert answers[:-1] == [None] * (len(answers) - 1) and answers[-1] == READ[text]


@each_runtime
def test_cut_short(text):
    """Anywhere: nothing is made of a part."""
    for size in range(len(text.rstrip())):
        assert read(text[:size]) is None


@each_runtime
def test_what_follows(text):
    assert read(text + b" \n") == READ[text]
    with pytest.raises(Malformed, match="follows"):
        read(text + text)


def test_metadata_and_bundle_may_be_missing():
    assert read(said()) == State("c", "/b", 7, (LISTENER,), "")
    assert read(said(state={"id": "c"})).bundle == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"ociVersion": None},
        {"ociVersion": 1},
        {"pid": None},
        {"pid": -1},
        {"pid": True},
        {"pid": "7"},
        {"pid": 7.5},
        {"pid": HIGHEST + 1},
        {"fds": None},
        {"fds": "seccompFd"},
        {"fds": [7]},
        {"metadata": {}},
        {"state": None},
        {"state": []},
        {"state": {}},
        {"state": {"id": ""}},
        {"state": {"id": "two\nlines"}},
        {"state": {"id": "x" * 1025}},
        {"state": {"id": "c", "bundle": 1}},
    ],
    ids=repr,
)
def test_malformed(changes):
    with pytest.raises(Malformed):
        read(said(**changes))


@pytest.mark.parametrize(
    "text",
    [
        b"GET / HTTP/1.1",
        b'"text"',
        b"[]",
        b"7",
        b"}",
        b"{]",
        b"{}",
        b'{"pid": NaN}',
        b'{"pid": ' + b"9" * 5000 + b"}",
        b'{"\xff": 1}',
        b"[" * (DEPTH + 1),
        b'{"a":' * (DEPTH + 1),
        b"{" + b" " * ROOM,
        b"{" + b" " * ROOM + b"}",
    ],
    ids=lambda each: repr(each[:20]),
)
def test_nonsense(text):
    with pytest.raises(Malformed):
        read(text)
    with pytest.raises(Malformed):
        reader = Reader()
        for at in range(len(text)):
            reader.feed(text[at : at + 1])


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_a_state_or_not(data, at):
    reader = Reader()
    try:
        assert reader.feed(data[:at]) is None and reader.feed(data[at:]) is None
    except Malformed:
        pass
