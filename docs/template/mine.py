"""mine: what it is for, in a line.  Say here what the peer needs."""

from __future__ import annotations

from dataclasses import dataclass

from tesla_trace.flow import OWN, Address, Context, FlowHandler, flag

GREET = OWN + 1


class Mine(FlowHandler):
    """Say what it does: the first line goes into tables, all of it is what `+mine` shows."""

    name = "mine"
    answers = {GREET: "a greeting, for programs that know of it"}

    @dataclass(frozen=True)
    class Options:
        """What it takes on the command line."""

        loud: bool = flag(help="a line in the log for each piece of data")

    options: Options

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)

    # ---- calls, from the program ----

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """The program has written; False if nothing can ever be written again."""
        if self.options.loud:
            self.ctx.flow.log(f"{len(data)} bytes out")
        return super().write(data, to)

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """A program that knows of handlers asks."""
        if request == GREET:
            return b"hello " + argument
        return super().ioctl(request, argument)

    # ---- events, from the network: pass them on last ----

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """Something has come in; False if nothing can ever be delivered again."""
        if self.options.loud:
            self.ctx.flow.log(f"{len(data)} bytes in")
        return super().avail(source, data, origin)
