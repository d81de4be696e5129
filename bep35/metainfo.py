"""Torrents that a node installs: one file, BitTorrent v2 only, everything canonical. `torrent` reads all other torrents too.

`Metainfo` is what a torrent says, once everything it says has been found consistent. It keeps the bytes it was read from: the
infohash and every signature are over the bytes of `info` as they were found, never over a copy written anew.

Source: BEP-52 (v2 metainfo), BEP-35 (`signatures`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from attrs import field, frozen

from bep35 import merkle
from bep35.bencode import SIZE_BYTES_MAX, Bencoded, decode, encode, join_raw, raw_items
from bep35.errors import MetainfoError
from bep35.signatures import SignatureEntry, read_signatures

PIECE_BYTES_MAX = 256 * 1024 * 1024
"""Larger ones libtorrent 2.1.1 refuses."""
PIECE_BYTES_USUAL = 64 * 1024
"""Up to 1 GiB. Smaller pieces make a larger torrent; larger ones make a damaged block cost more to fetch again, and a site that
has a piece half can pass nothing of it on: 32 MiB to four sites took a tenth longer with 256 KiB."""
PIECES_USUAL_MAX = 16_384
"""Above it pieces grow, so that the piece layer stays within 512 KiB."""
NAME_BYTES_MAX = 255
"""What ext4 and most file systems allow for one name."""
_INFO_KEYS = frozenset({b"file tree", b"meta version", b"name", b"piece length"})
_INFO_KEYS_INERT = frozenset(
    {
        b"collections",
        b"originator",
        b"private",
        b"publisher",
        b"publisher-url",
        b"similar",
        b"source",
        b"update-url",
    }
)
"""Allowed beside them: none changes which file this is. Others are refused, since another program may read in
them a second name, layout or kind of file (`name.utf-8`, `attr`, `pieces`)."""


@frozen
class Metainfo:
    """A torrent of one file whose piece layer matches its pieces root."""

    raw: bytes = field(repr=False)
    info_raw: bytes = field(repr=False)
    """The bencoded `info`, as found in `raw`: what is hashed and signed."""
    name: str
    """A plain file name: no slash, printable, at most `NAME_BYTES_MAX` bytes as UTF-8."""
    piece_bytes: int
    """A power of two from 16 KiB to `PIECE_BYTES_MAX`."""
    length_bytes: int
    """>= 1"""
    pieces_root: bytes
    """The root over all leaves of the file, 32 bytes."""
    _layer_at: int = field(repr=False)
    """Where the piece layer begins in `raw`: half of a torrent is that layer, and it is not kept twice."""
    infohash: bytes
    """BitTorrent v2: SHA-256 of `info_raw`, 32 bytes."""
    signatures: Mapping[str, SignatureEntry]
    """By signer id; read-only."""

    @property
    def piece_count(self) -> int:
        """How many pieces the file has."""
        return -(-self.length_bytes // self.piece_bytes)

    @property
    def piece_layer(self) -> bytes:
        """32 bytes for each piece; for a file of one piece that is `pieces_root`. Same as `merkle.layer_of`. A copy."""
        return self.raw[self._layer_at : self._layer_at + merkle.HASH_BYTES * self.piece_count]


def parse(raw: bytes, *, size_bytes_max: int = SIZE_BYTES_MAX) -> Metainfo:
    """Read a torrent and check everything in it that can be checked without the file and without keys.

    Top-level keys this library does not know (trackers, comments, dates) are allowed and stay in `raw`.

    Raises:
        BencodeError: not canonical bencoding, or more than `size_bytes_max` bytes.
        MetainfoError: not a single-file v2 torrent, or one that contradicts itself.
    """
    items = raw_items(raw, size_bytes_max=size_bytes_max)
    info_raw = items.get(b"info")
    if info_raw is None:
        raise MetainfoError("torrent has no info dictionary")
    info = _dictionary(decode(info_raw, size_bytes_max=size_bytes_max), "info")
    _check_version(info)
    name = _name(info.get(b"name"))
    piece_bytes = _piece_bytes(info.get(b"piece length"))
    length_bytes, pieces_root = _only_file(info.get(b"file tree"), name)
    layers = _dictionary(
        decode(items.get(b"piece layers", b"de"), size_bytes_max=size_bytes_max), "piece layers"
    )
    return Metainfo(
        raw=raw,
        info_raw=info_raw,
        name=name,
        piece_bytes=piece_bytes,
        length_bytes=length_bytes,
        pieces_root=pieces_root,
        layer_at=raw.index(_piece_layer(layers, length_bytes, piece_bytes, pieces_root)),
        infohash=hashlib.sha256(info_raw).digest(),
        signatures=read_signatures(items.get(b"signatures", b"de")),
    )


def build(name: str, length_bytes: int, leaves: bytes, piece_bytes: int) -> bytes:
    """An unsigned torrent of one file. The same arguments always give the same bytes: no date, no creator.

    Args:
        name: a plain file name.
        length_bytes: of the file, >= 1.
        leaves: of the whole file (`merkle.leaf_hashes_of`).
        piece_bytes: a power of two from 16 KiB to `PIECE_BYTES_MAX`; `piece_bytes_for` gives the usual one.

    Raises:
        MetainfoError: the arguments do not belong together, or the torrent would be one that `parse` refuses.
    """
    _piece_bytes(piece_bytes)
    if length_bytes < 1 or len(leaves) != merkle.leaf_count(length_bytes) * merkle.HASH_BYTES:
        raise MetainfoError(f"{len(leaves)} bytes of leaves do not belong to a file of {length_bytes} bytes")
    layer = merkle.layer_of(leaves, piece_bytes)
    root = merkle.root_of_layer(layer, piece_bytes)
    info = {
        "file tree": {name: {"": {"length": length_bytes, "pieces root": root}}},
        "meta version": 2,
        "name": name,
        "piece length": piece_bytes,
    }
    layers = {root: layer} if length_bytes > piece_bytes else {}
    return parse(join_raw({b"info": encode(info), b"piece layers": encode(layers)})).raw


def piece_bytes_for(length_bytes: int) -> int:
    """The usual piece length: 64 KiB up to 1 GiB, then doubled until there are at most `PIECES_USUAL_MAX`
    pieces."""
    piece_bytes = PIECE_BYTES_USUAL
    while length_bytes > piece_bytes * PIECES_USUAL_MAX and piece_bytes < PIECE_BYTES_MAX:
        piece_bytes *= 2
    return piece_bytes


def _check_version(info: Mapping[bytes, Bencoded]) -> None:
    if b"pieces" in info or b"meta version" not in info:
        kind = "a hybrid" if b"meta version" in info else "a BitTorrent v1"
        raise MetainfoError(f"torrent is {kind} torrent; only v2-only torrents (BEP-52) are handled")
    if info[b"meta version"] != 2:
        raise MetainfoError("torrent has a meta version other than 2")
    unknown = sorted(info.keys() - _INFO_KEYS - _INFO_KEYS_INERT)
    if unknown:
        raise MetainfoError(f"torrent's info holds {_shown(unknown[0])}, which is not handled")


def _name(value: Bencoded | None) -> str:
    name = _text(value, "name")
    if not name.isprintable() or name in {".", ".."} or "/" in name or "\\" in name:
        raise MetainfoError(f"torrent's name {name!r:.80} is not a plain file name")
    if not 1 <= len(name.encode()) <= NAME_BYTES_MAX:
        raise MetainfoError(f"torrent's name is empty or longer than {NAME_BYTES_MAX} bytes")
    return name


def _piece_bytes(value: Bencoded | None) -> int:
    if isinstance(value, int) and merkle.BLOCK_BYTES <= value <= PIECE_BYTES_MAX and value & (value - 1) == 0:
        return value
    raise MetainfoError(f"piece length is not a power of two from {merkle.BLOCK_BYTES} to {PIECE_BYTES_MAX}")


def _only_file(tree: Bencoded | None, name: str) -> tuple[int, bytes]:
    """The length and pieces root of the one file, which must have the torrent's own name."""
    match tree:
        case dict() if list(tree) == [name.encode()]:
            entry = tree[name.encode()]
        case dict():
            raise MetainfoError("torrent does not hold exactly one file with the torrent's own name")
        case _:
            raise MetainfoError("torrent has no file tree")
    if not isinstance(entry, dict) or list(entry) != [b""]:
        raise MetainfoError("torrent holds a folder, only a single file is handled")
    match entry[b""]:
        case {b"length": int(length), b"pieces root": bytes(root), **rest} if not rest:
            pass
        case _:
            raise MetainfoError("torrent's file is not described by length and pieces root alone")
    if length < 1 or len(root) != merkle.HASH_BYTES:
        raise MetainfoError("torrent's file is empty, or its pieces root is not 32 bytes")
    return length, root


