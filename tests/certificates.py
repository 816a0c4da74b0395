"""Certificates for tests: an authority, and what it says of others."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey

PAST = datetime(2000, 1, 1), datetime(2001, 1, 1)
ALWAYS = datetime(2000, 1, 1), datetime(9999, 1, 1)


def new_key() -> Key:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


class Authority:
    """Somebody who says who others are, to those who have the certificate at `path`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder, self.name = folder, name
        self.key = new_key()
        self.certificate = certificate(name, self.key, name, self.key)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def identity(
        self, *names: str, file: str = "", valid: tuple[datetime, datetime] = ALWAYS
    ) -> Path:
        """A file with a key and a certificate for these names or addresses."""
        key = new_key()
        issued = certificate(names[0], key, self.name, self.key, names, valid)
        path = self.folder / f"{file or names[0]}.pem"
        return private(path, pem(key, issued))


def certificate(
    name: str,
    key: Key,
    issuer: str,
    signer: Key,
    names: tuple[str, ...] = (),
    valid: tuple[datetime, datetime] = ALWAYS,
) -> x509.Certificate:
    """A certificate of an authority if it is its own issuer, and of none if it is not."""
    builder = x509.CertificateBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        key.public_key(),
        x509.random_serial_number(),
        *valid,
    )
    if names:
        known = x509.SubjectAlternativeName([_general(each) for each in names])
        builder = builder.add_extension(known, critical=False)
    authority = x509.BasicConstraints(ca=name == issuer, path_length=None)
    return builder.add_extension(authority, critical=True).sign(signer, SHA256())


def pem(key: Key, *certificates: x509.Certificate, password: bytes = b"") -> bytes:
    """What a key file holds."""
    how: KeySerializationEncryption = NoEncryption()
    if password:
        how = BestAvailableEncryption(password)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    return text + b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def private(path: Path, text: bytes | str) -> Path:
    """A file that nobody else can read."""
    path.touch(0o600)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
