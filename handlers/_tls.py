"""A stream inside TLS, by the ssl module: what crypt and tls have in common."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterable
from contextlib import suppress

from tesla_trace.flow import OWN, Context, FlowHandler, Parser, Transform, failure

PEER = OWN + 1

RECORD = 2**14
"""Most plain bytes in one TLS record."""

SLICE = 64 * 1024
"""Bytes given to OpenSSL at a time: what it copies there and back stays in the CPU's cache."""

OWED = 64 * 1024
"""Bytes of answers that a peer may ask for without reading any: some two thousand (RFC 8446, 4.6.3
KeyUpdate).  None that means well asks for two."""

WRONG = {
    "WRONG_VERSION_NUMBER": "what came is not TLS",
    "HTTP_REQUEST": "what came is not TLS but HTTP",
    "HTTPS_PROXY_REQUEST": "what came is not TLS but HTTP",
    "UNKNOWN_PROTOCOL": "what came is not TLS",
    "UNSUPPORTED_PROTOCOL": "the peer knows no version of TLS that is good enough",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer takes no version of TLS that is good enough",
    "NO_SHARED_CIPHER": "the peer knows no cipher that is good enough",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer refuses the handshake",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer wants a certificate of ours",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer refuses our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refuses our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refuses our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer finds our certificate expired",
    "TLSV1_ALERT_DECRYPT_ERROR": "the peer refuses our signature",
    "TLSV1_UNRECOGNIZED_NAME": "the peer does not go by this name",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "what came was changed on the way",
    "SSLV3_ALERT_BAD_RECORD_MAC": "what we sent was changed on the way",
}
"""OpenSSL's reasons in words; the rest are its own."""


class Encrypted(Transform):
    """A stream that is TLS on the network, and plain to the program.

    The end of each direction is authentic: the last word is TLS's close_notify, without which the
    stream was cut short, which is ECONNRESET.
    """

    exclusive = True
    answers = {PEER: "the certificate that the peer has shown (DER); empty if it has shown none"}

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.timeout = self.options.timeout
        self._read, self._written = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._heard_last = self._broken = False
        self._may_say, self._owed = True, 0
        self._certificate: bytes | None = None
        """The peer's, once it is believed."""

    # ---- what a subclass says ----

    def wrap(self, read: ssl.MemoryBIO, written: ssl.MemoryBIO) -> ssl.SSLObject:
        """Our end of the connection, over what is read and written.

        Raises:
            OSError: there can be none.
        """
        raise NotImplementedError

    def verify(self) -> None:
        """Look at the peer once more, the handshake being over.

        Raises:
            OSError: this is not whom we want to talk to.
        """

    def explain(self, wrong: ssl.SSLError) -> str:
        """What went wrong, for the log."""
        if isinstance(wrong, ssl.SSLCertVerificationError):
            return f"the peer's certificate is not good: {wrong.verify_message.rstrip('.')}"
        reason = wrong.reason or ""
        return WRONG.get(reason) or reason.lower().replace("_", " ") or str(wrong)

    # ---- the rest follows ----

    def negotiate(self) -> Parser:
        self._tls = self.wrap(self._read, self._written)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as wrong:
                raise failure(errno.EPROTO, self.explain(wrong)) from wrong
            finally:
                self._flush()  # words of the handshake, or what we find wrong with it
            self._read.write((yield None))
        self.verify()
        self._certificate = self._tls.getpeercert(binary_form=True) or b""

    def encode(self, data: bytes) -> bytes:
        if self._broken:
            return b""
        self._tls.write(data)
        return self._written.read()

    def decode(self, data: bytes) -> Iterable[bytes]:
        if self._heard_last:
            return ()  # nothing that follows is theirs: RFC 8446, 6.1
        # All at once: OpenSSL cannot say goodbye while it holds a record unread.
        pieces: list[bytes] = []
        wrong = ""
        view = memoryview(data)
        try:
            for at in range(0, len(data) or 1, SLICE):
                self._read.write(view[at : at + SLICE])
                self._take(pieces)
        except ssl.SSLError as error:
            wrong = self.explain(error)
        if answers := self._flush():
            self._owed += 0 if self._may_say else answers
            if self._owed > OWED:
                wrong = wrong or "the peer asks for ever more, and reads none of it"
        if len(pieces) > 1:
            pieces = [b"".join(pieces)]  # for each costs the program's end a call
        return self._last(pieces, wrong) if wrong or self._heard_last else pieces

    def _take(self, pieces: list[bytes]) -> None:
        """Add what is in the records that have come."""
        try:
            while self._read.pending:  # rather than to be told by an exception: a tenth of the time
                if piece := self._tls.read(RECORD):
                    pieces.append(piece)
                else:
                    self._heard_last = True
                    return
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._heard_last = True

    def _last(self, pieces: list[bytes], wrong: str) -> Iterable[bytes]:
        """The pieces that came before the end, and the end, good or bad."""
        self._broken = bool(wrong)
        yield from pieces
        if wrong:
            raise ValueError(wrong)
        self.no_more()

    def finish(self) -> bytes:
        with suppress(ssl.SSLError):  # that the peer has not said goodbye yet
            self._tls.unwrap()
        return self._written.read()

    def complete(self) -> bool:
        return self._heard_last

    def ioctl(self, request: int, argument: bytes) -> bytes:
        if request != PEER:
            return super().ioctl(request, argument)
        if self._certificate is None:
            raise failure(errno.ENOTCONN, f"{self.name}: the handshake is not over")
        return self._certificate

    def may_write(self, source: FlowHandler, may: bool) -> None:
        self._may_say = may
        if may:
            self._owed = 0
        super().may_write(source, may)

    def _flush(self) -> int:
        """Send what TLS itself has to say; how much that was."""
        if size := self._written.pending:
            self.below.write(self._written.read())
        return size
