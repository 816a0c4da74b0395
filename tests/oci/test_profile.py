"""The profile that we print asks a runtime for what our own filter does."""

import json
import shlex

import pytest

from tesla_trace.flow import Stack, parse
from tesla_trace.kernel.arches import I386, MULTIPLEXER, X86_64, arches
from tesla_trace.kernel.filter import REFUSED
from tesla_trace.oci.profile import KILLABLE, NAMES, text
from tesla_trace.syscalls import table

each_form = pytest.mark.parametrize("form", ["runc", "crun", "docker", "podman"])


def profile(form="runc", *words, handlers=(), strict=False):
    stack = Stack(parse(words or ("+socks=proxy:1080",)))
    return json.loads(text(stack, "/run/a.sock", form, handlers, strict=strict))


def holds(rule, args):
    """As a runtime has libseccomp understand it."""
    for each in rule.get("args", ()):
        value = args[each["index"]]
        match each["op"]:
            case "SCMP_CMP_MASKED_EQ":
                if value & each["value"] != each["valueTwo"]:
                    return False
            case "SCMP_CMP_NE":
                if value == each["value"]:
                    return False
            case "SCMP_CMP_EQ":
                if value != each["value"]:
                    return False
            case other:
                pytest.fail(other)
    return True


@each_form
def test_it_lets_through_and_notifies(form):
    said = profile(form)
    assert said["defaultAction"] == "SCMP_ACT_ALLOW" and said["listenerPath"] == "/run/a.sock"
    refused, *others = said["syscalls"]
    assert refused == {"names": list(REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    assert {each["action"] for each in others} == {"SCMP_ACT_NOTIFY"}
    assert "listenerMetadata" not in said


@pytest.mark.parametrize("words", [("+socks=proxy:1080",), ("+dummy",), ("+compress",)])
@pytest.mark.parametrize("strict", [False, True])
def test_the_same_is_trapped(words, strict):
    """Whatever the registers are, for they are looked at one by one."""
    stack = Stack(parse(words))
    rules = table.rules(stack, closed=strict or stack.exclusive)
    said = profile("runc", *words, strict=strict)["syscalls"]
    for call in {rule.call for rule in rules}:
        for arg in range(6):
            for value in (0, 1, 2, 3, 16, 0x4000, 0x8000, 0x10000, 0x20000000, 0xFFFFFFFF):
                args = [0] * 6
                args[arg] = value
                ours = any(rule.holds(args) for rule in rules if rule.call == call)
                theirs = any(holds(each, args) for each in said if call in each["names"])
                assert ours == theirs, (call, args)


def test_every_rule_has_one_condition_for_an_argument():
    for each in profile("runc", "+dummy")["syscalls"]:
        indices = [arg["index"] for arg in each.get("args", ())]
        assert len(indices) == len(set(indices))


def test_what_a_runtime_does_itself_is_not_trapped():
    """After it has loaded the filter, before anybody answers (runc refuses write(2) outright)."""
    names = {
        name
        for each in profile("runc", "+dummy", strict=True)["syscalls"][1:]
        for name in each["names"]
    }
    assert not names & set("write read close execve openat futex exit_group prctl capset".split())


@pytest.mark.skipif(arches()[0] is not X86_64, reason="needs x86-64, for socketcall(2)")
def test_socketcall():
    said = profile("runc", "+dummy")["syscalls"]
    numbers = {each["args"][0]["value"] for each in said if each["names"] == [MULTIPLEXER]}
    calls = {name for each in said for name in each["names"]}
    assert numbers == {number for number, (call, _) in I386.subcalls.items() if call in calls}


@each_form
def test_forms(form):
    said = profile(form)
    names = [f"SCMP_ARCH_{NAMES[each]}" for each in arches()]
    if form in ("docker", "podman"):
        assert said["archMap"] == [{"architecture": names[0], "subArchitectures": names[1:]}]
    else:
        assert said["architectures"] == names
    assert said.get("flags", []) == [KILLABLE] * (form in ("crun", "podman"))


def test_metadata():
    words = ["+socks=10.0.0.1:1080", "-for=port 80", "+log"]
    said = profile("runc", *words, handlers=words)["listenerMetadata"]
    assert shlex.split(said) == words
