"""What the network's ends of graphs have in common: a socket of the kernel."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from tesla_trace.flow import Address, Context, FlowHandler, numeric
from tesla_trace.io.graph import Graph
from tesla_trace.io.loop import READ, Watch

if TYPE_CHECKING:
    from tesla_trace.io.network import Network

_libc = ctypes.CDLL(None, use_errno=True)


class Endpoint(FlowHandler):
    """One socket of the kernel.

    Args:
        real: the socket, if it is there already.
    """

    name = "network"

    _watch: Watch

    def __init__(
        self, ctx: Context, graph: Graph, network: Network, real: socket.socket | None = None
    ) -> None:
        super().__init__(ctx, plumb=False)
        self._network = network
        self.graph = graph
        self.real = real or socket.socket(ctx.domain, ctx.type)
        if self.real.gettimeout() != 0:
            self.real.setblocking(False)
        self.settings: dict[tuple[int, int], bytes] = {}
        """The options set so far, the last set last, in case that another socket must take this
        one's place."""
        self.bound: Address | None = None
        self.moved = 0
        """Bytes that have passed, both ways."""
        self._repeating = False
        self._last_name: Address | None = None
        graph.bottoms.append(self)
        network.open.add(self)

    def set_all(self, settings: dict[tuple[int, int], bytes]) -> None:
        """Have these options.

        Raises:
            OSError: one of them is not to be had any more.
        """
        for (level, option), value in settings.items():
            self.setsockopt(level, option, value)

    def take_after(self, other: Endpoint | None) -> None:
        """Have the options and the local address of one that was there before.

        Raises:
            OSError: they are not to be had any more.
        """
        if other is not None:
            self.set_all(other.settings)
            if other.bound is not None:
                self.bind(other.bound)

    def repeat(self, top: FlowHandler) -> None:
        """Say to the handlers above, which were not there then, what has been set so far."""
        self._repeating = True
        try:
            if self.bound is not None:
                top.bind(self.bound)
            for (level, option), value in self.settings.items():
                top.setsockopt(level, option, value)
        finally:
            self._repeating = False

    # ---- control ----

    def bind(self, address: Address) -> None:
        """Choose the local address, once."""
        if not self._repeating:
            self.real.bind(address)
            self.bound = address

    def close(self) -> None:
        """Close, after all that was written."""
        if self._give_up():
            self._watch.want(READ, False)
            if not self.unsent:
                self._let_go()

    def abort(self) -> None:
        """Close, whatever was written."""
        self._give_up()
        if self in self._network.open:
            self._let_go()

    @property
    def unsent(self) -> bool:
        """Whether something that was written waits to be sent."""
        raise NotImplementedError

    def getsockname(self) -> Address:
        """Our own address."""
        if self._last_name is not None:
            return self._last_name
        name: Address = self.real.getsockname()
        return name

    def getpeername(self) -> Address:
        """The peer's address."""
        name: Address = self.real.getpeername()
        return name

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """The value as the kernel gives it for `size` bytes of room (not Python's 1024)."""
        room, length = ctypes.create_string_buffer(max(size, 1)), ctypes.c_uint(size)
        if _libc.getsockopt(self.real.fileno(), level, option, room, ctypes.byref(length)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return room.raw[: length.value]

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Set an option, and remember it for a socket that takes this one's place."""
        if not self._repeating:
            self.real.setsockopt(level, option, value)
            self.settings.pop((level, option), None)
            self.settings[level, option] = value

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """The answer of the kernel's socket."""
        return fcntl.ioctl(self.real, request, argument)

    def _let_go(self) -> None:
        """Close the socket: nothing is left to do with it."""
        self._watch.close()
        if self.real.fileno() >= 0:  # else the program has it
            with suppress(OSError):
                self._last_name = self.real.getsockname()
            self.real.close()
        self.graph.bottoms.remove(self)
        self._network.forget(self)


def can_show(address: Address, family: int) -> bool:
    """Whether a socket of `family` can tell a program this address."""
    host = numeric(address[0])
    return host is None or host.version == 4 or family == socket.AF_INET6


def fitting(address: Address, family: int) -> Address:
    """An IPv4 address as a socket of `family` takes it: v4-mapped for AF_INET6, and back."""
    host = numeric(address[0])
    if host is not None and host.version == 4:
        if family == socket.AF_INET6 and ":" not in address[0]:
            return f"::ffff:{host}", address[1], 0, 0
        if family == socket.AF_INET and ":" in address[0]:
            return str(host), address[1]
    return address
