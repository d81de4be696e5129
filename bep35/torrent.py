"""Any torrent: BitTorrent v1, v2 or hybrid, of one file or many, with whatever else its maker put into it.

`Torrent` keeps the bytes it was read from. Keys this library does not know, keys out of order and everything outside `info` stay
as they are; the infohashes and every signature are over the bytes of `info` as they were found. A node installs less than this
reads: see `metainfo`.

Source: BEP-3 (v1), BEP-52 (v2, hybrid), BEP-35 (`signatures`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

from bep35.bencode import SIZE_BYTES_MAX, Bencoded, decode, raw_items
from bep35.errors import MetainfoError
from bep35.layout import TorrentFile, check_agreement, files_v1, files_v2, plain_name
from bep35.merkle import BLOCK_BYTES
from bep35.metainfo import PIECE_BYTES_MAX
from bep35.signatures import SignatureEntry, read_signatures


class Kind(Enum):
    """Which version of BitTorrent a torrent is for."""

    V1 = "v1"
    V2 = "v2"
    HYBRID = "hybrid"


@frozen
class Torrent:
    """A torrent that does not contradict itself. Nothing in it is verified: see `verdicts`."""

    raw: bytes = field(repr=False)
    info_raw: bytes = field(repr=False)
    """The bencoded `info`, as found in `raw`: what is hashed and signed."""
    kind: Kind
    name: str
    """A plain file name: the file's, or that of the folder that holds all files."""
    piece_bytes: int
    files: tuple[TorrentFile, ...] = field(repr=False)
    """In the torrent's order, padding left out."""
    infohash_v1: bytes | None
    """SHA-1 of `info_raw`, 20 bytes; None for v2."""
    infohash_v2: bytes | None
    """SHA-256 of `info_raw`, 32 bytes; None for v1."""
    signatures: Mapping[str, SignatureEntry] = field(repr=False)
    """By signer id; read-only."""

    @property
    def length_bytes(self) -> int:
        """Of all files together."""
        return sum(file.length_bytes for file in self.files)


def parse(raw: bytes, *, size_bytes_max: int = SIZE_BYTES_MAX) -> Torrent:
    """Read a torrent and check everything in it that can be checked without the files and without keys.

    Raises:
        BencodeError: not bencoding (keys may be in any order, but not twice), or more than `size_bytes_max` bytes.
        MetainfoError: not a torrent, or one that contradicts itself.
    """
    items = raw_items(raw, size_bytes_max=size_bytes_max, any_order=True)
    info_raw = items.get(b"info")
    if info_raw is None:
        raise MetainfoError("torrent has no info dictionary")
    info = _dictionary(info_raw, "info")
    kind = _kind(info)
    name = plain_name(info.get(b"name"), "name")
    piece_bytes = _piece_bytes(info.get(b"piece length"), kind)
    if kind is Kind.V1:
        files = files_v1(info, name, piece_bytes)
    else:
        layers = _dictionary(items.get(b"piece layers", b"de"), "piece layers")
        files = files_v2(info, name, piece_bytes, layers)
    if kind is Kind.HYBRID:
        files_v1(info, name, piece_bytes)
        check_agreement(info, name, piece_bytes, files)
    return Torrent(
        raw=raw,
        info_raw=info_raw,
        kind=kind,
        name=name,
        piece_bytes=piece_bytes,
        files=files,
        infohash_v1=None if kind is Kind.V2 else hashlib.sha1(info_raw, usedforsecurity=False).digest(),
        infohash_v2=None if kind is Kind.V1 else hashlib.sha256(info_raw).digest(),
        signatures=read_signatures(items.get(b"signatures", b"de"), strict=False),
    )


def _kind(info: Mapping[bytes, Bencoded]) -> Kind:
    if b"meta version" not in info:
        if b"file tree" in info:
            raise MetainfoError("torrent has a file tree but no meta version")
        return Kind.V1
    if info[b"meta version"] != 2:
        raise MetainfoError("torrent has a meta version other than 2")
    return Kind.HYBRID if info.keys() & {b"pieces", b"files", b"length"} else Kind.V2


def _piece_bytes(value: Bencoded | None, kind: Kind) -> int:
    if not isinstance(value, int) or not 1 <= value <= PIECE_BYTES_MAX:
        raise MetainfoError(f"torrent has no piece length from 1 to {PIECE_BYTES_MAX}")
    if kind is not Kind.V1 and (value < BLOCK_BYTES or value & (value - 1)):
        raise MetainfoError(f"piece length is not a power of two from {BLOCK_BYTES} to {PIECE_BYTES_MAX}")
    return value


def _dictionary(raw: bytes, what: str) -> dict[bytes, Bencoded]:
    value = decode(raw, any_order=True)
    if isinstance(value, dict):
        return value
    raise MetainfoError(f"torrent's {what} is not a dictionary")
