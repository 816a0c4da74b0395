"""Names looked up at the far end of a stack: the layer nearest the program.

A program asks some name server for numbers, and connects to one of them.  Both would say, to who
watches this end of a tunnel, where the program goes; and the numbers found here need not be the
right ones there.  So whatever server is asked, we are that server (nameserver.py), and where the
program connects to a number that we invented, the name goes down in its place.
"""

from __future__ import annotations

import builtins
import errno
import socket
from dataclasses import dataclass
from functools import partial

from tesla_trace.address import Address, numeric, shown
from tesla_trace.flow.errors import failure
from tesla_trace.flow.handler import Context, FlowHandler
from tesla_trace.flow.names import DNS, Names, invented
from tesla_trace.flow.namestream import NameStream

NEIGHBOURS = {5353: "mDNS", 5355: "LLMNR"}
"""Ports at which the machines nearby are asked for names."""

REMEMBERED = 4096
"""Names that one datagram flow sends to and may get answers from."""


class Naming(FlowHandler):
    """Answer DNS, and connect to names."""

    name = "naming"
    internal = True

    @dataclass(frozen=True)
    class Options:
        """Said by the stack."""

        leak_check: bool = False
        """Whether to log who looks up what, and where."""

    options: Options

    @classmethod
    def serving(cls, type: int) -> builtins.type[FlowHandler] | None:
        """The class for streams, or for datagrams."""
        if type == socket.SOCK_STREAM:
            return StreamNaming
        return DatagramNaming if type == socket.SOCK_DGRAM else None

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._names: Names = ctx.shared.setdefault("names", Names())
        self._peer: Address | None = None
        """What the program is connected to, in the form that it knows."""
        self._revealed = ""

    def getpeername(self) -> Address:
        """The peer as the program knows it."""
        if self._peer is not None and self._peer[1] == DNS:
            return self._peer
        peer = super().getpeername()  # for the error, if there is none yet
        return self._peer or peer

    def _named(self, address: Address) -> Address:
        """The address with the name in it, if its number is one that we invented.

        Raises:
            OSError: EHOSTUNREACH, we gave it to no name.
        """
        host = address[0]
        if not invented(host):
            return address
        name = self._names.name(host)
        if name is None:
            raise failure(errno.EHOSTUNREACH, f"nobody looked up a name for {host} to stand for")
        return name, address[1]

    def _answer(self, server: Address, query: bytes) -> bytes | None:
        """What `server` answers; None where it would keep silent."""
        from tesla_trace.flow.nameserver import answer  # dnspython takes 50 ms to import

        return answer(
            query, self._names, lambda name: self._reveal(f"looks up {name} of {shown(server)}")
        )

    def _reveal(self, what: str) -> None:
        """Log what others would have seen, where that is wanted; what comes twice, once."""
        if self.options.leak_check and what != self._revealed:
            self._revealed = what
            self.ctx.flow.log(what)


class StreamNaming(Naming):
    """For streams: in the way only until it is open."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._server: NameStream | None = None

    def connect(self, address: Address) -> None:
        """Connect to the name that the number stands for; to a name server, not at all."""
        if self._server is not None:
            raise failure(errno.EISCONN, "connected to the name server")
        if address[1] == DNS:
            self._server = NameStream(self.ctx, partial(self._answer, address))
            self._server.upstream, self.downstream = self, [self._server]
            self._server.connect(address)
        else:
            self.ctx.flow.target = named = self._named(address)
            super().connect(named)
        self._peer = address

    def accept(self) -> tuple[FlowHandler, Address]:
        """What is accepted came to us by number: there is nothing to do."""
        return self.control.accept()

    def shutdown(self, read: bool, write: bool) -> None:
        """End a direction of the talk with the name server, or of the flow below."""
        (self._server or self.control).shutdown(read, write)

    def close(self) -> None:
        """Leave the name server too."""
        if self._server is not None:
            self._server.close()
        super().close()

    def abort(self) -> None:
        """Leave the name server too."""
        if self._server is not None:
            self._server.close()
        super().abort()

    def connected(self, source: FlowHandler, error: OSError | None = None) -> None:
        """Pass it on, and leave the data path."""
        super().connected(source, error)
        if error is None:
            self.step_aside()


class DatagramNaming(Naming):
    """For datagrams: any of them may be for a name server, or for a name."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._numbers: dict[Address, Address] = {}
        """By name, as those below know whom the program sends to: by number, as it knows him."""

    def connect(self, address: Address) -> None:
        """Have another peer from now on."""
        named = self._translate(address)
        if address[1] != DNS:
            super().connect(named)
        self._peer = address

    def write(self, data: bytes, to: Address | None = None) -> bool:
        """Answer what is for a name server; send the rest on, by name where that is meant."""
        whom = to or self._peer
        if whom is None or whom[1] != DNS:
            return super().write(data, to and self._translate(to))
        if answer := self._answer(whom, data):
            self.later(partial(self._hand_up, answer, whom))
        return True

    def avail(self, source: FlowHandler, data: bytes, origin: Address | None = None) -> bool:
        """Hand it up as from the number that the program knows."""
        if self._peer is not None and self._peer[1] == DNS:  # it is from a peer before
            return True
        if origin is not None and origin not in self._numbers and numeric(origin[0]) is None:
            return True  # by a name that was not written to, or not for long: who is to know it?
        return super().avail(source, data, origin and self._numbers.get(origin, origin))

    def _hand_up(self, answer: bytes, server: Address) -> None:
        """Hand up an answer, unless it is from another than the peer: nobody would get it."""
        if self._peer is None:
            self.upstream.avail(self, answer, server)
        elif self._peer[:2] == server[:2]:
            self.upstream.avail(self, answer)

    def _translate(self, address: Address) -> Address:
        """The address as those below are to know it."""
        if who := NEIGHBOURS.get(address[1]):
            self._reveal(f"asks the machines nearby for names ({who}): {shown(address)}")
        if address[1] == DNS:
            return address
        named = self._named(address)
        if named != address:
            self._numbers.pop(named, None)
            self._numbers[named] = address
            if len(self._numbers) > REMEMBERED:
                del self._numbers[next(iter(self._numbers))]
        self.ctx.flow.target = named
        return named
