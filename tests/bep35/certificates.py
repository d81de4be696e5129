"""A small authority for tests: RSA keys and certificates of any shape, good and bad."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from bep35.x509.certificate import Certificate, read_certificate
from bep35.x509.rsa import RsaKey, read_rsa_key

START_S, END_S = 1_700_000_000, 1_900_000_000
NOW_S = 1_800_000_000

Extensions = Sequence[tuple[x509.ExtensionType, bool]]
CA: Extensions = [(x509.BasicConstraints(ca=True, path_length=0), True)]


@cache
def private_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key a name: making them is what takes time in these tests."""
    return rsa.generate_private_key(65537, bits)


def signs(name: str) -> RsaKey:
    """The same, as bep35 reads it from a file."""
    return read_rsa_key(pem(private_key(name)))


def pem(key: Any, passphrase: bytes | None = None) -> bytes:
    """A private key's file."""
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        lock = serialization.BestAvailableEncryption(passphrase)
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))


def named(*common_names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])


def der(
    subject: str | x509.Name,
    *,
    key: Any = None,
    issuer: str | None = None,
    issuer_key: Any = None,
    extensions: Extensions = (),
    start_s: int = START_S,
    end_s: int = END_S,
    made_with: Any = None,
) -> bytes:
    """A certificate's bytes; self-signed unless there is an issuer."""
    name = named(subject) if isinstance(subject, str) else subject
    own_key = key or private_key(str(subject))
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else named(issuer))
        .public_key(own_key.public_key())
        .serial_number(7)
        .not_valid_before(datetime.fromtimestamp(start_s, UTC))
        .not_valid_after(datetime.fromtimestamp(end_s, UTC))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    signing_key = issuer_key or (own_key if issuer is None else private_key(issuer))
    made = builder.sign(signing_key, hashes.SHA256() if made_with is None else made_with)
    return made.public_bytes(serialization.Encoding.DER)


def certificate(subject: str, **options: Any) -> Certificate:
    """The same, read."""
    return read_certificate(der(subject, **options))


def usage(**allowed: bool) -> tuple[x509.ExtensionType, bool]:
    """A key usage that allows this and nothing else."""
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
        " key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**(dict.fromkeys(names.split(), False) | allowed)), True