def _piece_layer(layers: Mapping[bytes, Bencoded], length_bytes: int, piece_bytes: int, root: bytes) -> bytes:
    if length_bytes <= piece_bytes:
        if layers:
            raise MetainfoError("torrent has a piece layer for a file of one piece")
        return root
    layer = layers.get(root)
    if len(layers) != 1 or not isinstance(layer, bytes):
        raise MetainfoError("torrent's piece layers are not those of its one file")
    pieces = -(-length_bytes // piece_bytes)
    if len(layer) != pieces * merkle.HASH_BYTES:
        raise MetainfoError(f"piece layer of {len(layer)} bytes does not belong to {pieces} pieces")
    if merkle.root_of_layer(layer, piece_bytes) != root:
        raise MetainfoError("piece layer does not match the pieces root")
    return layer


def _dictionary(value: Bencoded, what: str) -> dict[bytes, Bencoded]:
    if isinstance(value, dict):
        return value
    raise MetainfoError(f"torrent's {what} is not a dictionary")


def _text(value: Bencoded | None, what: str) -> str:
    if not isinstance(value, bytes):
        raise MetainfoError(f"torrent's {what} is not a string")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MetainfoError(f"torrent's {what} is not UTF-8") from error


def _shown(key: bytes) -> str:
    return ascii(key[:40])[1:]
