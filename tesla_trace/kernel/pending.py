"""Whether a signal is there for a thread whose call is held.

While a notification is held under WAIT_KILLABLE_RECV, the program's signal handlers, Ctrl-Z and
Ctrl-\\ wait for us: nothing but a look at the thread tells that they are there.

A thread whose notification was received sleeps on in state S, as it did before.  The signal that
the kernel has chosen it for wakes it; then it finds that it was received, and sleeps again, so that
only a fatal signal wakes it: in state D.  So D says that the kernel will look for signals when the
call ends: be one there by then, or have a sibling taken it, which thread it is for is the kernel's
choice, as natively.  Group stops and debuggers wake it, too.

A thread whose notification was received before it had fallen asleep is in state D from the start,
and nothing tells that a signal has come since.  So D only counts once S has been seen.  Such a
thread, and one that was given a descriptor meanwhile (ADDFD) and has been woken by that, is in
state D whatever the signals.  So of these the masks must tell: a signal counts if it is not blocked
and would do something: be caught, stop, or dump core.  (What kills without a core dump becomes
SIGKILL at once and ends the call without our doing.)  One that is pending for the process as a
whole is taken by *some* thread that does not block it, so it only counts for ours when that is the
leader, which the kernel asks first, or when all the others block it.  A stop that a sibling has
taken leaves no pending bit, but the sibling in state T.
"""

from __future__ import annotations

import signal

from tesla_trace.kernel import proc

STOPS = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
CORES = frozenset(
    {
        signal.SIGQUIT,
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGABRT,
        signal.SIGFPE,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGSYS,
        signal.SIGXCPU,
        signal.SIGXFSZ,
    }
)


ASLEEP, WOKEN = "S", "D"
"""The states of a thread whose call is held; only of one that was given no descriptor."""


def _mask(field: str) -> int:
    return int(field, 16)


_NOTHING_BY_DEFAULT = sum(
    1 << (number - 1) for number in (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
)
_BY_DEFAULT = sum(1 << (number - 1) for number in STOPS | CORES)


def waits(thread: int) -> bool:
    """The same of a thread that is traced: it sees nothing but SIGKILL, and no signal kills it yet.

    A stop of its process that a sibling tells of waits for it too: those are in state t, then.
    """
    try:
        own = proc.status(thread)
        there = (_mask(own["SigPnd"]) | _mask(own["ShdPnd"])) & ~_mask(own["SigBlk"])
        return bool(there & _effective(own))
    except (OSError, KeyError, ValueError):
        return False


def does(thread: int, number: int) -> bool:
    """Whether a signal does anything to a thread that is traced: else it is dropped unseen."""
    try:
        return bool(_effective(proc.status(thread)) & 1 << (number - 1))
    except (OSError, KeyError, ValueError):
        return True


def _effective(own: dict[str, str]) -> int:
    return _mask(own["SigCgt"]) | ~(_mask(own["SigIgn"]) | _NOTHING_BY_DEFAULT)


def interrupts(thread: int) -> bool:
    """The same by the masks: whether the kernel would find a signal when the call ends."""
    try:
        own = proc.status(thread)
        effective = _mask(own["SigCgt"]) | (_BY_DEFAULT & ~_mask(own["SigIgn"]))
        open_to = effective & ~_mask(own["SigBlk"])
        if _mask(own["SigPnd"]) & open_to:
            return True
        leader = int(own["Tgid"])
        siblings = [each for each in proc.threads(leader) if each != thread]
        if shared := _mask(own["ShdPnd"]) & open_to:
            if leader == thread:
                return True
            for each in siblings:
                shared &= _mask(proc.status(each)["SigBlk"])
            return bool(shared)
        return any(proc.state(each) == "T" for each in siblings)
    except (OSError, KeyError, ValueError):
        return False  # somebody went while we looked: the next look tells
