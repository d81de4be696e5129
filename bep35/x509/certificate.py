"""X.509 certificates as BEP-35 uses them: read with bounds, and trusted if given or signed by a given one.

Chains have two links at most, as the BEP has it: a signer's certificate and the one that signed it. There are no revocation
lists; whoever must be forgotten is no longer given, or the certificate is short-lived.

Source: BEP-35; RFC 5280 for validity, key usage and critical extensions.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from bep35.errors import CertificateError, SignatureError, UnknownSignerError
from bep35.signatures import CERTIFICATE_BYTES_MAX

KEY_BITS_MIN = 2048
"""What NIST SP 800-131A allows to this day; shorter keys are within reach of those who can pay."""
KEY_BITS_MAX = 8192
"""Verifying costs the square of it: 8,192 bits about 1 ms on a desktop, tens of them on a small board."""
EXPONENT_MAX = 2**32
"""65537 is what everybody uses. A huge one would make verifying as slow as signing."""
PEM_BYTES_MAX = 256 * 1024
"""Of one file of certificates."""
TRUSTED_MAX = 64
"""Certificates that are given at once."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_HASHES: dict[x509.ObjectIdentifier, hashes.HashAlgorithm] = {
    SignatureAlgorithmOID.RSA_WITH_SHA256: hashes.SHA256(),
    SignatureAlgorithmOID.RSA_WITH_SHA384: hashes.SHA384(),
    SignatureAlgorithmOID.RSA_WITH_SHA512: hashes.SHA512(),
    SignatureAlgorithmOID.RSA_WITH_SHA1: hashes.SHA1(),  # noqa: S303  counts only where it is asked for
}
"""How a certificate's own signature may be made: PKCS #1 v1.5 with one of these."""
_UNDERSTOOD = {x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid}


@frozen
class Certificate:
    """What a certificate says. It is trusted only once `check_trusted` has found it to be."""

    der: bytes = field(repr=False)
    subject: str
    issuer: str
    signer_id: str
    """The one common name of its subject."""
    not_before_s: int
    not_after_s: int
    """Seconds since 1970; both ends belong to it."""
    key_bits: int
    key_sha256: bytes
    """SHA-256 of its SubjectPublicKeyInfo: two certificates of one key have the same."""
    key: RSAPublicKey = field(repr=False, eq=False)
    parsed: x509.Certificate = field(repr=False, eq=False)

    @property
    def self_signed(self) -> bool:
        """Whether it names itself as its issuer."""
        return self.parsed.subject == self.parsed.issuer


def read_certificate(der: bytes) -> Certificate:
    """The certificate that these bytes are, whole; `CertificateError` says what is wrong."""
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise CertificateError(f"certificate of {len(der)} bytes, the limit is {CERTIFICATE_BYTES_MAX}")
    try:
        with _quiet():
            return _read(der)
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
    ) as error:
        raise CertificateError(f"not an X.509 certificate that can be read: {_line(error)}") from error


def read_certificates(data: bytes) -> tuple[Certificate, ...]:
    """The certificates in a file: one in DER, or one or more in PEM."""
    if len(data) > PEM_BYTES_MAX:
        raise CertificateError(f"more than {PEM_BYTES_MAX} bytes of certificates")
    if b"-----BEGIN" not in data:
        return (read_certificate(data),)
    try:
        with _quiet():
            found = x509.load_pem_x509_certificates(data)
        ders = [one.public_bytes(serialization.Encoding.DER) for one in found]
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise CertificateError(f"no certificates in PEM that can be read: {_line(error)}") from error
    if len(ders) > TRUSTED_MAX:
        raise CertificateError(f"{len(ders)} certificates in one file, the limit is {TRUSTED_MAX}")
    return tuple(read_certificate(der) for der in ders)


