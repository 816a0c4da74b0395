"""Running a program under handlers, or attaching to one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from tesla_trace.cli.log import report_of
from tesla_trace.cli.stacked import stacked
from tesla_trace.cli.statuses import NO_TRAP, NOT_ATTACHED, USAGE
from tesla_trace.cli.words import Words
from tesla_trace.report import Report, die

if TYPE_CHECKING:
    from tesla_trace.flow import Stack
    from tesla_trace.keeper.answers import OnCrash
    from tesla_trace.kernel.signals import Signals
    from tesla_trace.summary import Summary
    from tesla_trace.supervision.front import FrontEnd
    from tesla_trace.supervision.launch import Launch
    from tesla_trace.supervision.supervisor import Supervisor


def run(words: Words) -> None:
    """Start the program or attach to the process, and serve it to its end.

    Raises:
        UsageError: the words make no sense.
    """
    stack = stacked(words)
    if words.program and words.attach:
        die("either a program is started, or --attach is for one that runs", USAGE)
    if not words.program and not words.attach:
        die("no program given; tesla_trace --help says more", USAGE)
    if words.strict:
        _refuse_connected()
    _supervise(words, stack, report_of(words), _summary(words))


def _summary(words: Words) -> Summary | None:
    if words.report is None:
        return None
    from tesla_trace.summary import Summary

    try:
        return Summary(words.report, words.program)
    except OSError as wrong:
        die(f"--report {words.report}: {wrong.strerror}", USAGE)


def _refuse_connected() -> None:
    from tesla_trace.supervision.front import inherited
    from tesla_trace.syscalls.escapes.strangers import connected

    for fd in connected((0, 1, 2, *inherited())):
        die(f"--strict: descriptor {fd} is a connection, past the handlers already", USAGE)


def _supervise(words: Words, stack: Stack, report: Report, summary: Summary | None) -> None:
    try:
        from tesla_trace.flow import trace
        from tesla_trace.keeper.answers import OnCrash
        from tesla_trace.kernel.spawn import ExecError, FilterError, OuterError
        from tesla_trace.kernel.trap import TraceError
        from tesla_trace.supervision import front
        from tesla_trace.supervision.successor import kept
        from tesla_trace.supervision.target import Unattachable

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
            from tesla_trace.doctor.why import why_no_filter

            report.write(why_no_filter(wrong.errno))
            return NO_TRAP
        except TraceError as wrong:
            from tesla_trace.doctor.why import why_no_trace

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
    from tesla_trace.supervision.launch import Launch

    if words.trap != "ptrace" and (name := outer()):
        from tesla_trace.supervision.inner import Inner, relayed

        with suppress(ConnectionError):  # it is not around us, whatever our environment says
            trap = relayed(name, stack, end, policy, strict=words.strict)
            return partial(Inner, trap, policy)
    return Launch


def _attach(words: Words, stack: Stack, report: Report, summary: Summary | None) -> Start:
    from tesla_trace.io.datapath import Datapath
    from tesla_trace.supervision.attach import Attach
    from tesla_trace.supervision.detach import GRACE

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
