"""The handlers named on the command line, and the graph of one flow through them.

Where there are rules, what each handler is for is decided when the graph is built: of a stream at
its connect, of an accepted one when it comes in, of a datagram socket at its first use.  What the
rules leave open keeps a handler that nothing may bypass, and no other.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from tesla_trace.address import Address, numeric
from tesla_trace.flow.clock import Clock
from tesla_trace.flow.errors import failure
from tesla_trace.flow.facts import Facts, Truth
from tesla_trace.flow.flow import Flow
from tesla_trace.flow.handler import Context, FlowHandler, Plumb
from tesla_trace.flow.installed import installed
from tesla_trace.flow.names import Names, invented
from tesla_trace.flow.probe import Probe
from tesla_trace.flow.refusal import Refusal
from tesla_trace.flow.rules import Decision, Entry, Rule, Unusable, assign, decide
from tesla_trace.flow.selecting import Above, Below
from tesla_trace.flow.sentry import Sentry

DECIDED = 4096
"""Kinds of flows that are remembered with what was decided of them."""


class Named(tuple[str, Any]):
    """A handler's name and an instance of its `Options`."""

    own: tuple[Entry, ...] = ()
    """What its -except and -for say."""


class _Layer:
    def __init__(
        self, handler: type[FlowHandler], options: Any, entries: tuple[Entry, ...] = ()
    ) -> None:
        self.handler = handler
        self.options = options
        self.shared: dict[str, Any] = {}
        self.entries = entries

    def used(self, facts: Iterable[Facts]) -> Truth:
        """Whether a flow goes through it, of which one of `facts` holds.

        What is open keeps what nothing may bypass.
        """
        if not self.entries:
            return True
        found = {decide(self.entries, each).used for each in facts}
        if self.handler.exclusive:
            return found != {False}
        return True in found


