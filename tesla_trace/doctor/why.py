"""Why a program cannot be trapped, in a line for the user."""

from __future__ import annotations

import errno
import os
import platform

from tesla_trace.doctor.probe import CAN_TRACE, UNCONFINED
from tesla_trace.kernel import proc


def why_no_filter(number: int) -> str:
    """A line for the user: why the filter could not be installed, and what to do about it."""
    match number:
        case errno.EBUSY:
            why = (
                "another seccomp listener is around us (a container's agent, a tesla_trace whose"
                " TESLA_TRACE_OUTER is not in our environment): run this outside of it"
            )
        case errno.EINVAL | errno.ENOSYS:
            why = f"Linux {platform.release()} cannot trap calls as we need it: it takes 5.19"
        case errno.EPERM | errno.EACCES:
            why = f"trapping calls is not allowed here: {CAN_TRACE}, or {UNCONFINED}"
        case _:
            why = f"no filter could be installed: {os.strerror(number)}"
    return f"{why}; tesla_trace --doctor says more"


def why_no_trace(number: int, tracer: int) -> str:
    """A line for the user: why the program could not be traced, and what to do about it."""
    if tracer:
        name = proc.name(tracer) or "a process"
        why = f"{name} (process {tracer}) traces the program already: run this without it"
    elif number == errno.EPERM:
        why = f"ptrace is not allowed here: {CAN_TRACE}; sysctl kernel.yama.ptrace_scope=1"
    elif number == errno.EIO:
        why = f"Linux {platform.release()} does not say enough of a call: it takes 5.3"
    else:
        why = f"the program could not be traced: {os.strerror(number)}"
    return f"{why}; tesla_trace --doctor says more"
