"""The handlers named on the command line, and the graph of one flow through them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tesla_trace.flow.clock import Clock
from tesla_trace.flow.errors import failure
from tesla_trace.flow.flow import Flow
from tesla_trace.flow.handler import Context, FlowHandler, Plumb
from tesla_trace.flow.installed import installed
from tesla_trace.flow.naming import Naming
from tesla_trace.flow.probe import Probe
from tesla_trace.flow.refusal import Refusal

Named = tuple[str, Any]
"""A handler's name and an instance of its `Options`."""


@dataclass
class _Layer:
    handler: type[FlowHandler]
    options: Any
    shared: dict[str, Any] = field(default_factory=dict)


class Stack:
    """The handlers that every flow goes through, the first nearest the program.

    Where one of them resolves names, `Naming` stands above all: names go with the target through
    every one of them, so the first that resolves says how it is to be done.

    Args:
        handlers: those that names stand for; by default all that are installed.
        probed: put a `Probe` above each handler and at the bottom.
    """

    def __init__(
        self,
        named: Sequence[Named],
        handlers: Mapping[str, type[FlowHandler]] | None = None,
        *,
        probed: bool = False,
    ) -> None:
        handlers = installed() if handlers is None else handlers
        self._layers: list[_Layer] = []
        self._served: dict[int, bool] = {}
        """What `serves` has found."""
        layers = [(name, _Layer(handlers[name], options)) for name, options in named]
        ways = (layer.options.dns for _, layer in layers if layer.handler.resolves)
        self.dns: str = next(ways, "local")
        """Where names are resolved; see `ProxyOptions`."""
        if self.dns != "local":
            leak_check = self.dns == "leak-check"
            naming = _Layer(Naming, Naming.Options(leak_check=leak_check))
            layers.insert(0, (Naming.name, naming))
        for name, layer in layers:
            if probed:
                self._layers.append(_Layer(Probe, name))
            self._layers.append(layer)
        if probed:
            self._layers.append(_Layer(Probe, "network"))

    def plumber(self, clock: Clock, bottom: Plumb, flow: Flow | None = None) -> Plumb:
        """How to open one flow through all of the handlers.

        An accepted flow needs no more: `accept` goes down to the bottom, and each handler on the
        way back up builds one like itself on what was built below (`FlowHandler.accept`).

        Args:
            bottom: opens a flow of the network itself.
        """
        flow = Flow() if flow is None else flow
        plumb = bottom
        for layer in reversed(self._layers):
            plumb = partial(_open, layer, clock, flow, plumb)
        return plumb

    def serves(self, type: int) -> bool:
        """Whether flows of this socket type go through a handler.

        Handlers that do not serve it are left out of the graph, unless one of them refuses it.
        """
        known = self._served.get(type)
        if known is None:
            served = any(self._serves(layer, type) for layer in self._layers)
            known = self._served[type] = served and not self.refuses(type)
        return known

    @property
    def exclusive(self) -> bool:
        """Whether there is a handler that nothing may bypass."""
        return any(layer.handler.exclusive for layer in self._layers)

    def refuses(self, type: int | None) -> bool:
        """Whether sockets of this type are not to be had, rather than left to the kernel.

        Args:
            type: None for sockets that no handler can be given, whatever their type.
        """
        return any(
            layer.handler.exclusive and (type is None or not self._serves(layer, type))
            for layer in self._layers
        )

    @staticmethod
    def _serves(layer: _Layer, type: int) -> bool:
        """Whether a handler does something with flows of this type, if only to refuse datagrams."""
        if layer.handler is Probe:
            return False
        refuses = layer.handler.exclusive and type == socket.SOCK_DGRAM
        return refuses or layer.handler.serving(type) is not None


def _open(
    layer: _Layer, clock: Clock, flow: Flow, plumb: Plumb, domain: int, type: int
) -> FlowHandler:
    ctx = Context(domain, type, clock, layer.options, plumb, flow=flow, shared=layer.shared)
    if handler := layer.handler.serving(type):
        return handler(ctx)
    if not layer.handler.exclusive:
        return plumb(domain, type)
    name = layer.handler.name
    if type == socket.SOCK_DGRAM:
        return Refusal(ctx, name)
    raise failure(errno.EPROTONOSUPPORT, f"+{name} cannot serve this type of socket")
