"""Signing torrents, and checking Ed25519 signatures on them. Certificates and RSA are in `x509`.

Signed are the bytes of the torrent's `info` as found, followed by the bencoded `info` of the signature itself, which names the
algorithm and whatever the signer states about the torrent. Both parts end where they say, so no byte can move from one to the
other. docs/bep35.md is the specification, tests/vectors/bep35/SPEC.md shows it byte by byte.

Source: BEP-35; it names no algorithm, so the signed `alg` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import nacl.exceptions
from nacl.signing import SigningKey, VerifyKey

from bep35.bencode import Bencoded, encode
from bep35.errors import BencodeError, SignatureError
from bep35.signatures import SIGNATURE_BYTES_MAX, SignatureEntry, check_signer_id, with_entry
from bep35.torrent import parse

ALGORITHM = "ed25519"
RSA_ALGORITHM = "rsa-sha256"
"""RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017)."""
SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32
INFO_BYTES_MAX = 4096
"""What a signer states fits one page: it is shown to people and compared with a manifest of at most 4 KiB."""
SIGNER_PREFIX = "org.fruit-testbed.release."

Stated = str | int | list[str]
"""A value of a signature's info."""
Sign = Callable[[bytes], bytes]
"""Makes the signature over a message: a key in a file, behind a command, on a token."""


class SignedTorrent(Protocol):
    """What a signature is checked against: `torrent.Torrent`, or `metainfo.Metainfo`."""

    @property
    def info_raw(self) -> bytes:
        """The bencoded `info` as found."""
        ...

    @property
    def signatures(self) -> Mapping[str, SignatureEntry]:
        """By signer id."""
        ...


def signer_id_of(public_key: bytes) -> str:
    """The usual signer id of a release key: `SIGNER_PREFIX` and the first 16 hex digits of the key's
    SHA-256."""
    return SIGNER_PREFIX + hashlib.sha256(public_key).hexdigest()[:16]


def sign(
    raw: bytes, signer_id: str, key: SigningKey | Sign, info: Mapping[str, str | int | Sequence[str]]
) -> bytes:
    """The torrent with this signer's signature added, or replaced; every other byte of it stays as it is.

    Args:
        raw: a torrent that `torrent.parse` accepts.
        signer_id: see `signer_id_of`.
        key: Ed25519, or whatever makes such a signature over the bytes it is given.
        info: what the signer states, signed too. `alg` is added.

    Raises:
        BencodeError, MetainfoError: `raw` is no usable torrent, or `signer_id` no usable name.
        SignatureError: `info` holds something else than text, integers and lists of text, names another
            algorithm, or is too large; or `key` gave no signature.
    """
    message = signed_bytes(raw, info)
    signature = key.sign(message).signature if isinstance(key, SigningKey) else key(message)
    return attach(raw, signer_id, info, signature)


def signed_bytes(
    torrent: SignedTorrent | bytes,
    info: Mapping[str, str | int | Sequence[str]],
    *,
    algorithm: str = ALGORITHM,
) -> bytes:
    """What a signature has to be over, for keys that live elsewhere; give the result to `attach`.

    Raises: as `sign`.
    """
    read = parse(torrent) if isinstance(torrent, bytes) else torrent
    return read.info_raw + _info_raw(info, algorithm)


def attach(
    raw: bytes,
    signer_id: str,
    info: Mapping[str, str | int | Sequence[str]],
    signature: bytes,
    *,
    algorithm: str = ALGORITHM,
    certificate: bytes | None = None,
) -> bytes:
    """The torrent with a signature made elsewhere over `signed_bytes(raw, info)`; it is not checked here.

    Args:
        certificate: DER, to be embedded; for `RSA_ALGORITHM`.

    Raises: as `sign`, and SignatureError where `signature` does not have a length of `algorithm`.
    """
    check_signer_id(signer_id)
    if algorithm == ALGORITHM and len(signature) != SIGNATURE_BYTES:
        raise SignatureError(f"an Ed25519 signature is {SIGNATURE_BYTES} bytes, not {len(signature)}")
    if not 1 <= len(signature) <= SIGNATURE_BYTES_MAX:
        raise SignatureError(f"a signature is 1 to {SIGNATURE_BYTES_MAX} bytes, not {len(signature)}")
    return parse(with_entry(raw, signer_id, _info_raw(info, algorithm), signature, certificate)).raw


def verify(torrent: SignedTorrent, signer_id: str, public_key: bytes) -> dict[str, Stated]:
    """Check one signer's Ed25519 signature; what the signer states, `alg` included, is the answer.

    Args:
        torrent: as one of the parsers made it.
        signer_id: whose signature; its name alone proves nothing.
        public_key: the 32 bytes that the caller trusts, from elsewhere than the torrent.

    Raises:
        SignatureError: no such signer, another algorithm, another key, or signed bytes that were changed.
    """
    entry = entry_of(torrent, signer_id)
    if entry.info_raw is None or entry.info.get(b"alg") != ALGORITHM.encode():
        raise SignatureError(f"signature of {signer_id} is not stated to be {ALGORITHM}")
    if len(entry.signature) != SIGNATURE_BYTES or len(public_key) != PUBLIC_KEY_BYTES:
        raise SignatureError(f"signature or key of {signer_id} does not have the length of {ALGORITHM}")
    try:
        VerifyKey(public_key).verify(torrent.info_raw + entry.info_raw, entry.signature)
    except nacl.exceptions.BadSignatureError as error:
        raise SignatureError(
            f"signature of {signer_id} does not verify: another key, or the torrent was changed"
        ) from error
    return stated(entry.info)


def entry_of(torrent: SignedTorrent, signer_id: str) -> SignatureEntry:
    """What the torrent holds for this signer; `SignatureError` where that is nothing."""
    entry = torrent.signatures.get(signer_id)
    if entry is None:
        raise SignatureError(f"torrent is not signed by {signer_id}")
    return entry


def stated(info: Mapping[bytes, Bencoded]) -> dict[str, Stated]:
    """A signature's info as text, integers and lists of text; `SignatureError` where it holds anything else.

    Reading it says nothing about who wrote it: use `verify`.
    """
    try:
        return {key.decode(): _stated(value) for key, value in info.items()}
    except UnicodeDecodeError as error:
        raise SignatureError("signature's info holds text that is not UTF-8") from error


def _stated(value: Bencoded) -> Stated:
    match value:
        case bytes():
            return value.decode()
        case int():
            return value
        case list():
            return [item.decode() if isinstance(item, bytes) else _refuse(item) for item in value]
        case _:
            return _refuse(value)


def _refuse(value: object) -> str:
    raise SignatureError(
        f"signature's info holds a {type(value).__name__} where text, integers or lists of text belong"
    )


def _info_raw(info: Mapping[str, str | int | Sequence[str]], algorithm: str) -> bytes:
    """The one encoding of what the signer states, with `alg`."""
    complete = {"alg": algorithm, **info}
    if complete["alg"] != algorithm:
        raise SignatureError(f"only {algorithm} signatures are made here, not {complete['alg']!r}")
    for key, value in info.items():
        if isinstance(value, str | int):
            continue
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise SignatureError(f"signature's info {key!r} is not text, an integer or a list of text")
    try:
        raw = encode(complete)
    except BencodeError as error:
        raise SignatureError(f"signature's info cannot be encoded: {error}") from error
    if len(raw) > INFO_BYTES_MAX:
        raise SignatureError(f"signature's info is {len(raw)} bytes, the limit is {INFO_BYTES_MAX}")
    return raw
