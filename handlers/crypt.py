"""crypt: TLS 1.3 between holders of one key file.  The peer runs crypt with the same file."""

from __future__ import annotations

import errno
import ssl
from dataclasses import dataclass

from tesla_trace.flow import SECONDS, Kind, failure, option
from tesla_trace.handlers._pem import Identity
from tesla_trace.handlers._tls import Encrypted


class KeyFile(Identity):
    """A private key and its self-signed certificate, which is the only one that is believed."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._client = self._context(ssl.PROTOCOL_TLS_CLIENT)
        self._server = self._context(ssl.PROTOCOL_TLS_SERVER)

    def wrap(self, read: ssl.MemoryBIO, written: ssl.MemoryBIO, *, server: bool) -> ssl.SSLObject:
        """One end of a TLS connection, over what is read and written."""
        context = self._server if server else self._client
        return context.wrap_bio(read, written, server_side=server)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.check_hostname = False  # the certificate itself is compared
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=self.certificate)
        self.give_to(context)
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0  # nothing is ever resumed
        return context


KEY = Kind("FILE", 'a key file as made by "tesla_trace --keygen FILE"', KeyFile, opens=True)


class Crypt(Encrypted):
    """Encrypt the stream, and refuse a peer without our key file or a stream that was cut short.

    The peer runs +crypt with the same key file.  A connect fails with EPROTO, and a connection that
    was accepted is reset, before the program gets a byte of a stranger.

        tesla_trace --keygen FILE
        tesla_trace +crypt -key=FILE redis-server
        tesla_trace +crypt -key=FILE redis-cli
    """

    name = "crypt"

    @dataclass(frozen=True)
    class Options:
        key: KeyFile = option(KEY, help="the key file, the same at both ends")
        timeout: float = option(SECONDS, "30s", help="how long the handshake may take")

    options: Options

    def wrap(self, read: ssl.MemoryBIO, written: ssl.MemoryBIO) -> ssl.SSLObject:
        return self.options.key.wrap(read, written, server=self.ctx.accepted is not None)

    def verify(self) -> None:
        if self._tls.getpeercert(binary_form=True) != self.options.key.certificate:
            raise failure(errno.EPROTO, "the peer has another certificate")