@contextmanager
def _quiet() -> Iterator[None]:
    """What is odd about somebody's certificate is no news for whoever reads our standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_trusted(
    certificate: Certificate,
    *,
    given: Iterable[Certificate],
    roots: Iterable[Certificate],
    at_s: int,
    allow_sha1: bool = False,
) -> None:
    """Pass silently if `certificate` may sign torrents at the time `at_s`.

    Args:
        given: signers; it is one of these,
        roots: or was issued by one of these. A signer that is given may not issue others: else one person could make
            as many signers as a threshold asks for.
        at_s: seconds since 1970.
        allow_sha1: take a certificate whose own signature is made with SHA-1.

    Raises:
        UnknownSignerError: neither it nor its issuer is given.
        SignatureError: it or its issuer is out of date, too weak or not meant for this.
    """
    known = any(certificate.der == one.der for one in given)
    issuers = [one for one in roots if one.parsed.subject == certificate.parsed.issuer]
    if not known and not issuers:
        raise UnknownSignerError(
            f"certificate of {_shown(certificate)} is not given, and neither is its issuer"
            f" {certificate.issuer!a:.160}"
        )
    _check_may_sign_torrents(certificate)
    _check_valid(certificate, at_s)
    refusals: list[SignatureError] = []
    for issuer in () if known else issuers:
        try:
            _check_issued(certificate, issuer, at_s, allow_sha1)
        except SignatureError as error:
            refusals.append(error)
        else:
            return
    if refusals:
        raise refusals[0]


def _read(der: bytes) -> Certificate:
    parsed = x509.load_der_x509_certificate(der)
    names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise ValueError("its subject has not exactly one common name (CN), which names the signer")
    key = parsed.public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError("its key is not RSA")
    if not KEY_BITS_MIN <= key.key_size <= KEY_BITS_MAX:
        raise ValueError(f"its RSA key has {key.key_size} bits, not {KEY_BITS_MIN} to {KEY_BITS_MAX}")
    exponent = key.public_numbers().e
    if not 3 <= exponent <= EXPONENT_MAX or exponent % 2 == 0:
        raise ValueError("its RSA key has an exponent that is even, below 3 or beyond 32 bits")
    _ = list(parsed.extensions)  # read now, so that an unreadable one is refused here and not somewhere later
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Certificate(
        der=der,
        subject=parsed.subject.rfc4514_string(),
        issuer=parsed.issuer.rfc4514_string(),
        signer_id=str(names[0].value),
        not_before_s=int(parsed.not_valid_before_utc.timestamp()),
        not_after_s=int(parsed.not_valid_after_utc.timestamp()),
        key_bits=key.key_size,
        key_sha256=hashlib.sha256(spki).digest(),
        key=key,
        parsed=parsed,
    )


def _check_may_sign_torrents(certificate: Certificate) -> None:
    """A certificate without extensions, as the BEP recommends, may; extensions that are there must allow it."""
    _check_understood(certificate)
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise SignatureError(
            f"certificate of {_shown(certificate)} is not meant for signatures (its key usage)"
        )
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    allowed = {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if extended is not None and not allowed & set(extended):
        raise SignatureError(
            f"certificate of {_shown(certificate)} is meant for other things than signing code"
        )


def _check_issued(certificate: Certificate, issuer: Certificate, at_s: int, allow_sha1: bool) -> None:
    _check_may_issue(issuer)
    _check_valid(issuer, at_s)
    made_with = _HASHES.get(certificate.parsed.signature_algorithm_oid)
    if made_with is None:
        raise SignatureError(f"certificate of {_shown(certificate)} is not signed with RSA and SHA-2")
    if isinstance(made_with, hashes.SHA1) and not allow_sha1:
        raise SignatureError(
            f"certificate of {_shown(certificate)} is signed with SHA-1, which counts only where it is asked for"
        )
    try:
        if isinstance(made_with, hashes.SHA1):  # which the library no longer does by itself
            signature, body = certificate.parsed.signature, certificate.parsed.tbs_certificate_bytes
            issuer.key.verify(signature, body, padding.PKCS1v15(), made_with)
        else:
            certificate.parsed.verify_directly_issued_by(issuer.parsed)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureError(
            f"certificate of {_shown(certificate)} names {_shown(issuer)} as issuer, whose key did not sign it"
        ) from error


def _check_may_issue(issuer: Certificate) -> None:
    _check_understood(issuer)
    constraints = _extension(issuer, x509.BasicConstraints)
    usage = _extension(issuer, x509.KeyUsage)
    if issuer.parsed.version is not x509.Version.v1 and (constraints is None or not constraints.ca):
        raise SignatureError(f"certificate {issuer.subject!a:.160} may not issue others: it is no CA")
    if usage is not None and not usage.key_cert_sign:
        raise SignatureError(f"certificate {issuer.subject!a:.160} may not issue others (its key usage)")


def _check_valid(certificate: Certificate, at_s: int) -> None:
    if not certificate.not_before_s <= at_s <= certificate.not_after_s:
        raise SignatureError(
            f"certificate {certificate.subject!a:.160} is valid from {_day(certificate.not_before_s)} to"
            f" {_day(certificate.not_after_s)}, not on {_day(at_s)}"
        )


def _check_understood(certificate: Certificate) -> None:
    for extension in certificate.parsed.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise SignatureError(
                f"certificate {certificate.subject!a:.160} has a critical extension that is not handled:"
                f" {extension.oid.dotted_string:.60}"
            )


def _extension(certificate: Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.parsed.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _shown(certificate: Certificate) -> str:
    return (
        f"{certificate.signer_id:.128}"
        if certificate.signer_id.isprintable()
        else ascii(certificate.signer_id)
    )


def _day(at_s: int) -> str:
    try:
        return datetime.fromtimestamp(at_s, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return f"second {at_s}"


def _line(error: Exception) -> str:
    """The first line, of printable characters, without a full stop: it ends up in the middle of our own."""
    return ascii(str(error).partition("\n")[0][:160])[1:-1].rstrip(".") or type(error).__name__
