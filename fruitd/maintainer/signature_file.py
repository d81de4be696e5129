"""One person's signature under a release, in a small file of its own: all that has to travel back from who signs.

JSON, so that people can see whose it is and what it is about. Those words decide nothing: what counts is the hash of the
manifest's content and the signature over it. The first signer's file holds the signature of the torrent too, since that one makes
the content.
"""

from __future__ import annotations

import json
import re
from typing import Any

from attrs import frozen

from fruitd.errors import RefusedError
from swarm.trust.keys import KEY_BYTES, SIGNATURE_BYTES
from swarm.trust.manifest import PARCELS_MAX

SIGNATURE_FILE_BYTES_MAX = 4096
"""A signature file has about 800 bytes."""
_HASH_BYTES = 32
_TYPE = "fruit-release-signature"
_VERSION = 1
_ABOUT_CHARS_MAX = 1024
_FIELDS = {
    "type",
    "version",
    "about",
    "signed_by",
    "public",
    "content_hash",
    "signature",
    "torrent_signature",
}


@frozen
class SignatureFile:
    """A detached signature."""

    about: str
    """The release, for people."""
    signed_by: str
    """What the signer's key is called, for people."""
    public_key: bytes
    content_hash: bytes
    """Of the manifest's record."""
    signature: bytes
    torrent_signature: bytes | None
    """BEP-35's, by the same key; only of who signed first."""
    parcel_signatures: tuple[bytes, ...] = ()
    """As `torrent_signature`, of each of the release's parcels in its order."""

    def encode(self) -> bytes:
        """The file."""
        document: dict[str, Any] = {
            "type": _TYPE,
            "version": _VERSION,
            "about": self.about[:_ABOUT_CHARS_MAX],
            "signed_by": self.signed_by,
            "public": self.public_key.hex(),
            "content_hash": self.content_hash.hex(),
            "signature": self.signature.hex(),
            "torrent_signature": None if self.torrent_signature is None else self.torrent_signature.hex(),
        }
        if self.parcel_signatures:
            document["parcel_signatures"] = [signature.hex() for signature in self.parcel_signatures]
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> SignatureFile:
        """Read the file; raises `RefusedError`."""
        if len(data) > SIGNATURE_FILE_BYTES_MAX:
            raise RefusedError(f"signature file is larger than {SIGNATURE_FILE_BYTES_MAX} bytes")
        try:
            document = json.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise RefusedError("signature file is not JSON") from error
        if not isinstance(document, dict) or document.get("type") != _TYPE:
            raise RefusedError(f"signature file is not of type {_TYPE}")
        if type(document.get("version")) is not int or document["version"] != _VERSION:
            raise RefusedError(f"signature file is not of version {_VERSION}; a newer fruit may read it")
        parcels = document.pop("parcel_signatures", [])
        if not isinstance(parcels, list) or len(parcels) > PARCELS_MAX:
            raise RefusedError(f"signature file's parcel_signatures is not a list of at most {PARCELS_MAX}")
        if set(document) != _FIELDS:
            raise RefusedError("signature file has fields that do not belong there, or lacks some that do")
        torrent_signature = document["torrent_signature"]
        return cls(
            about=_text(document, "about", _ABOUT_CHARS_MAX),
            signed_by=_text(document, "signed_by", 64),
            public_key=_hex(document, "public", KEY_BYTES),
            content_hash=_hex(document, "content_hash", _HASH_BYTES),
            signature=_hex(document, "signature", SIGNATURE_BYTES),
            torrent_signature=None
            if torrent_signature is None
            else _hex(document, "torrent_signature", SIGNATURE_BYTES),
            parcel_signatures=tuple(
                _hex({"parcel_signatures": value}, "parcel_signatures", SIGNATURE_BYTES) for value in parcels
            ),
        )


def _text(document: dict[str, Any], field: str, chars_max: int) -> str:
    value = document[field]
    if isinstance(value, str) and len(value) <= chars_max and value.isprintable():
        return value
    raise RefusedError(f"signature file's {field} is not printable text of at most {chars_max} characters")


def _hex(document: dict[str, Any], field: str, size_bytes: int) -> bytes:
    value = document[field]
    if isinstance(value, str) and re.fullmatch(rf"[0-9a-f]{{{2 * size_bytes}}}", value):
        return bytes.fromhex(value)
    raise RefusedError(f"signature file's {field} is not {2 * size_bytes} lower-case hex digits")
