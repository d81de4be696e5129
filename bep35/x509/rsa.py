"""RSA signatures with X.509 certificates, as BEP-35 describes them.

Made are RSASSA-PKCS1-v1_5 signatures with SHA-256, stated as `alg`. Checked are these; signatures without `alg`, as other
programs make them, with SHA-256; and, where the caller asks for it, those without `alg` with SHA-1, which is what the one public
signer of 2012 made.

Source: BEP-35; RFC 8017 section 8.2; github.com/bittorrent/ut-signing-tool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from bep35.errors import CertificateError, KeyFileError, SignatureError, UnknownSignerError
from bep35.signatures import SignatureEntry
from bep35.signing import RSA_ALGORITHM, Sign, SignedTorrent, Stated, attach, entry_of, signed_bytes, stated
from bep35.x509.certificate import Certificate, check_trusted, read_certificate

RSA_SHA1_ALGORITHM = "rsa-sha1"
"""How a verdict calls it. No `alg` may say so: nothing new is made with SHA-1."""
KEY_FILE_BYTES_MAX = 32 * 1024
"""8,192 bits in PEM are 6.4 KB."""


@frozen
class RsaVerified:
    """A signature that holds."""

    stated: dict[str, Stated]
    algorithm: str
    certificate: Certificate


@frozen
class RsaKey:
    """A private key in memory: a `Sign` that makes PKCS #1 v1.5 signatures with SHA-256."""

    _key: RSAPrivateKey = field(repr=False, eq=False)

    def __call__(self, message: bytes) -> bytes:
        """The signature over `message`."""
        return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def read_rsa_key(data: bytes, passphrase: bytes | None = None) -> RsaKey:
    """The private key in a PEM file's content; `KeyFileError` where there is none, or the passphrase is not the right one."""
    if len(data) > KEY_FILE_BYTES_MAX:
        raise KeyFileError(f"not a private key: larger than {KEY_FILE_BYTES_MAX} bytes")
    try:
        key = serialization.load_pem_private_key(data, passphrase)
    except TypeError as error:
        wanted = "has no passphrase" if passphrase is not None else "needs its passphrase"
        raise KeyFileError(f"the private key {wanted}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError("no private key in PEM that can be read, or another passphrase") from error
    if not isinstance(key, RSAPrivateKey):
        raise KeyFileError("the private key is not RSA")
    return RsaKey(key)


def sign_with_certificate(
    raw: bytes,
    certificate: Certificate,
    key: Sign,
    info: Mapping[str, str | int | Sequence[str]],
    *,
    embed: bool | None = None,
) -> bytes:
    """The torrent with the signature of the certificate's key, in the name that the certificate gives.

    Args:
        key: makes the PKCS #1 v1.5 signature with SHA-256; what it makes is checked.
        info: as for `signing.sign`.
        embed: put the certificate into the torrent. By default it is, unless it is self-signed: then whoever trusts it has it.

    Raises: as `signing.sign`, and SignatureError where the key is not the certificate's.
    """
    signature = key(signed_bytes(raw, info, algorithm=RSA_ALGORITHM))
    embedded = certificate.der if (not certificate.self_signed if embed is None else embed) else None
    signed = attach(
        raw, certificate.signer_id, info, signature, algorithm=RSA_ALGORITHM, certificate=embedded
    )
    if not _holds(certificate, signature, signed_bytes(raw, info, algorithm=RSA_ALGORITHM), hashes.SHA256()):
        raise SignatureError(f"the private key is not that of the certificate of {certificate.signer_id}")
    return signed


def verify_with_certificates(
    torrent: SignedTorrent,
    signer_id: str,
    *,
    given: Sequence[Certificate],
    roots: Sequence[Certificate] = (),
    at_s: int,
    allow_sha1: bool = False,
) -> RsaVerified:
    """Check one signer's RSA signature.

    What counts is a certificate that names this signer as its common name: a given one, or the embedded one if a root issued it.

    Args:
        given: certificates of signers.
        roots: certificates of those who issue signers' certificates.
        at_s: the time for which certificates must be valid, seconds since 1970.
        allow_sha1: take old signatures and certificates made with SHA-1. They can be forged by those who can pay for it.

    Raises:
        UnknownSignerError: no such certificate.
        SignatureError: no such signer, not RSA, a certificate that may not be used, or a signature that does not verify.
        CertificateError: the embedded certificate is needed and cannot be read.
    """
    entry = entry_of(torrent, signer_id)
    if entry.info.get(b"alg", RSA_ALGORITHM.encode()) != RSA_ALGORITHM.encode():
        raise SignatureError(f"signature of {signer_id} is not stated to be {RSA_ALGORITHM}")
    refusals: list[SignatureError] = []
    for certificate in _candidates(entry, signer_id, given):
        try:
            check_trusted(certificate, given=given, roots=roots, at_s=at_s, allow_sha1=allow_sha1)
            algorithm = _algorithm(torrent, entry, certificate, allow_sha1)
        except SignatureError as error:
            refusals.append(error)
        else:
            return RsaVerified(stated(entry.info), algorithm, certificate)
    if not refusals:
        raise UnknownSignerError(f"no certificate of {signer_id} is given or embedded")
    raise next((error for error in refusals if not isinstance(error, UnknownSignerError)), refusals[0])


def _candidates(entry: SignatureEntry, signer_id: str, given: Sequence[Certificate]) -> list[Certificate]:
    """The given certificates of this signer, then the embedded one: a stranger's does not hide a given one."""
    found = [one for one in given if one.signer_id == signer_id]
    if entry.certificate is None or any(one.der == entry.certificate for one in found):
        return found
    try:
        embedded = read_certificate(entry.certificate)
    except CertificateError:
        if found:
            return found
        raise
    if embedded.signer_id == signer_id:
        return [*found, embedded]
    if found:
        return found
    raise SignatureError(
        f"certificate in the signature of {signer_id} names another signer: {embedded.signer_id!a:.80}"
    )


def _algorithm(
    torrent: SignedTorrent, entry: SignatureEntry, certificate: Certificate, allow_sha1: bool
) -> str:
    """How the signature was made, once it is found to hold."""
    message = torrent.info_raw + (entry.info_raw or b"")
    if _holds(certificate, entry.signature, message, hashes.SHA256()):
        return RSA_ALGORITHM
    sha1 = hashes.SHA1()  # noqa: S303  of old files, and it counts only where it is asked for
    old = b"alg" not in entry.info and _holds(certificate, entry.signature, message, sha1)
    if old and allow_sha1:
        return RSA_SHA1_ALGORITHM
    if old:
        raise SignatureError(
            f"signature of {certificate.signer_id} is made with SHA-1, which counts only where it is asked for"
        )
    raise SignatureError(
        f"signature of {certificate.signer_id} does not verify: another key, or the torrent was changed"
    )


def _holds(
    certificate: Certificate, signature: bytes, message: bytes, algorithm: hashes.HashAlgorithm
) -> bool:
    try:
        certificate.key.verify(signature, message, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True
