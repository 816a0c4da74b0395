"""Being an agent for containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tesla_trace.cli.log import report_of
from tesla_trace.cli.stacked import stacked
from tesla_trace.cli.statuses import NO_TRAP
from tesla_trace.cli.words import METADATA, Words
from tesla_trace.report import die

if TYPE_CHECKING:
    from tesla_trace.flow import Stack
    from tesla_trace.kernel.signals import Signals
    from tesla_trace.supervision.front import FrontEnd


def run(words: Words) -> None:
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
    _serve(words, words.agent or "")


def _serve(words: Words, path: str) -> None:
    named = stacked(words)  # what is wrong is better told now
    report = report_of(words)
    try:
        from tesla_trace.flow import trace
        from tesla_trace.io.datapath import Datapath
        from tesla_trace.keeper.answers import OnCrash
        from tesla_trace.oci.metadata import Metadata
        from tesla_trace.supervision import front
        from tesla_trace.supervision.agent import Agent, Unopened
        from tesla_trace.supervision.successor import kept
    except RuntimeError as wrong:  # pyseccomp finds no libseccomp
        die(f"{wrong}; tesla_trace --doctor says more", NO_TRAP)

    def stack_of(handlers: Sequence[str] | None, harmless: bool) -> Stack:
        if handlers is None:
            return stacked(words)
        return stacked(words._replace(handlers=handlers), harmless=harmless)

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
