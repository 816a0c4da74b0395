"""Play a handler like a score, with nothing real above, below or on the clock.

    play = Playbook(Socks, "-proxy=10.0.0.9:1080")
    play >> app.connect(PEER)                 # the application does this;
    play << net.connect(("10.0.0.9", 1080))   # the handler must answer so

`>>` begins a turn of the loop: what was put off by `later` is done, and then
the thing itself.  `<<` checks the next reaction.  `app` is the flow above,
`net` the flow below; `turn` is a turn with nothing more to it, and `wait(s)`
lets time pass.  Further flows that it plumbs are `nets[1]`, `nets[2]`, … .  Writes one
after the other count as one, unless they are datagrams: where data is cut is
nobody's business.  A reaction that no `<<` names is a failure, at the next `>>`
or at the end, and so is an event from inside a call.  `play.lines` is the log.
"""

from __future__ import annotations

import heapq
import itertools
import reprlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tesla_trace.flow import Address, Context, Flow, FlowHandler, parse


class HandClock:
    """A clock, and the turns of a loop, that move when told to."""

    def __init__(self) -> None:
        self.time = 0.0
        self.turning = False
        self._alarms: list[tuple[float, int, HandAlarm]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self.time

    def at(self, when: float, call: Callable[[], object]) -> HandAlarm:
        alarm = HandAlarm(call)
        heapq.heappush(self._alarms, (when, next(self._order), alarm))
        return alarm

    def turn(self) -> None:
        """Do what is due by now; what this asks for is left to the next turn."""
        due = []
        while self._alarms and self._alarms[0][0] <= self.time:
            due.append(heapq.heappop(self._alarms)[2])
        self.turning = True
        for alarm in due:
            alarm.call()
        self.turning = False

    def advance(self, seconds: float) -> None:
        """Let time pass, with all the turns that it brings."""
        end = self.time + seconds
        while self._alarms and self._alarms[0][0] <= end:
            self.time = max(self.time, self._alarms[0][0])
            self.turn()
        self.time = end

    def pending(self) -> int:
        return sum(1 for _, _, alarm in self._alarms if not alarm.cancelled)


class HandAlarm:
    """A call that is still to come."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.cancelled = False

    def call(self) -> None:
        if not self.cancelled:
            self._call()

    def cancel(self) -> None:
        self.cancelled = True


@dataclass(repr=False)
class Line:
    """One line of the score: somebody, a call or an event, and its arguments."""

    who: str
    what: str
    args: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"{self.who}.{self.what}({', '.join(map(reprlib.repr, self.args))})"


class Role:
    """`app.write(b"x")` makes a line; it does nothing by itself."""

    def __init__(self, who: str) -> None:
        self._who = who

    def __getattr__(self, what: str) -> Any:
        return lambda *args: Line(self._who, what, args)


app, net = Role("app"), Role("net")
nets = [net, *(Role(f"net{number}") for number in range(1, 9))]
turn = Line("clock", "turn", ())


def wait(seconds: float) -> Line:
    """Let time pass."""
    return Line("clock", "advance", (seconds,))


def plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Arguments as a line shows them: no handlers, errors as their number, no trailing None."""
    shown = [a.errno if isinstance(a, OSError) else a for a in (*args, *kwargs.values())]
    shown = [a for a in shown if not isinstance(a, FlowHandler | Fake)]
    while shown and shown[-1] is None:
        shown.pop()
    return tuple(shown)


class Fake:
    """Stands for a neighbour: notes each call, and answers what it was told to."""

    def __init__(self, who: str, notes: list[Line], answers: dict[str, Any]) -> None:
        self._who, self._notes, self.answers = who, notes, answers
        self.upstream: Any = None
        self.aside = False

    def __getattr__(self, what: str) -> Any:
        getattr(FlowHandler, what)  # a call that handlers do not have is a mistake

        def call(*args: Any, **kwargs: Any) -> Any:
            self._notes.append(Line(self._who, what, plain(args, kwargs)))
            return self.answers.get(what)

        return call


class Playbook:
    """One handler between two fakes; options are given as words."""

    def __init__(
        self,
        handler: type[FlowHandler],
        *words: str,
        accepted: bool = False,
        type: int = socket.SOCK_STREAM,
        target: Address | None = None,
    ) -> None:
        self.clock = HandClock()
        self.lines: list[str] = []
        self._reactions: list[Line] = []
        self.above = Fake("app", self._reactions, {"avail": True})
        self.below = Fake("net", self._reactions, {"write": True})
        self.flows: list[Fake] = []
        """The flows below, as they were plumbed."""
        self.kinds: list[tuple[int, int]] = []
        """Their domains and types."""
        self.answers: dict[str, Any] = {"write": True}
        """What flows that are yet to be plumbed answer."""
        self._type = type
        ((_, options),) = parse([f"+{handler.name}", *words], {handler.name: handler})
        below: Any = self.below

        def plumb(domain: int, type: int) -> Any:
            name = f"net{len(self.flows)}"
            more = Fake(name, self._reactions, dict(self.answers)) if self.flows else self.below
            self.flows.append(more)
            self.kinds.append((domain, type))
            return more

        self.handler = handler(
            Context(
                domain=socket.AF_INET,
                type=type,
                clock=self.clock,
                options=options,
                plumb=plumb,
                accepted=below if accepted else None,
                flow=Flow(1, 4711, "curl", accepted, target, self.lines.append, self.lines.append),
            )
        )
        above: Any = self.above
        self.handler.upstream = above
        if self.handler.aside:  # at birth
            below.upstream = above
        self.result: Any = None
        """What the last thing done gave back."""

    def __rshift__(self, line: Line) -> Playbook:
        self._nothing_left()
        if line.who == "clock":
            getattr(self.clock, line.what)(*line.args)
        else:
            self.clock.turn()
            before = len(self._reactions)
            if line.who == "app":
                self.result = getattr(self.handler, line.what)(*line.args)
            else:
                number = int(line.who.removeprefix("net") or 0)
                source = self.flows[number] if self.flows else self.below
                self.result = getattr(source.upstream, line.what)(source, *line.args)
            inside = [each for each in self._reactions[before:] if each.who == "app"]
            assert line.who != "app" or not inside, f"inside {line}: {inside[0]}"
        self._merge()
        return self

    def __lshift__(self, line: Line | None) -> Playbook:
        if line is None:
            self._nothing_left()
            return self
        assert self._reactions, f"nothing happened; {line} was expected"
        got = self._reactions.pop(0)
        if got != line:
            raise AssertionError(f"{got} instead of {line}")
        return self

    def done(self) -> None:
        """Left alone for an hour the handler does nothing; closed, it is silent for good."""
        self._nothing_left()
        self.clock.advance(3600)
        self._nothing_left()
        if not self.handler.closed:
            self.handler.close()
        self.clock.advance(3600)
        said = [line for line in self._reactions if line.who == "app"]
        assert not said, "after close: " + ", ".join(map(str, said))
        assert self.clock.pending() == 0, "a closed handler keeps a timer"

    def _nothing_left(self) -> None:
        assert not self._reactions, "not expected: " + ", ".join(map(str, self._reactions))

    def _merge(self) -> None:
        merged: list[Line] = []
        for line in self._reactions:
            last = merged[-1] if merged else None
            if (
                last
                and self._type == socket.SOCK_STREAM
                and line.what in ("write", "avail")
                and (last.who, last.what) == (line.who, line.what)
            ):
                last.args = (last.args[0] + line.args[0], *line.args[1:])
            else:
                merged.append(line)
        self._reactions[:] = merged
