"""What rules decide of a handler, and which of them could never decide anything."""

import pytest

from tesla_trace.flow import UsageError, parse
from tesla_trace.flow.condition import ALWAYS
from tesla_trace.flow.condition_text import read
from tesla_trace.flow.facts import Facts
from tesla_trace.flow.rules import Mention, Rule, Unusable, assign, decide
from tesla_trace.flow.usable import check

FLOW = Facts("out", "tcp", "ipv4", "10.0.0.1", 443, "curl")


def rule(text, use="", skip="", line=1):
    def mentions(words, column):
        return tuple(Mention(word, f"f:{line}:{column}") for word in words.split())

    condition = read(text) if text else ALWAYS
    return Rule(condition, text, f"f:{line}:1", mentions(use, 2), mentions(skip, 3))


def rules(*each):
    return [rule(*words, line=line) for line, words in enumerate(each, 1)]


def decided(given, name="log", flow=FLOW, names=("log", "socks")):
    decision = decide(assign(given, names)[list(names).index(name)], flow)
    return decision.used, [entry.said.split(": ")[0] for entry in decision.by]


def test_the_first_that_is_true_and_names_the_handler_decides():
    given = rules(
        ("port 80", "log"),
        ("port 443", "", "socks"),
        ("net 10.0.0.0/8", "", "log"),
        ("", "log socks"),
    )
    assert decided(given) == (False, ["f:3:1"])
    assert decided(given, "socks") == (False, ["f:2:1"])
    assert decided(given, flow=FLOW._replace(port=80)) == (True, ["f:1:1"])
    assert decided(given, "socks", FLOW._replace(port=80)) == (True, ["f:4:1"])


def test_without_a_rule_it_is_used():
    assert decided([]) == (True, [])
    assert decided(rules(("port 80", "", "log"))) == (True, [])


def test_a_star_is_every_handler_and_a_number_tells_namesakes_apart():
    given = rules(("port 1", "", "socks#2"), ("port 1-2", "", "socks"), ("port 3", "", "*"))
    names = ("socks", "log", "socks")
    found = [
        [decide(entries, FLOW._replace(port=port)).used for entries in assign(given, names)]
        for port in (1, 2, 3, 4)
    ]
    assert found == [[False, True, False], [False, True, False], [False] * 3, [True] * 3]
    by = [decide(each, FLOW._replace(port=1)).by for each in assign(given, names)]
    assert [[entry.said[:5] for entry in each] for each in by] == [["f:2:1"], [], ["f:1:1"]]


def test_what_is_not_known_leaves_open_what_depends_on_it():
    unknown = FLOW._replace(port=None)
    given = rules(("port 80", "", "log"), ("tcp", "log"))
    assert decided(given, flow=unknown) == (None, ["f:1:1", "f:2:1"])
    given = rules(("port 80", "log"), ("tcp", "log"))
    assert decided(given, flow=unknown) == (True, ["f:1:1", "f:2:1"])
    given = rules(("port 80", "", "log"))
    assert decided(given, flow=unknown) == (None, ["f:1:1"])


# ---- rules that cannot be meant ----


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([("port 1 and port 2", "log")], "f:1:1: 'port 1 and port 2' contradicts itself"),
        ([("tcp", "log", "log")], "f:1:3: 'log' is in `use` and in `skip`"),
        (
            [("net 10.0.0.0/8", "", "log"), ("port 1", "log"), ("host 10.0.0.1", "log")],
            "f:3:2: this decides nothing of 'log': f:1:1 comes first",
        ),
        ([("", "log"), ("port 1", "", "log")], "f:2:3: this decides nothing of 'log': f:1:1"),
        ([("tcp", "", "*"), ("tcp and out", "log")], "f:2:2: this decides nothing of 'log'"),
        ([("tcp", "", "log"), ("tcp", "log#2")], "f:2:2: this decides nothing of 'log#2'"),
        ([("tcp", "", "*"), ("tcp", "*")], "f:2:2: this decides nothing of '*'"),
    ],
)
def test_what_can_decide_nothing_is_found(given, said):
    with pytest.raises(Unusable) as wrong:
        check(rules(*given))
    assert str(wrong.value).startswith(said)


@pytest.mark.parametrize(
    "given",
    [
        [("tcp", "", "log"), ("tcp", "", "socks")],
        [("tcp", "", "log"), ("tcp", "", "*")],
        [("tcp", "", "log#2"), ("tcp", "", "log")],
        [("port 1-9", "", "log"), ("port 5-20", "log")],
        [("host 10.0.0.1", "log"), ("net 10.0.0.0/8", "", "log")],
    ],
)
def test_what_can_is_not(given):
    check(rules(*given))


# ---- of one handler, on the command line ----


def own(*words, flow=FLOW):
    (named,) = parse(["+log", *words])
    return decide(named.own, flow).used


def test_for_and_except():
    assert own() is True
    assert own("-for=port 443") is True and own("-for=port 80") is False
    assert own("-except=port 443") is False and own("-except=port 80") is True
    both = ("-for=tcp", "-except=net 10.0.0.0/8")
    assert own(*both) is False
    assert own(*both, flow=FLOW._replace(host="192.0.2.1")) is True
    assert own(*both, flow=FLOW._replace(type="udp")) is False
    assert own("-for=port 443", flow=FLOW._replace(port=None)) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-for=port x"], "+log -for='port x': column 6: 'x' is not a port"),
        (["-except=net 10.0.0.1/8"], "+log -except='net 10.0.0.1/8': column 5: '10.0.0.1/8' has"),
        (["-for"], "+log -for: a condition is missing"),
        (["-for="], "+log -for=: a condition is missing"),
        (["-for=tcp", "-for=udp"], "+log -for=udp: -for was given before"),
        (["-for=tcp and udp"], "+log -for='tcp and udp': it contradicts itself"),
        (
            ["-for=port 80", "-except=port 1-100"],
            "+log -for='port 80' -except='port 1-100': every flow that -for is for",
        ),
    ],
)
def test_words_that_make_no_sense(words, said):
    with pytest.raises(UsageError) as wrong:
        parse(["+log", *words])
    assert str(wrong.value).startswith(said)
