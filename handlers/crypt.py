"""crypt: TLS 1.3 between holders of one key file.  The peer runs crypt with the same file."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tesla_trace.flow import Context, Kind, Parser, Transform, failure, option

RECORD = 2**14
"""Most plain bytes in one TLS record."""


class KeyFile:
    """A private key and its self-signed certificate, in PEM.

    Raises:
        ValueError: the file cannot be read, or does not hold the two.
    """

    def __init__(self, path: str) -> None:
        try:
            _, begin, rest = Path(path).read_text().partition("-----BEGIN CERTIFICATE-----")
            if not begin:
                raise ValueError("it holds no certificate")
            self.certificate = ssl.PEM_cert_to_DER_cert(begin + rest)
            self._client = self._context(ssl.PROTOCOL_TLS_CLIENT, path)
            self._server = self._context(ssl.PROTOCOL_TLS_SERVER, path)
        except OSError as wrong:
            raise ValueError(wrong.strerror) from wrong

    def wrap(self, read: ssl.MemoryBIO, write: ssl.MemoryBIO, *, server: bool) -> ssl.SSLObject:
        """One end of a TLS connection, over what is read and written."""
        context = self._server if server else self._client
        return context.wrap_bio(read, write, server_side=server)

    @staticmethod
    def _context(protocol: int, path: str) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.check_hostname = False  # the certificate itself is compared
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(path)
        context.load_verify_locations(path)
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0  # nothing is ever resumed
        return context


KEY = Kind("FILE", 'a key file as made by "python -m tesla_trace.keygen FILE"', KeyFile)


class Crypt(Transform):
    """Encrypt the stream, and refuse a peer without our key file or a stream that was cut short."""

    name = "crypt"
    exclusive = True

    @dataclass(frozen=True)
    class Options:
        key: KeyFile = option(KEY, help="the key file, the same at both ends")

    options: Options

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._read, self._written = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = ctx.accepted is not None
        self._tls = self.options.key.wrap(self._read, self._written, server=server)
        self._peer_done = False

    def negotiate(self) -> Parser:
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as wrong:
                raise failure(errno.EPROTO, f"crypt: {wrong}") from wrong
            finally:
                self._flush()  # words of the handshake, or what we find wrong with it
            self._read.write((yield None))
        if self._tls.getpeercert(binary_form=True) != self.options.key.certificate:
            raise failure(errno.EPROTO, "crypt: the peer has another certificate")

    def encode(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._written.read()

    def decode(self, data: bytes) -> Iterable[bytes]:
        # All at once: OpenSSL cannot say goodbye while it holds a record unread.
        self._read.write(data)
        pieces: list[bytes] = []
        wrong: ssl.SSLError | None = None
        try:
            while piece := self._tls.read(RECORD):
                pieces.append(piece)
            self._peer_done = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._peer_done = True
        except ssl.SSLError as error:
            wrong = error
        self._flush()
        yield from pieces
        if wrong is not None:
            raise ValueError(wrong)

    def finish(self) -> bytes:
        with suppress(ssl.SSLError):  # that the peer has not said goodbye yet
            self._tls.unwrap()
        return self._written.read()

    def complete(self) -> bool:
        return self._peer_done

    def _flush(self) -> None:
        if words := self._written.read():
            self.below.write(words)