class Stack:
    """The handlers that every flow goes through, the first nearest the program.

    Where one of them resolves names, `Naming` stands above all: names go with the target through
    every one of them, so the first that resolves says how it is to be done.

    Args:
        handlers: those that names stand for; by default all that are installed.
        probed: put a `Probe` above each handler and at the bottom.
        rules: those of files.

    Raises:
        Unusable: a rule is for names, which nobody would tell us.
    """

    def __init__(
        self,
        named: Sequence[Named],
        handlers: Mapping[str, type[FlowHandler]] | None = None,
        *,
        probed: bool = False,
        rules: Sequence[Rule] = (),
    ) -> None:
        handlers = installed() if handlers is None else handlers
        self._layers: list[_Layer] = []
        self._served: dict[int, bool] = {}
        """What `serves` has found."""
        said = assign(rules, [name for name, _ in named])
        layers = [
            (each[0], _Layer(handlers[each[0]], each[1], getattr(each, "own", ()) + entries))
            for each, entries in zip(named, said, strict=True)
        ]
        self._named = list(layers)
        self._ruled = any(layer.entries for _, layer in layers)
        self._naming: _Layer | None = None
        self._decided: dict[tuple[Facts, ...], list[_Layer]] = {}
        ways = (layer.options.dns for _, layer in layers if layer.handler.resolves)
        self.dns: str = next(ways, "local")
        """Where names are resolved; see `ProxyOptions`."""
        if self.dns != "local":
            from tesla_trace.flow.naming import Naming

            leak_check = self.dns == "leak-check"
            self._naming = _Layer(Naming, Naming.Options(leak_check=leak_check))
            layers.insert(0, (Naming.name, self._naming))
        elif self._ruled:
            self._check_names()
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
        if self._ruled:
            return partial(self._open_decided, clock, bottom, flow)
        plumb = bottom
        for layer in reversed(self._layers):
            plumb = partial(_open, layer, clock, flow, plumb)
        return plumb

    # ---- rules ----

    def decisions(self, facts: Facts) -> list[tuple[type[FlowHandler], bool, Decision]]:
        """Each handler, whether the rules let a flow go through it, and what decides that."""
        return [
            (layer.handler, bool(layer.used((facts,))), decide(layer.entries, facts))
            for _, layer in self._named
        ]

    def _check_names(self) -> None:
        from tesla_trace.flow.condition import names_in

        for _, layer in self._named:
            for entry in layer.entries:
                if names := list(names_in(entry.condition)):
                    raise Unusable(
                        f"{entry.said}: flows have no names here, only numbers: no handler looks "
                        f"{names[0]} up (+socks and +http do, with -dns=proxy)"
                    )

    def _open_decided(
        self, clock: Clock, bottom: Plumb, flow: Flow, domain: int, type: int
    ) -> FlowHandler:
        """Build the graph of a flow, of the handlers that are for it."""
        if type == socket.SOCK_STREAM and flow.target is None:
            return self._open_listener(clock, bottom, flow, domain, type)
        layers = self._chosen(self._facts(flow, domain, type))
        plumb = bottom
        naming = self._naming
        sentry = type == socket.SOCK_DGRAM
        for layer in reversed(layers):
            if layer is naming and sentry:
                plumb, sentry = self._sentry(layers, clock, flow, plumb), False
            if not (type == socket.SOCK_DGRAM and self._watched(layer)):
                plumb = partial(_open, layer, clock, flow, plumb)
        if sentry:
            plumb = self._sentry(layers, clock, flow, plumb)
        return plumb(domain, type)

    def _chosen(self, facts: tuple[Facts, ...]) -> list[_Layer]:
        """The handlers of a flow of which one of `facts` holds; asked again, it is known."""
        layers = self._decided.get(facts)
        if layers is None:
            if len(self._decided) >= DECIDED:
                self._decided.clear()
            layers = self._decided[facts] = [each for each in self._layers if each.used(facts)]
        return layers

    @staticmethod
    def _watched(layer: _Layer) -> bool:
        """Whether a sentry refuses for it the datagrams that it is for, and no others."""
        serves = layer.handler.serving(socket.SOCK_DGRAM) is not None
        return bool(layer.entries) and layer.handler.exclusive and not serves

    def _sentry(self, layers: list[_Layer], clock: Clock, flow: Flow, plumb: Plumb) -> Plumb:
        """Put a sentry above, if there is something for it to do."""
        watched = [
            each
            for each in self._layers
            if each.entries
            and each.handler.exclusive
            and (each not in layers or self._watched(each))
        ]
        names = self._naming is None or any(each.handler.resolves for each in layers)
        if not watched and names:
            return plumb

        def plumbed(domain: int, type: int) -> FlowHandler:
            def bypassed(peer: Address | None) -> str | None:
                chosen = self._chosen(self._facts(flow, domain, type, peer))
                return next((each.handler.name for each in watched if each in chosen), None)

            ctx = Context(domain, type, clock, None, plumb, flow=flow)
            return Sentry(ctx, bypassed, names=names)

        return plumbed

    def _open_listener(
        self, clock: Clock, plumb: Plumb, flow: Flow, domain: int, type: int
    ) -> FlowHandler:
        """Build the graph of a listener: with each handler that is for some that may come in."""
        facts = Facts("in", "tcp", _family(None, domain), None, flow.port, flow.program or None)
        for layer in reversed(self._layers):
            used = decide(layer.entries, facts).used
            if used is None:
                plumb = self._selecting(layer, clock, flow, plumb)
            elif used:
                plumb = partial(_open, layer, clock, flow, plumb)
        return plumb(domain, type)

    def _selecting(self, layer: _Layer, clock: Clock, flow: Flow, plumb: Plumb) -> Plumb:
        """How to open a handler, of a listener, that only some flows are to go through."""

        def judge(accepted: FlowHandler, peer: Address) -> bool:
            port, program = above.getsockname()[1], accepted.ctx.flow.program or None
            family = _family(peer[0], above.ctx.domain)
            return layer in self._chosen((Facts("in", "tcp", family, peer[0], port, program),))

        def below(domain: int, type: int) -> FlowHandler:
            ctx = Context(domain, type, clock, None, plumb, flow=flow)
            return Below(ctx, judge, lambda flow, peer: above.past(flow, peer))

        above: Above

        def plumbed(domain: int, type: int) -> FlowHandler:
            nonlocal above
            inner = partial(_open, layer, clock, flow, below)
            above = Above(Context(domain, type, clock, None, inner, flow=flow))
            return above

        return plumbed

    def _facts(
        self, flow: Flow, domain: int, type: int, peer: Address | None = None
    ) -> tuple[Facts, ...]:
        """What is known of a flow; where it may go out or come in, of both.

        That is so of a datagram socket with a port that the program chose: perhaps it is a server.

        Args:
            peer: whom one datagram of the flow is for, or from.
        """
        target = peer or flow.target
        host, port = (None, None) if target is None else target[:2]
        if host is not None and self._naming is not None and invented(host):
            names: Names = self._naming.shared.setdefault("names", Names())
            host = names.name(host) or host
        kind = "udp" if type == socket.SOCK_DGRAM else "tcp"
        out = Facts("out", kind, _family(host, domain), host, port, flow.program or None)
        if type == socket.SOCK_STREAM or not flow.port:
            return (out,)
        return out, out._replace(direction="in", port=flow.port)

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


def _family(host: str | None, domain: int) -> str | None:
    """`ipv4` or `ipv6`: what the number is, else the socket; None where it may be either."""
    number = None if host is None else numeric(host)
    if number is not None:
        return f"ipv{number.version}"
    return "ipv4" if domain == socket.AF_INET else None


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
