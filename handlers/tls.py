"""tls: TLS on the network for a program that knows none, be it client or server.

The peer is any that speaks TLS.
"""

from __future__ import annotations

import errno
import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from tesla_trace.flow import SECONDS, Address, Kind, failure, flag, numeric, option, optional
from tesla_trace.handlers._pem import Authorities, Identity
from tesla_trace.handlers._tls import Encrypted


def _host(given: str) -> str:
    name = given.rstrip(".")
    try:
        name.encode("idna")
    except UnicodeError as wrong:
        raise ValueError(wrong) from wrong
    if not name or name.startswith(".") or "*" in name:
        raise ValueError
    return name


def _protocols(given: str) -> tuple[str, ...]:
    names = tuple(given.split(",")) if given else ()
    if not all(0 < len(name) < 256 and name.isascii() for name in names):
        raise ValueError
    return names


IDENTITY = Kind("FILE", "a PEM file with a private key and its certificates", Identity, opens=True)
AUTHORITIES = Kind("FILE", "a PEM file with certificates", Authorities, opens=True)
HOST = Kind("HOST", "the name of a host, or its address", _host)
PROTOCOLS = Kind("NAMES", "names such as h2,http/1.1", _protocols)


class Tls(Encrypted):
    """Speak TLS (1.2 or later) with the network, for a program that does not.

    A connection that the program makes is one of a TLS client: the peer must show a certificate for
    the name that the program looked up, or for the number that it asked for where it had no name.
    Names are looked up by us, so that they are known.  One that it accepts is of a TLS server,
    which takes -cert.  All else is refused.  Of a peer that cannot be believed connect says EPROTO,
    and of a stream that ends without TLS's own last word the program is told ECONNRESET.

        tesla_trace +tls curl http://example.org:443/
        tesla_trace +tls -cert=FILE python -m http.server 443
    """

    name = "tls"
    resolves = True

    @dataclass(frozen=True)
    class Options:
        name: str | None = optional(
            HOST, help="whom to ask for and to expect, whatever the program asks for"
        )
        ca: Authorities | None = optional(
            AUTHORITIES,
            help="whom to believe, in place of the system's authorities; "
            "clients must show a certificate then, too",
        )
        cert: Identity | None = optional(
            IDENTITY, help="what to show to clients, and to servers that ask"
        )
        alpn: tuple[str, ...] = option(
            PROTOCOLS, "", help="the protocols to offer or to take (ALPN), the best first"
        )
        insecure: bool = flag(help="believe any server, so anybody in between")
        timeout: float = option(SECONDS, "30s", help="how long the handshake may take")

        dns: ClassVar[str] = "name"
        """Names are passed on."""

        def __post_init__(self) -> None:
            """Check what must hold between options."""
            if self.insecure and self.ca is not None:
                raise ValueError("-insecure believes anybody, and -ca does not")

        @cached_property
        def client(self) -> ssl.SSLContext:
            """For connections that the program makes."""
            context = self._context(ssl.PROTOCOL_TLS_CLIENT)
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            elif self.ca is None:
                context.load_default_certs()
            return context

        @cached_property
        def server(self) -> ssl.SSLContext:
            """For connections that it accepts."""
            context = self._context(ssl.PROTOCOL_TLS_SERVER)
            context.verify_mode = ssl.CERT_REQUIRED if self.ca else ssl.CERT_NONE
            # A client that only sends leaves them unread, and its close would be a reset, which
            # throws away what it has sent.
            context.num_tickets = 0
            return context

        def _context(self, protocol: int) -> ssl.SSLContext:
            context = ssl.SSLContext(protocol)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
            if self.cert is not None:
                self.cert.give_to(context)
            if self.ca is not None:
                self.ca.trusted_by(context)
            if self.alpn:
                context.set_alpn_protocols(list(self.alpn))
            return context

    options: Options

    _host = ""
    """Whom we expect."""

    def connect(self, address: Address) -> None:
        number = numeric(address[0])
        self._host = self.options.name or (
            address[0].rstrip(".") if number is None else str(number)
        )
        super().connect(address)

    def listen(self, backlog: int) -> None:
        if self.options.cert is None:
            self.ctx.flow.log("+tls: nothing can be accepted without -cert=FILE")
            raise failure(errno.EOPNOTSUPP, "no certificate to show")
        super().listen(backlog)

    def wrap(self, read: ssl.MemoryBIO, written: ssl.MemoryBIO) -> ssl.SSLObject:
        if self.ctx.accepted is None:
            try:
                return self.options.client.wrap_bio(read, written, server_hostname=self._host)
            except ValueError as wrong:
                raise failure(errno.EINVAL, f"{self._host!r} cannot be asked for") from wrong
        if self.options.cert is None:  # it came to a listener that was there before us
            raise failure(errno.EPROTO, "nothing can be accepted without -cert=FILE")
        return self.options.server.wrap_bio(read, written, server_side=True)

    def explain(self, wrong: ssl.SSLError) -> str:
        words = super().explain(wrong)
        if "IP address mismatch" in words and not self.options.name:
            words += "; where the program itself knows a name for it, say -name=HOST"
        return words

    def verify(self) -> None:
        if self.options.insecure and self.ctx.accepted is None:
            self.ctx.flow.log("+tls: -insecure: whoever it is that has answered is believed")
