"""PEM files: private keys, which nobody else may read, and certificates."""

from __future__ import annotations

import os
import ssl
import stat

CERTIFICATE = "-----BEGIN CERTIFICATE-----"
PRIVATE_KEY = "PRIVATE KEY-----"
"""Ends the first line of a key, whatever its kind (RFC 7468)."""

MOST = 2**20
"""Bytes that a file of ours may have; that of all authorities of the world has a fifth."""


class Identity:
    """A private key, its certificate, and the certificates that lead from there to an authority.

    Raises:
        ValueError: the file is not there, does not hold them, or is not its user's alone.
    """

    def __init__(self, path: str) -> None:
        self._text = _text(path, private=True)
        if PRIVATE_KEY not in self._text:
            raise ValueError("it holds no private key")
        if CERTIFICATE not in self._text:
            raise ValueError("it holds no certificate")
        self.give_to(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # so that what is wrong shows now
        _, begin, rest = self._text.partition(CERTIFICATE)
        self.certificate = ssl.PEM_cert_to_DER_cert(begin + rest.partition(CERTIFICATE)[0])
        """The first certificate, that of the key, in DER."""

    def give_to(self, context: ssl.SSLContext) -> None:
        """Let connections of `context` show it."""
        # The ssl module takes only files, and the one at `path` may be another by now.
        with open(os.memfd_create("key", os.MFD_CLOEXEC), "w", encoding="ascii") as file:
            file.write(self._text)
            file.flush()
            try:
                context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=_no_password)
            except ssl.SSLError as wrong:
                if wrong.reason == "KEY_VALUES_MISMATCH":
                    raise ValueError("the key is not that of the certificate") from wrong
                raise ValueError("it holds no key and certificate that OpenSSL can use") from wrong


class Authorities:
    """Certificates of those who are believed when they say who a peer is.

    Raises:
        ValueError: the file is not there, or does not hold any.
    """

    def __init__(self, path: str) -> None:
        self._text = _text(path, private=False)
        self.trusted_by(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def trusted_by(self, context: ssl.SSLContext) -> None:
        """Let connections of `context` believe them."""
        try:
            context.load_verify_locations(cadata=self._text)
        except ssl.SSLError as wrong:
            raise ValueError("it holds no certificates") from wrong


def _text(path: str, *, private: bool) -> str:
    """What is in a file; a private one is looked at through the descriptor that is read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as wrong:
        raise ValueError(wrong.strerror) from wrong
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is not a regular file")
        if private and about.st_uid != os.geteuid():
            raise ValueError(f"it belongs to user {about.st_uid}: chown {os.geteuid()} {path}")
        if private and stat.S_IMODE(about.st_mode) & 0o077:
            raise ValueError(f"others may read or write it: chmod 600 {path}")
        return os.read(fd, MOST).decode("ascii")
    except UnicodeDecodeError as wrong:
        raise ValueError("it is not PEM") from wrong
    finally:
        os.close(fd)


def _no_password() -> str:
    """Asked by OpenSSL for what opens an encrypted key; else it would ask at the terminal."""
    raise ValueError("its key is encrypted: openssl pkey -in FILE takes the pass phrase away")
