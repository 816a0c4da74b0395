"""The seccomp profile of a container, for the runtime: what is trapped, and whom to tell.

Facts (config-linux.md, "Seccomp", and libseccomp), and what they mean for us:

- runc up to 1.1 knows none of the flags that we want, and refuses a configuration with them.
- Rules for one call hold if any does.  Two conditions on one argument in one rule are taken by runc
  for two rules: ours have one at most.
- What is let through by a rule without conditions is let through: so our rules go into a profile
  that lets these calls through because it names nothing (`defaultAction`).
- Docker and Podman read a form of their own, in which `archMap` stands for `architectures`.
- The conditions for socketcall(2) see its own registers: it is trapped for each sub-call that any
  rule is for, and looked at afterwards.
"""

from __future__ import annotations

import errno
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence

from tesla_trace.flow import Stack
from tesla_trace.kernel.arches import AARCH64 as ARM64
from tesla_trace.kernel.arches import ARM, I386, MULTIPLEXER, X86_64, Arch, arches
from tesla_trace.kernel.filter import REFUSED, Condition, Masked, NonZero, Rule
from tesla_trace.kernel.seccomp import pyseccomp
from tesla_trace.syscalls import table

PATH = "/run/tesla_trace/agent.sock"
"""Where the agent is, if nobody says."""

NAMES = {X86_64: "X86_64", I386: "X86", ARM64: "AARCH64", ARM: "ARM"}
"""What architectures are called there, behind SCMP_ARCH_."""

KILLABLE = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"

Json = dict[str, object]


def text(
    stack: Stack, path: str, form: str, handlers: Sequence[str] = (), *, strict: bool = False
) -> str:
    """The profile as JSON.

    Args:
        path: of the agent's socket.
        form: `runc` or `crun`, the `linux.seccomp` of a config.json; `docker` or `podman`.
        handlers: words for the agent, to be its `listenerMetadata`.
    """
    rules = table.rules(stack, closed=strict or stack.exclusive)
    said: Json = {"defaultAction": "SCMP_ACT_ALLOW", **_architectures(form)}
    if form in ("crun", "podman"):
        said["flags"] = [KILLABLE]
    said["listenerPath"] = path
    if handlers:
        said["listenerMetadata"] = shlex.join(handlers)
    said["syscalls"] = [_refused(), *map(_rule, rules), *_multiplexed(rules)]
    return json.dumps(said, indent=2)


def _architectures(form: str) -> Json:
    names = [f"SCMP_ARCH_{NAMES.get(each) or _native(each)}" for each in arches()]
    if form in ("runc", "crun"):
        return {"architectures": names}
    return {"archMap": [{"architecture": names[0], "subArchitectures": names[1:]}]}


def _native(arch: Arch) -> str:
    return str(pyseccomp.Arch(arch.audit).name)


def _refused() -> Json:
    return {"names": list(REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}


def _rule(rule: Rule) -> Json:
    return _notify(rule.call, map(_condition, rule.conditions))


def _notify(call: str, args: Iterable[Json]) -> Json:
    said: Json = {"names": [call], "action": "SCMP_ACT_NOTIFY"}
    conditions = list(args)
    if conditions:
        said["args"] = conditions
    return said


def _condition(condition: Condition) -> Json:
    match condition:
        case Masked(arg, mask, value):
            return {
                "index": arg,
                "value": mask,
                "valueTwo": value,
                "op": "SCMP_CMP_MASKED_EQ",
            }
        case NonZero(arg):
            return {"index": arg, "value": 0, "op": "SCMP_CMP_NE"}


def _multiplexed(rules: Iterable[Rule]) -> Iterator[Json]:
    calls = {rule.call for rule in rules}
    numbers = {n for arch in arches() for n, (call, _) in arch.subcalls.items() if call in calls}
    for number in sorted(numbers):
        yield _notify(MULTIPLEXER, [{"index": 0, "value": number, "op": "SCMP_CMP_EQ"}])
