"""log: write down what each flow does and how much it carries.  The peer needs nothing."""

from __future__ import annotations

import errno
import json
from contextlib import suppress
from dataclasses import dataclass

from tesla_trace.flow import OWN, Address, Context, FlowHandler, flag, printable, reason, shown

SAY = OWN + 1
"""A line of the program's own."""


class Log(FlowHandler):
    """Write a line to the log for whatever happens to a flow.

    That is: connecting, connected, failed, listening, accepted, shut down, ended (the peer has
    no more to send), reset, undelivered (a datagram did not get there), and closed or aborted
    with what was carried: out is what the program sent, in is what it got.  Other handlers change
    what passes them; it is logged as it is where +log stands, which in front is as the program
    sees it.

    With -json each line is one JSON object.  It has time (seconds since the flow began), flow,
    pid, program and event, and where they apply address, took (seconds), listener (the flow
    that accepted), direction, size, out, in (bytes), errno, reason and text.

        tesla_trace +log -json +socks=proxy:1080 curl 192.0.2.7
    """

    name = "log"
    answers = {SAY: "nothing; the argument, text in UTF-8, becomes a line with the event `said`"}

    @dataclass(frozen=True)
    class Options:
        data: bool = flag(help="a line for each piece of data too")
        json: bool = flag(help="each line one JSON object")

    options: Options

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._began = self._asked = ctx.clock.now()
        self._sum = {"out": 0, "in": 0}

    # ---- calls ----

    def connect(self, address: Address) -> None:
        self._asked = self.ctx.clock.now()
        self._say("connecting", f"connecting to {shown(address)}", address=shown(address))
        try:
            super().connect(address)
        except OSError as error:
            self._failed(error)
            raise

    def listen(self, backlog: int) -> None:
        try:
            super().listen(backlog)
        except OSError as error:
            self._failed(error)
            raise
        with suppress(OSError):  # that there is no address to show fails nobody's listen
            address = shown(self.getsockname())
            self._say("listening", f"listening on {address}", address=address)

    def accept(self) -> tuple[FlowHandler, Address]:
        flow, peer = super().accept()
        assert isinstance(flow, Log)
        listener = self.ctx.flow.number
        words = f"accepted from {shown(peer)} by {listener}"
        flow._say("accepted", words, address=shown(peer), listener=listener)
        return flow, peer

    def write(self, data: bytes, to: Address | None = None) -> bool:
        taken = super().write(data, to)
        if taken:
            self._carried("out", data, to)
        return taken

    def urge(self, byte: bytes) -> bool:
        taken = super().urge(byte)
        if taken:
            self._carried("out", byte, None)
        return taken

    def ioctl(self, request: int, argument: bytes) -> bytes:
        if request != SAY:
            return super().ioctl(request, argument)
        text = printable(argument.decode(errors="replace"))
        self._say("said", f"said: {text}", text=text)
        return b""

    def shutdown(self, read: bool, write: bool) -> None:
        super().shutdown(read, write)
        for direction, shut in (("out", write), ("in", read)):
            if shut:
                self._say("shut down", f"shut down {direction}", direction=direction)

    def close(self) -> None:
        self._over("closed")
        super().close()

    def abort(self) -> None:
        self._over("aborted")
        super().abort()

    # ---- events: the line first, for the flow above may close us in its turn ----

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        if error is not None:
            self._failed(error)
        else:
            took = self.ctx.clock.now() - self._asked
            self._say("connected", f"connected in {took * 1000:.1f} ms", took=round(took, 6))
        super().connected(source, error)

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        self._carried("in", data, origin)
        return super().avail(source, data, origin)

    def urgent(self, source: FlowHandler, byte: bytes) -> bool:
        self._carried("in", byte, None)
        return super().urgent(source, byte)

    def ended(self, source: FlowHandler, error: OSError | None = None) -> None:
        if error is None:
            self._say("ended", "ended")
        elif error.errno == errno.ECONNRESET:
            self._failed(error, "reset")
        else:
            self._failed(error)
        super().ended(source, error)

    def undelivered(self, source: FlowHandler, error: OSError) -> None:
        self._failed(error, "undelivered")
        super().undelivered(source, error)

    # ---- lines ----

    def _carried(self, direction: str, data: bytes, address: Address | None) -> None:
        if self.closed:
            return
        self._sum[direction] += len(data)
        if self.options.data:
            words, facts = f"{direction} {len(data)} bytes", {}
            if address is not None:
                words += f" {'to' if direction == 'out' else 'from'} {shown(address)}"
                facts["address"] = shown(address)
            self._say("data", words, direction=direction, size=len(data), **facts)

    def _failed(self, error: OSError, event: str = "failed") -> None:
        number = errno.errorcode.get(error.errno or 0, str(error.errno))
        why = reason(error)
        words = ": ".join(filter(None, [event, number, why]))
        self._say(event, words, errno=number, reason=why)

    def _over(self, event: str) -> None:
        if not self.closed:  # it may be closed, and aborted after that
            age = self.ctx.clock.now() - self._began
            out, in_ = self._sum["out"], self._sum["in"]
            self._say(event, f"{event}: out {out} bytes, in {in_} bytes, {age:.3f} s", **self._sum)

    def _say(self, event: str, words: str, **facts: str | float) -> None:
        flow = self.ctx.flow
        if not self.options.json:
            return flow.log(words)
        flow.write(
            json.dumps(
                {
                    "time": round(self.ctx.clock.now() - self._began, 6),
                    "flow": flow.number,
                    "pid": flow.pid,
                    "program": flow.program,
                    "event": event,
                    **facts,
                }
            )
        )
