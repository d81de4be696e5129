"""What a torrent's top-level `signatures` holds: read with bounds, and written back without touching anything else.

Source: BEP-35; `docs/bep35.md` says what it leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen

from bep35.bencode import Bencoded, decode, encode, join_raw, join_raw_as_found, raw_items
from bep35.errors import BencodeError, MetainfoError

SIGNER_CHARS_MAX = 128
SIGNERS_MAX = 16
SIGNATURE_BYTES_MAX = 2048
"""RSA with 16,384 bits; Ed25519 needs 64."""
CERTIFICATE_BYTES_MAX = 16 * 1024
"""A certificate with an RSA key of 8,192 bits and some extensions needs about 3 KiB."""

_KEY = b"signatures"
_ENTRY_KEYS = frozenset({b"signature", b"certificate", b"info"})


@frozen
class SignatureEntry:
    """What `signatures` holds for one signer. Nothing here has been verified."""

    info_raw: bytes | None
    """The bencoded `info` of the signature, as found; None where there is none."""
    info: Mapping[bytes, Bencoded]
    """The same, read; empty where there is none."""
    signature: bytes
    certificate: bytes | None
    """DER, as found."""


def check_signer_id(signer_id: str) -> None:
    """Refuse, as `MetainfoError`, what cannot name a signer: BEP-35 asks for a reversed domain name."""
    if not 1 <= len(signer_id) <= SIGNER_CHARS_MAX or not signer_id.isprintable() or " " in signer_id:
        raise MetainfoError(
            f"signer id {signer_id!r:.80} is not 1 to {SIGNER_CHARS_MAX} printable characters, no spaces"
        )


def read_signatures(raw: bytes, *, strict: bool = True) -> Mapping[str, SignatureEntry]:
    """The entries by signer id, read-only.

    Args:
        raw: the bencoded value of `signatures`.
        strict: refuse keys that BEP-35 does not name, and keys out of order. Else both are left alone.

    Raises:
        MetainfoError: not of the shape BEP-35 gives, or beyond a bound.
    """
    try:
        entries = raw_items(raw, any_order=not strict)
    except BencodeError as error:
        raise MetainfoError("torrent's signatures are not a dictionary") from error
    if len(entries) > SIGNERS_MAX:
        raise MetainfoError(f"torrent has {len(entries)} signers, the limit is {SIGNERS_MAX}")
    signatures: dict[str, SignatureEntry] = {}
    for key, entry_raw in entries.items():
        try:
            signer_id = key.decode()
        except UnicodeDecodeError as error:
            raise MetainfoError("torrent's signer id is not UTF-8") from error
        check_signer_id(signer_id)
        signatures[signer_id] = _entry(signer_id, entry_raw, strict)
    return MappingProxyType(signatures)


def with_entry(
    raw: bytes, signer_id: str, info_raw: bytes, signature: bytes, certificate: bytes | None
) -> bytes:
    """The torrent `raw` with this signer's entry added, or replaced; every other byte of it stays as it is.

    A new key goes before the first one that sorts after it: in a torrent whose keys are in order they stay so.
    """
    entry = {b"info": info_raw, b"signature": encode(signature)}
    if certificate is not None:
        entry[b"certificate"] = encode(certificate)
    items = raw_items(raw, any_order=True)
    signatures = raw_items(items.get(_KEY, b"de"), any_order=True)
    placed = _placed(signatures, signer_id.encode(), join_raw(entry))
    return join_raw_as_found(_placed(items, _KEY, join_raw_as_found(placed)))


def _placed(items: Mapping[bytes, bytes], key: bytes, value: bytes) -> dict[bytes, bytes]:
    if key in items:
        return {**items, key: value}
    placed: dict[bytes, bytes] = {}
    for other, other_value in items.items():
        if key < other and key not in placed:
            placed[key] = value
        placed[other] = other_value
    return {**placed, key: value}


def _entry(signer_id: str, raw: bytes, strict: bool) -> SignatureEntry:
    entry = decode(raw, any_order=not strict)
    if not isinstance(entry, dict):
        raise MetainfoError(f"torrent's signature of {signer_id} is not a dictionary")
    signature, certificate, info = entry.get(b"signature"), entry.get(b"certificate"), entry.get(b"info", {})
    if not isinstance(signature, bytes) or not 1 <= len(signature) <= SIGNATURE_BYTES_MAX:
        raise MetainfoError(f"signature of {signer_id} is not 1 to {SIGNATURE_BYTES_MAX} bytes")
    if certificate is not None and not (
        isinstance(certificate, bytes) and 1 <= len(certificate) <= CERTIFICATE_BYTES_MAX
    ):
        raise MetainfoError(f"certificate of {signer_id} is not 1 to {CERTIFICATE_BYTES_MAX} bytes")
    if strict and entry.keys() - _ENTRY_KEYS:
        raise MetainfoError(f"signature of {signer_id} holds keys that BEP-35 does not name")
    if not isinstance(info, dict):
        raise MetainfoError(f"torrent's signed info of {signer_id} is not a dictionary")
    info_raw = raw_items(raw, any_order=not strict).get(b"info")
    return SignatureEntry(info_raw, MappingProxyType(info), signature, certificate)
