"""Our own options, and taking a command line apart by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tesla_trace.cli.words import DATAPATHS, METADATA, ON_CRASH, PROFILES, TRAPS, Words


def _process(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 1 << 31:
        raise ValueError("not the number of a process")
    return int(value)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError("not a number of seconds")
    return seconds


class Option(NamedTuple):
    """One of our own.

    Args:
        name: with its dashes.
        field: where in `Words` what it says goes; of an action, empty.
        text: for the help; without any it is in the usage.
        value: what stands for its value in the help; without one it has none.
        needs: what is missing where it has no value; where empty, it may be without.
        choices: the values that there are.
        read: makes something of the value.  Raises ValueError: it makes no sense.
        otherwise: the value that it has where none is given.
        beside: the options that it says something about, without which it means nothing.
        alone: whether neither handlers nor a program go with it.
        many: whether it may be given more than once, and all of it counts.
    """

    name: str
    field: str
    text: str = ""
    value: str = ""
    needs: str = ""
    choices: tuple[str, ...] = ()
    read: Callable[[str], object] = str
    otherwise: str = ""
    beside: tuple[str, ...] = ()
    alone: bool = False
    many: bool = False

    @property
    def shown(self) -> str:
        """It and its value, as they are typed."""
        if not self.value:
            return self.name
        return f"{self.name} {self.value}" if self.needs else f"{self.name}[={self.value}]"

    def take(self, said: dict[str, Any], value: str) -> None:
        """Put what it says among the fields of `Words` that are said.

        Raises:
            ValueError: the text is for the user.
        """
        if self.choices and value not in self.choices:
            raise ValueError(f"{self.name}={value}: not one of {' '.join(self.choices)}")
        try:
            read = self.read(value) if self.value else True
        except ValueError as wrong:
            raise ValueError(f"{self.name}={value}: {wrong}") from None
        if not self.field:
            said.update(action=self.name.lstrip("-"), value=value)
        elif self.many:
            said[self.field] = [*said.get(self.field, ()), read]
        else:
            said[self.field] = read


OPTIONS = (
    Option(
        "--rules",
        "rules",
        "decide for each flow which of the handlers it goes through, by the rules in FILE",
        value="FILE",
        needs="a file name",
        many=True,
    ),
    Option(
        "--log",
        "log",
        "write our own messages to FILE, with the time, rather than to stderr",
        value="FILE",
        needs="a file name",
    ),
    Option(
        "--report",
        "report",
        "write what happened to FILE as JSON, each flow and what was not covered: when the program"
        " has ended, and again when what it left behind has",
        value="FILE",
        needs="a file name",
    ),
    Option(
        "--strict",
        "strict",
        "refuse what no handler can be given (UDP, raw sockets ...) rather than let it by",
    ),
    Option(
        "--datapath",
        "datapath",
        "how bytes travel that no handler wants to see: `auto` gives the program the kernel's own"
        " socket where that is safe, `splice` lets the kernel move them, `handlers` not",
        value="WAY",
        needs="a way",
        choices=DATAPATHS,
    ),
    Option(
        "--trap",
        "trap",
        "how system calls are trapped, `seccomp` or `ptrace`: `auto`, which it is, takes ptrace"
        " where seccomp cannot be",
        value="HOW",
        needs="a back end",
        choices=TRAPS,
    ),
    Option("--kill-on-exit", "kill", "with ptrace, let the program die when we do"),
    Option(
        "--attach",
        "attach",
        "put a process that runs already under the handlers, in place of starting PROGRAM; Ctrl-C"
        " lets it go again, once its connections are over; twice, at once",
        value="PID",
        needs="a process",
        read=_process,
    ),
    Option(
        "--tree",
        "tree",
        "with --attach: also all processes that it has started",
        beside=("--attach",),
    ),
    Option(
        "--grace",
        "grace",
        "with --attach: how long those connections may take before they are reset, 10 unless it is"
        " said",
        value="SECONDS",
        needs="a time",
        read=_seconds,
        beside=("--attach",),
    ),
    Option(
        "--on-crash",
        "on_crash",
        "what becomes of the program when our supervisor dies: `open` lets it make new sockets of"
        " the kernel's own, `closed` lets it reach no network, `kill` kills it with all that it"
        " started; `closed` with --strict and handlers not to be bypassed, else `open`",
        value="WHAT",
        needs="what",
        choices=ON_CRASH,
    ),
    Option(
        "--metadata",
        "metadata",
        "with --oci-agent: a container's listenerMetadata may say which handlers are for it, of our"
        " own and with no option that names a file; `=any` lifts that.  With --oci-profile: write"
        " them there",
        value="WHICH",
        choices=METADATA[1:],
        otherwise=METADATA[1],
        beside=("--oci-agent", "--oci-profile"),
    ),
    Option("--wait", "wait", "return only when every process is gone and every byte delivered"),
    Option("-d", "debug", "log each call that crosses a handler"),
    Option("--oci-agent", "agent", value="SOCKET", needs="a socket's name"),
    Option("--oci-profile", "", value="FOR", choices=PROFILES, otherwise=PROFILES[0]),
    Option("--explain", "", value="HOST:PORT", needs="HOST:PORT"),
    Option("--detach", "", value="PID", needs="a process", read=_process, alone=True),
    Option("--keygen", "", value="FILE", needs="a file name", alone=True),
    Option("--handlers", "", alone=True),
    Option("--doctor", "", alone=True),
    Option("--version", ""),
    Option("--help", ""),
)

_BY_NAME = {each.name: each for each in OPTIONS}
_BY_NAME["-h"] = _BY_NAME["--help"]


def take_apart(argv: Sequence[str]) -> Words:
    """Tell our options, the handlers' words and the program apart.

    Raises:
        ValueError: an option of ours is wrong; the text is for the user.
    """
    said: dict[str, Any] = {}
    handlers: list[str] = []
    rest, given = list(argv), dict[str, Option]()
    while rest:
        word = rest[0]
        if word == "--":
            said["program"] = rest[1:]
            break
        if word == "-" or not word.startswith(("+", "-")):
            said["program"] = rest
            break
        rest.pop(0)
        if word.startswith("+") or handlers and not word.startswith("--"):
            handlers.append(word)
            continue
        name, equals, value = word.partition("=")
        option = _BY_NAME.get(name)
        if option is None or equals and not option.value:
            raise ValueError(f"{word}: no such option; tesla_trace --help lists them")
        if option.needs and not equals:
            if not rest:
                raise ValueError(f"{name}: {option.needs} is missing")
            value = rest.pop(0)
        given[option.name] = option
        option.take(said, value if equals or option.needs else option.otherwise)
    words = Words(handlers, **said)
    if "--help" not in given:
        _together(words, given)
    return words


def _together(words: Words, given: Mapping[str, Option]) -> None:
    """See whether the options that were given go with each other, and with the rest.

    Raises:
        ValueError: they do not.
    """
    for name, option in given.items():
        if option.beside and not any(other in given for other in option.beside):
            raise ValueError(f"{name}: only with {' or '.join(option.beside)}")
        if option.alone and (words.handlers or words.program or words.attach):
            raise ValueError(f"{name}: neither handlers nor a program go with it")
    if words.attach and not words.handlers:
        raise ValueError("--attach: no handlers given; tesla_trace --handlers lists them")
