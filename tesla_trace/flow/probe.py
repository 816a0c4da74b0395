"""A handler that writes down what crosses it: `-d` puts one above each other handler."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from tesla_trace.address import shown
from tesla_trace.flow.handler import FlowHandler

CALLS = (
    "connect bind listen accept write urge shutdown close abort getsockname getpeername may_avail"
    " getsockopt setsockopt ioctl"
).split()
EVENTS = "connected accept_ready avail urgent may_write ended undelivered".split()


class Probe(FlowHandler):
    """One line in the log for each call and event; the option is the name of what lies below."""

    name = "probe"
    internal = True


def _written(value: object) -> str:
    match value:
        case bytes():
            return f"{len(value)} bytes"
        case OSError():
            return errno.errorcode.get(value.errno or 0, str(value))
        case (str(), int(), *_):
            return shown(value)  # type: ignore[arg-type]
        case (FlowHandler(), peer):
            return _written(peer)
    return repr(value)


def _telling(what: str, arrow: str) -> Callable[..., Any]:
    plain = getattr(FlowHandler, what)

    def told(self: Probe, *args: Any) -> Any:
        said = args[1:] if what in EVENTS else args  # an event's first is its source
        given = ", ".join(_written(arg) for arg in said if arg is not None)
        line = f"{arrow} {self.options}.{what}({given})"
        self.ctx.flow.log(line)
        try:
            answer = plain(self, *args)
        except OSError as error:
            self.ctx.flow.log(f"{line} = {_written(error)}")
            raise
        if answer is not None:
            self.ctx.flow.log(f"{line} = {_written(answer)}")
        return answer

    told.__name__, told.__doc__ = what, plain.__doc__
    return told


for _what in CALLS:
    setattr(Probe, _what, _telling(_what, "out"))
for _what in EVENTS:
    setattr(Probe, _what, _telling(_what, "in "))
