"""One kind of error: OSError, with the errno that the program is to see."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable


def failure(number: int, why: str) -> OSError:
    """The OSError for `number`; `why` goes to the log, not to the program."""
    return OSError(number, f"{os.strerror(number)}: {why}")


def named(error: OSError) -> str:
    """The name of its errno: `ECONNREFUSED`."""
    return errno.errorcode.get(error.errno or errno.EIO, f"errno {error.errno}")


def reason(error: OSError) -> str:
    """Why `failure` made it; empty for an error that came from the kernel as it is."""
    plain = os.strerror(error.errno or 0)
    return (error.strerror or "").removeprefix(plain).removeprefix(": ")


def trace(wrong: BaseException) -> list[str]:
    """Where an exception came from, as lines for the log."""
    import traceback  # slow to import, and seldom wanted

    return "".join(traceback.format_exception(wrong)).splitlines()


def put_off(call: Callable[[], object]) -> Callable[[], None]:
    """`call`, for when nobody is left to be told that it cannot be done."""

    def done_late() -> None:
        with contextlib.suppress(OSError):
            call()

    return done_late
