"""The command line: `tesla_trace [--OPTION] +HANDLER[=VALUE] [-OPTION[=VALUE]] PROGRAM [ARG]`."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tesla_trace.report import Report, die, tell

if TYPE_CHECKING:
    from tesla_trace.flow import Stack
    from tesla_trace.front import FrontEnd
    from tesla_trace.keeper.answers import OnCrash
    from tesla_trace.kernel.signals import Signals
    from tesla_trace.launch import Launch
    from tesla_trace.summary import Summary
    from tesla_trace.supervisor import Supervisor

USAGE = 2
"""Exit status for a command line that makes no sense."""

NO_TRAP = 3
"""Exit status where this machine does not let us trap system calls."""

NOT_ATTACHED = 1
"""Exit status where a process cannot be attached to."""

TRAPS = ("auto", "seccomp", "ptrace")
"""See `trapping`, likewise."""

DATAPATHS = ("auto", "splice", "handlers")
"""See `io.datapath`, which is not imported only to take words apart."""

ON_CRASH = ("open", "closed", "kill")
"""See `keeper.answers`, likewise."""

METADATA = ("no", "ours", "any")
"""What a container may say of its handlers: nothing, such as are harmless, any."""

PROFILES = ("runc", "crun", "docker", "podman")
"""See `oci.profile`."""

HELP = """\
usage: tesla_trace [--OPTION] ... +HANDLER[=VALUE] [-OPTION[=VALUE]] ... PROGRAM ARG ...
       tesla_trace +HANDLER          what that handler does, and its options
       tesla_trace --attach PID [--tree] +HANDLER[=VALUE] ...
                                     the same for a process that runs already
       tesla_trace --detach PID      let it go again
       tesla_trace --handlers        the handlers there are
       tesla_trace --doctor          what this machine allows
       tesla_trace --keygen FILE     make a key file for +crypt
       tesla_trace +HANDLER ... --explain HOST:PORT [in] [udp] [program NAME] [port LISTENING]
                                     which handlers such a connection goes through, and why
       tesla_trace --oci-agent SOCKET [+HANDLER ...]
                                     serve containers that a runtime tells of (docs/containers.md)
       tesla_trace --oci-profile[=FOR] [--oci-agent SOCKET] +HANDLER ...
                                     the seccomp profile for them, for runc, crun, docker or podman
       tesla_trace --version

Run PROGRAM with every TCP connection that it makes or accepts going through the handlers.
The first handler named is nearest the program, the last nearest the network.

Each handler also takes -for='CONDITION', to be used for such flows only, and -except='CONDITION':
port 80,8000-8100 | net 10.0.0.0/8 | host *.example.org | program curl | in | out | tcp | udp,
joined with and, or, not, ( ).

  --rules FILE decide for each flow which of the handlers it goes through, by the rules in FILE
  --log FILE   write our own messages to FILE, with the time, rather than to stderr
  --report FILE
               write what happened to FILE as JSON, each flow and what was not covered: when the
               program has ended, and again when what it left behind has
  --strict     refuse what no handler can be given (UDP, raw sockets ...) rather than let it by
  --datapath=WAY
               how bytes travel that no handler wants to see: `auto` gives the program the kernel's
               own socket where that is safe, `splice` lets the kernel move them, `handlers` not
  --attach PID put a process that runs already under the handlers, in place of starting PROGRAM;
               Ctrl-C lets it go again, once its connections are over; twice, at once
  --tree       with --attach: also all processes that it has started
  --grace=SECONDS
               how long these may take before they are reset: 10, unless it is said
  --on-crash=WHAT
               what becomes of the program when our supervisor dies: `open` lets it make new sockets
               of the kernel's own, `closed` lets it reach no network, `kill` kills it with all that
               it started; `closed` with --strict and handlers not to be bypassed, else `open`
  --metadata[=any]
               with --oci-agent: a container's listenerMetadata may say which handlers are for it,
               of our own and with no option that names a file; `any` lifts that.  With
               --oci-profile: write them there
  --trap=seccomp|ptrace|auto
               how system calls are trapped: `auto`, which it is, by ptrace where seccomp cannot be
  --kill-on-exit
               with ptrace, let the program die when we do
  --wait       return only when every process is gone and every byte has been delivered
  -d           log each call that crosses a handler
  --           the program follows, whatever it is called

