"""What is to be thought of every signature on a torrent, given keys and certificates. How many are enough, the caller says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import Enum

from attrs import Factory, frozen

from bep35.bencode import Bencoded
from bep35.errors import CertificateError, SignatureError, UnknownSignerError
from bep35.signing import ALGORITHM, RSA_ALGORITHM, SignedTorrent, Stated, verify


class Verdict(Enum):
    """Of one signature."""

    VALID = "valid"
    INVALID = "invalid"
    """Its signer is known, but it does not verify, or its certificate may not be used."""
    UNKNOWN = "unknown"
    """Nothing that was given has to do with its signer, or its algorithm is not known here."""


@frozen(kw_only=True)
class Trust:
    """Whom the caller trusts, from elsewhere than the torrent."""

    at_s: int
    """The time for which certificates must be valid, seconds since 1970."""
    keys: Mapping[str, bytes] = Factory(dict)
    """Ed25519 public keys by signer id."""
    certificates: tuple[bytes, ...] = ()
    """Of signers, in DER; these and `roots` need the extra `x509`."""
    roots: tuple[bytes, ...] = ()
    """Certificates, in DER, of those who issue certificates to signers: whoever they name may sign."""
    allow_sha1: bool = False
    """Take old RSA signatures and certificates made with SHA-1. They can be forged by those who can pay for it."""


@frozen
class Finding:
    """The verdict on one signature."""

    signer_id: str
    verdict: Verdict
    why: str
    """One line for a person; empty where it is valid."""
    algorithm: str | None
    """As stated and, where it is valid, as found; None where none is stated."""
    key_sha256: bytes | None = None
    """Which key signed, where it is valid: SHA-256 of the 32 bytes of an Ed25519 key, or of an RSA key's SubjectPublicKeyInfo.
    One key may sign under several names: count these, not names."""
    stated: Mapping[str, Stated] | None = None
    """What the signer states, where it is valid."""


def judge(torrent: SignedTorrent, trust: Trust) -> tuple[Finding, ...]:
    """One finding for each signature, in the torrent's order.

    Raises:
        CertificateError: a certificate in `trust` cannot be read.
        ExtraMissingError: certificates are given and the extra `x509` is not installed.
    """
    if not trust.certificates and not trust.roots:
        return tuple(_by_key(torrent, signer_id, trust) for signer_id in torrent.signatures)
    from bep35.x509.certificate import read_certificate  # here: large, and not everybody has it
    from bep35.x509.rsa import verify_with_certificates

    given = [read_certificate(der) for der in trust.certificates]
    roots = [read_certificate(der) for der in trust.roots]

    def by_certificate(signer_id: str) -> Finding:
        stated_algorithm = _stated_algorithm(torrent.signatures[signer_id].info)
        try:
            found = verify_with_certificates(
                torrent,
                signer_id,
                given=given,
                roots=roots,
                at_s=trust.at_s,
                allow_sha1=trust.allow_sha1,
            )
        except (UnknownSignerError, CertificateError) as error:
            return Finding(signer_id, Verdict.UNKNOWN, str(error), stated_algorithm)
        except SignatureError as error:
            return Finding(signer_id, Verdict.INVALID, str(error), stated_algorithm)
        key = found.certificate.key_sha256
        return Finding(signer_id, Verdict.VALID, "", found.algorithm, key, found.stated)

    return tuple(
        by_certificate(signer_id) if _is_rsa(entry.info) else _by_key(torrent, signer_id, trust)
        for signer_id, entry in torrent.signatures.items()
    )


def valid_keys(findings: Iterable[Finding]) -> frozenset[bytes]:
    """The different keys whose signatures are valid: compare their number with a threshold."""
    return frozenset(found.key_sha256 for found in findings if found.key_sha256 is not None)


def _by_key(torrent: SignedTorrent, signer_id: str, trust: Trust) -> Finding:
    """Of a signature that is not RSA, or for which no certificates are given."""
    info = torrent.signatures[signer_id].info
    algorithm = _stated_algorithm(info)
    if _is_rsa(info):
        return Finding(signer_id, Verdict.UNKNOWN, f"no certificate is given for {signer_id}", algorithm)
    if algorithm != ALGORITHM:
        why = f"signature of {signer_id} states an algorithm that is not known here"
        return Finding(signer_id, Verdict.UNKNOWN, why, algorithm)
    public_key = trust.keys.get(signer_id)
    if public_key is None:
        return Finding(signer_id, Verdict.UNKNOWN, f"no key is given for {signer_id}", algorithm)
    try:
        states = verify(torrent, signer_id, public_key)
    except SignatureError as error:
        return Finding(signer_id, Verdict.INVALID, str(error), algorithm)
    return Finding(signer_id, Verdict.VALID, "", algorithm, hashlib.sha256(public_key).digest(), states)


def _is_rsa(info: Mapping[bytes, Bencoded]) -> bool:
    """Other programs state no algorithm; then it is RSA, as the BEP says."""
    return info.get(b"alg", RSA_ALGORITHM.encode()) == RSA_ALGORITHM.encode()


def _stated_algorithm(info: Mapping[bytes, Bencoded]) -> str | None:
    alg = info.get(b"alg")
    return alg.decode(errors="replace") if isinstance(alg, bytes) else None
