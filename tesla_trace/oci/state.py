"""What a runtime tells us of a process of a container (config-linux.md, "The seccomp state").

Facts: the runtime connects for each process, its first and those that enter it later, and sends one
JSON object, ContainerProcessState, and with its first byte the descriptors that the array `fds`
names in their order.  Some close the connection then (runc 1.1), others when the process ends (crun
1.8): so the end of the object must be seen in its text.  The specification allows descriptors that
are not for us.

Of a process that enters crun 1.8 says that its number is 0, and its bundle ".".

What it means for us: nothing is believed, for whoever may open the socket may write to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NoReturn

ROOM = 64 * 1024
"""Bytes that a state may have.  Those of runc and crun have some 300, and an annotation may be as
long as its author likes."""

DEPTH = 16
"""Objects and arrays within each other."""

LISTENER = "seccompFd"
"""What the listener is called among the descriptors."""

LONGEST = 1024
"""Characters of a container's name."""

HIGHEST = 2**22
"""No process has a larger number (PID_MAX_LIMIT)."""

_SPACE = b" \t\r\n"


class Malformed(Exception):
    """It is not a state; the text says why."""


@dataclass(frozen=True)
class State:
    """A process of a container, whose calls are to be served."""

    container: str
    bundle: str
    """The folder of the configuration, which with the name tells containers apart; not known if it
    does not begin with a slash."""
    pid: int
    """Its number, for the runtime; 0 where that does not say."""
    fds: tuple[str, ...]
    """The names of the descriptors."""
    metadata: str
    """`listenerMetadata` of the configuration."""


class Reader:
    """Takes a state apart, in whatever pieces it comes."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._depth = 0
        self._quoted = self._escaped = False

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return bool(self._text)

    def feed(self, data: bytes) -> State | None:
        """The state, once all of it is there.

        Raises:
            Malformed: it will never be one, or something follows it.
        """
        for at, byte in enumerate(data):
            if self._ends(byte):
                self._text += data[: at + 1]
                if data[at + 1 :].strip(_SPACE):
                    raise Malformed("something follows the state")
                return _read(bytes(self._text))
        self._text += data
        if len(self._text) > ROOM:
            raise Malformed(f"more than {ROOM} bytes")
        return None

    def _ends(self, byte: int) -> bool:
        """Whether the object ends with this byte."""
        if self._quoted:
            self._quoted = self._escaped or byte != ord('"')
            self._escaped = byte == ord("\\") and not self._escaped
        elif byte in b"{[":
            self._depth += 1
            if self._depth > DEPTH:
                raise Malformed("too many objects in each other")
        elif not self._depth:
            if byte not in _SPACE:
                raise Malformed("not a JSON object")
        elif byte in b"}]":
            self._depth -= 1
            return not self._depth
        else:
            self._quoted = byte == ord('"')
        return False


def _read(text: bytes) -> State:
    if len(text) > ROOM:
        raise Malformed(f"more than {ROOM} bytes")
    try:
        said = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as wrong:  # UnicodeDecodeError is a ValueError
        raise Malformed(f"not JSON: {wrong}") from wrong
    if not isinstance(said, dict):
        raise Malformed("not a JSON object")
    _text(said, "ociVersion")
    state = said.get("state")
    if not isinstance(state, dict):
        raise Malformed("no state in it")
    fds = said.get("fds")
    if not isinstance(fds, list) or not all(isinstance(each, str) for each in fds):
        raise Malformed("fds is not a list of names")
    pid = said.get("pid")
    if not isinstance(pid, int) or isinstance(pid, bool) or not 0 <= pid <= HIGHEST:
        raise Malformed("pid is not the number of a process")
    return State(
        container=_text(state, "id"),
        bundle=_text(state, "bundle", needed=False),
        pid=pid,
        fds=tuple(fds),
        metadata=_text(said, "metadata", needed=False, longest=ROOM),
    )


def _text(
    object: dict[str, object], name: str, *, needed: bool = True, longest: int = LONGEST
) -> str:
    value = object.get(name, None if needed else "")
    if not isinstance(value, str) or needed and not value:
        raise Malformed(f"{name} is missing, or not text")
    if len(value) > longest or longest == LONGEST and not (value.isprintable()):
        raise Malformed(f"{name} is too long, or not printable")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