for example:
  tesla_trace +socks=proxy:1080 ./static-binary
  tesla_trace +log +http=proxy:3128 wget http://example.org/
"""


@dataclass
class Words:
    """The command line, taken apart."""

    handlers: list[str] = field(default_factory=list)
    program: list[str] = field(default_factory=list)
    log: str | None = None
    rules: list[str] = field(default_factory=list)
    report: str | None = None
    strict: bool = False
    datapath: str = "auto"
    trap: str = "auto"
    kill: bool = False
    """Whether the program is to die when we do."""
    on_crash: str = ""
    wait: bool = False
    debug: bool = False
    attach: int = 0
    """The process to attach to, in place of starting a program."""
    tree: bool = False
    """Whether also to all below it."""
    agent: str | None = None
    """The socket by which runtimes tell of containers, to be served in place of a program."""
    metadata: str = "no"
    """What a container may say of its handlers."""
    grace: float | None = None
    """Seconds for the connections of a process that is let go."""
    action: str = ""
    """What to do in place of running a program: the option's name."""
    value: str = ""
    """The action's value."""


def take_apart(argv: Sequence[str]) -> Words:
    """Tell our options, the handlers' words and the program apart.

    Raises:
        ValueError: an option of ours is wrong; the text is for the user.
    """
    words, rest = Words(), list(argv)
    valued = {"--log": "a file name", "--report": "a file name", "--keygen": "a file name"}
    valued |= {"--datapath": "a way", "--rules": "a file name", "--explain": "HOST:PORT"}
    valued |= {"--attach": "a process", "--detach": "a process", "--grace": "a time"}
    valued |= {"--on-crash": "what", "--oci-agent": "a socket's name"}
    valued["--trap"] = "a back end"
    while rest:
        word = rest[0]
        name, equals, value = word.partition("=")
        if word == "--":
            words.program = rest[1:]
            break
        if word == "-" or not word.startswith(("+", "-")):
            words.program = rest
            break
        if word.startswith("+") or words.handlers and not word.startswith("--"):
            words.handlers.append(rest.pop(0))
            continue
        rest.pop(0)
        if name in valued and not equals:
            if not rest:
                raise ValueError(f"{name}: {valued[name]} is missing")
            value = rest.pop(0)
        if name == "--log":
            words.log = value
        elif name == "--rules":
            words.rules.append(value)
        elif name == "--report":
            words.report = value
        elif name == "--datapath":
            if value not in DATAPATHS:
                raise ValueError(f"--datapath={value}: not one of {' '.join(DATAPATHS)}")
            words.datapath = value
        elif name == "--attach":
            words.attach = _process(name, value)
        elif name == "--detach":
            words.action, words.value = "detach", str(_process(name, value))
        elif name == "--grace":
            words.grace = _seconds(name, value)
        elif word == "--tree":
            words.tree = True
        elif name == "--on-crash":
            if value not in ON_CRASH:
                raise ValueError(f"--on-crash={value}: not one of {' '.join(ON_CRASH)}")
            words.on_crash = value
        elif name == "--oci-agent":
            words.agent = value
        elif name == "--metadata":
            if value not in METADATA[1:] and equals:
                raise ValueError(f"--metadata={value}: not one of {' '.join(METADATA[1:])}")
            words.metadata = value or METADATA[1]
        elif word == "--oci-profile" or name == "--oci-profile" and value in PROFILES:
            words.action, words.value = "oci-profile", value or PROFILES[0]
        elif name == "--oci-profile":
            raise ValueError(f"--oci-profile={value}: not one of {' '.join(PROFILES)}")
        elif name == "--trap":
            if value not in TRAPS:
                raise ValueError(f"--trap={value}: not one of {' '.join(TRAPS)}")
            words.trap = value
        elif word == "--kill-on-exit":
            words.kill = True
        elif word == "--strict":
            words.strict = True
        elif word == "--wait":
            words.wait = True
        elif word == "-d":
            words.debug = True
        elif word in ("--help", "-h", "--handlers", "--doctor", "--version") or name in (
            "--keygen",
            "--explain",
        ):
            words.action, words.value = name.lstrip("-")[0:1] if word == "-h" else name[2:], value
        else:
            raise ValueError(f"{word}: no such option; tesla_trace --help lists them")
    return words


def _process(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 1 << 31:
        raise ValueError(f"{name}={value}: not the number of a process")
    return int(value)


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{name}={value}: not a number of seconds")
    return seconds


def main() -> None:
    """Run the command line of this process."""
    gc.disable()  # until the supervisor runs: what is imported stays
    try:
        words = take_apart(sys.argv[1:])
    except ValueError as wrong:
        die(str(wrong), USAGE)
    if words.action and words.action not in ("explain", "oci-profile"):
        return _act(words)
    from tesla_trace.flow import UsageError

    try:
        if words.agent is not None or words.action == "oci-profile":
            return _containers(words)
        if (
            not (words.program or words.attach)
            and words.handlers
            and all("=" not in w for w in words.handlers)
        ):
            if not words.action:
                return _usage(words.handlers)
        stack = stacked(words)
    except UsageError as wrong:
        die(str(wrong), USAGE)
    if words.action:
        return _explain(words, stack)
    if words.program and words.attach:
        die("either a program is started, or --attach is for one that runs", USAGE)
    if words.tree and not words.attach:
        die("--tree: only with --attach", USAGE)
    if not words.program and not words.attach:
        die("no program given; tesla_trace --help says more", USAGE)
    if words.strict:
        _refuse_connected()
    _occupy_standard_files()
    try:
        report = Report(words.log)
    except OSError as wrong:
        die(f"--log {words.log}: {wrong.strerror}", USAGE)
    _run(words, stack, report, _summary(words))


def _containers(words: Words) -> None:
    """Be an agent, or say how to have one.

    Raises:
        UsageError: the words make no sense.
    """
    from tesla_trace.flow import UsageError

    if words.program or words.attach:
        raise UsageError("--oci-agent: a runtime starts the programs")
    if not words.handlers and (words.metadata == METADATA[0] or words.action):
        raise UsageError("no handlers given; --metadata lets containers name them")
    if words.action:
        from tesla_trace.oci.profile import PATH, text

        path, named = words.agent or PATH, words.handlers if words.metadata != "no" else []
        print(text(stacked(words), path, words.value, named, strict=words.strict))
        return
    _serve_containers(words, words.agent or "")


def _serve_containers(words: Words, path: str) -> None:
    named = stacked(words)  # what is wrong is better told now
    _occupy_standard_files()
    try:
        report = Report(words.log)
    except OSError as wrong:
        die(f"--log {words.log}: {wrong.strerror}", USAGE)
    try:
        from tesla_trace import front
        from tesla_trace.agent import Agent, Unopened
        from tesla_trace.flow import trace
        from tesla_trace.io.datapath import Datapath
        from tesla_trace.keeper.answers import OnCrash
        from tesla_trace.oci.metadata import Metadata
        from tesla_trace.successor import kept
    except RuntimeError as wrong:  # pyseccomp finds no libseccomp
        die(f"{wrong}; tesla_trace --doctor says more", NO_TRAP)

    def stack_of(handlers: Sequence[str] | None, harmless: bool) -> Stack:
        if handlers is None:
            return stacked(words)
        return stacked(replace(words, handlers=list(handlers)), harmless=harmless)

    chosen = Metadata(words.metadata, stack_of, needed=not words.handlers)
    closed = words.strict or named.exclusive or words.metadata != METADATA[0]
    policy = OnCrash(words.on_crash or ("closed" if closed else "open"))

    def supervise(end: FrontEnd, signals: Signals) -> int:
        try:
            agent = Agent(
                path,
                chosen,
                report,
                signals,
                end,
                lets_go=policy is OnCrash.OPEN,
                strict=words.strict,
                datapath=Datapath(words.datapath),
            )
        except Unopened as wrong:
            report.write(str(wrong))
            return NO_TRAP
        front.let_go((0, 1), end.inherited)
        try:
            agent.run()
        except BaseException as wrong:
            for line in trace(wrong):
                report.write(line)
            return front.LOST
        return 0 if policy is OnCrash.OPEN else front.LOST

    front.run(kept(supervise, report, policy), alone=True)


def stacked(words: Words, *, harmless: bool = False) -> Stack:
    """The handlers that the words name, with the rules that decide which flows they are for.

    Args:
        harmless: as of `parse`.

    Raises:
        UsageError: the words make no sense, or the rules do not.
    """
    from tesla_trace.flow import Stack, UsageError, installed, parse

    named = parse(words.handlers, harmless=harmless)
    from tesla_trace.flow.rules import Rule, Unusable, check

    rules: list[Rule] = []
    try:
        if words.rules:
            from tesla_trace.rulefile import read

            known: set[str] = set()
            rules = [rule for path in words.rules for rule in read(path, installed(), known)]
            check(rules)
        return Stack(named, probed=words.debug, rules=rules)
    except Unusable as wrong:  # `Unreadable` is one
        raise UsageError(str(wrong)) from None


def _summary(words: Words) -> Summary | None:
    if words.report is None:
        return None
    from tesla_trace.summary import Summary

    try:
        return Summary(words.report, words.program)
    except OSError as wrong:
        die(f"--report {words.report}: {wrong.strerror}", USAGE)


def _refuse_connected() -> None:
    from tesla_trace.front import inherited
    from tesla_trace.syscalls.escapes.strangers import connected

    for fd in connected((0, 1, 2, *inherited())):
        die(f"--strict: descriptor {fd} is a connection, past the handlers already", USAGE)


def _occupy_standard_files() -> None:
    """Let none of our own files become standard input, output or error, where one is closed.

    What stands there closes on exec, so that the program finds it closed too.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number


def _run(words: Words, stack: Stack, report: Report, summary: Summary | None) -> None:
    try:
        from tesla_trace import front
        from tesla_trace.flow import trace
        from tesla_trace.keeper.answers import OnCrash
        from tesla_trace.kernel.spawn import ExecError, FilterError, OuterError
        from tesla_trace.kernel.trap import TraceError
        from tesla_trace.successor import kept
        from tesla_trace.target import Unattachable

        closed = words.strict or stack.exclusive
        policy = OnCrash(words.on_crash or ("closed" if closed else "open"))
        start = _attach if words.attach else partial(_launch, policy=policy)
        supervisor_for = start(words, stack, report, summary)
    except RuntimeError as wrong:  # pyseccomp finds no libseccomp
        die(f"{wrong}; tesla_trace --doctor says more", NO_TRAP)

    def supervise(end: FrontEnd, signals: Signals) -> int:
        try:
            supervisor = supervisor_for(signals, end)
        except ExecError as wrong:
            report.write(str(wrong))
            return wrong.status
        except FilterError as wrong:
            from tesla_trace.doctor import why_no_filter

            report.write(why_no_filter(wrong.errno))
            return NO_TRAP
        except TraceError as wrong:
            from tesla_trace.doctor import why_no_trace

            report.write(why_no_trace(wrong.errno, wrong.tracer))
            return NO_TRAP
        except OuterError as wrong:
            report.write(f"the tesla_trace around this one does not help: {wrong}")
            return NO_TRAP
        except Unattachable as wrong:
            report.write(str(wrong))
            return NOT_ATTACHED
        try:
            supervisor.run()
        except BaseException as wrong:
            for line in trace(wrong):
                report.write(line)
            return front.LOST
        return 0

    front.run(kept(supervise, report, policy), alone=bool(words.attach))


Start = Callable[["Signals", "FrontEnd"], "Supervisor"]


def _launch(
    words: Words, stack: Stack, report: Report, summary: Summary | None, policy: OnCrash
) -> Start:
    from tesla_trace.io.datapath import Datapath

    return lambda signals, end: _launcher(words, stack, policy, end)(
        words.program,
        stack,
        report,
        signals,
        end,
        stay=words.wait,
        trap=words.trap,
        kill=words.kill or policy.value != "open",
        strict=words.strict,
        datapath=Datapath(words.datapath),
        summary=summary,
    )


def _launcher(words: Words, stack: Stack, policy: OnCrash, end: FrontEnd) -> Callable[..., Launch]:
    """What starts a program; another tesla_trace may be around us."""
    from tesla_trace.kernel.spawn import outer
    from tesla_trace.launch import Launch

    if words.trap != "ptrace" and (name := outer()):
        from tesla_trace.inner import Inner, relayed

        with suppress(ConnectionError):  # it is not around us, whatever our environment says
            trap = relayed(name, stack, end, policy, strict=words.strict)
            return partial(Inner, trap, policy)
    return Launch


def _attach(words: Words, stack: Stack, report: Report, summary: Summary | None) -> Start:
    from tesla_trace.attach import Attach
    from tesla_trace.detach import GRACE
    from tesla_trace.io.datapath import Datapath

    return lambda signals, end: Attach(
        words.attach,
        stack,
        report,
        signals,
        end,
        tree=words.tree,
        trap=words.trap,
        grace=GRACE if words.grace is None else words.grace,
        strict=words.strict,
        datapath=Datapath(words.datapath),
        summary=summary,
    )


def _explain(words: Words, stack: Stack) -> None:
    from tesla_trace.explain import Unexplained, facts, lines

    try:
        for line in lines(stack, words.value, facts(words.value, words.program)):
            print(line)
    except Unexplained as wrong:
        die(str(wrong), USAGE)


def _usage(handlers: Sequence[str]) -> None:
    from tesla_trace.flow import installed, usage
    from tesla_trace.flow.declared import OWN

    for word in handlers:
        if word.startswith("+"):
            try:
                print(usage(installed()[word[1:]]))
                for name, text in OWN.items():
                    print(f"  {f'-{name}=CONDITION':<18} {text}")
            except KeyError:
                from tesla_trace.flow import parse

                parse([word])


def _act(words: Words) -> None:
    match words.action:
        case "help" | "h":
            print(HELP, end="")
        case "version":
            from tesla_trace import __version__

            print(f"tesla_trace {__version__}")
        case "handlers":
            from tesla_trace.tables import handlers

            handlers()
        case "doctor":
            from tesla_trace.doctor import main as doctor

            sys.exit(doctor())
        case "detach":
            from tesla_trace import rendezvous

            try:
                with rendezvous.ask(int(words.value), rendezvous.DETACH) as end:
                    said = end.recv(rendezvous.ROOM)
            except rendezvous.Nobody as wrong:
                die(str(wrong), NOT_ATTACHED)
            tell(said.decode() or "whoever was attached has ended")
        case "keygen":
            from pathlib import Path

            from tesla_trace.keygen import keygen

            try:
                keygen(Path(words.value))
            except OSError as wrong:
                die(f"--keygen {words.value}: {os.strerror(wrong.errno or 0)}", USAGE)
