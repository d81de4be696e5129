"""Which files a torrent holds, by each of the two versions of BitTorrent, and whether both say the same.

Paths are told as they are on disk, the torrent's name first; a torrent of one file has that file's name. Padding (BEP-47) belongs
to the v1 layout only, so that files begin where pieces do; it is left out.

Source: BEP-3 (`files`, `length`), BEP-47 (`attr`), BEP-52 (`file tree`, and the rules for hybrids).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from attrs import field, frozen

from bep35 import merkle
from bep35.bencode import Bencoded
from bep35.errors import MetainfoError
from bep35.metainfo import NAME_BYTES_MAX

PATH_NAMES_MAX = 32
"""Folders within each other."""
LENGTH_BYTES_MAX = 2**60
"""Of all files together: sums stay within 64 bits everywhere."""
SHA1_BYTES = 20


@frozen
class TorrentFile:
    """One file of a torrent, padding excluded."""

    path: tuple[str, ...]
    length_bytes: int
    pieces_root: bytes | None = field(default=None, eq=False)
    """BitTorrent v2: the root over the file's leaves. None in v1 and for an empty file."""


@frozen
class _Span:
    """A file of the v1 layout, and where it begins in the row of all files."""

    file: TorrentFile
    start_bytes: int


def files_v1(info: Mapping[bytes, Bencoded], name: str, piece_bytes: int) -> tuple[TorrentFile, ...]:
    """The files by `length` or `files`, once `pieces` is found to have a hash for each of their pieces."""
    spans, total_bytes = _spans(info, name)
    pieces = info.get(b"pieces")
    if not isinstance(pieces, bytes) or len(pieces) != -(-total_bytes // piece_bytes) * SHA1_BYTES:
        raise MetainfoError("torrent's pieces are not one hash of 20 bytes for each piece of its files")
    _check_files([span.file for span in spans])
    return tuple(span.file for span in spans)


def files_v2(
    info: Mapping[bytes, Bencoded], name: str, piece_bytes: int, layers: Mapping[bytes, Bencoded]
) -> tuple[TorrentFile, ...]:
    """The files by `file tree`, once the piece layer of each is found to match its pieces root."""
    tree = info.get(b"file tree")
    if not isinstance(tree, dict):
        raise MetainfoError("torrent has no file tree")
    single = list(tree) == [name.encode()] and _is_file(tree[name.encode()])
    files = list(_walk(tree, () if single else (name,)))
    _check_files(files)
    _check_layers(files, piece_bytes, layers)
    return tuple(files)


def check_agreement(
    info: Mapping[bytes, Bencoded], name: str, piece_bytes: int, files: tuple[TorrentFile, ...]
) -> None:
    """Refuse a hybrid torrent whose v1 layout is not that of `files`, which its v2 layout gave.

    Only the files themselves can show whether the hashes agree as well.
    """
    spans, _ = _spans(info, name)
    if [span.file for span in spans] != list(files):
        raise MetainfoError("torrent is a hybrid whose v1 and v2 parts name different files")
    if any(span.start_bytes % piece_bytes for span in spans if span.file.length_bytes):
        raise MetainfoError("torrent is a hybrid with a file that does not begin where a piece does")


def plain_name(value: object, what: str) -> str:
    """A name of one file or folder; `MetainfoError` for anything that is more, or not text."""
    if not isinstance(value, bytes):
        raise MetainfoError(f"torrent's {what} is not a string")
    try:
        name = value.decode()
    except UnicodeDecodeError as error:
        raise MetainfoError(f"torrent's {what} is not UTF-8") from error
    if not 1 <= len(value) <= NAME_BYTES_MAX:
        raise MetainfoError(f"torrent's {what} is empty or longer than {NAME_BYTES_MAX} bytes")
    if name in {".", ".."} or any(sign in "/\\" or ord(sign) < 32 or ord(sign) == 127 for sign in name):
        raise MetainfoError(f"torrent's {what} {name[:80]!a} is not a plain file name")
    return name


def _spans(info: Mapping[bytes, Bencoded], name: str) -> tuple[list[_Span], int]:
    """The files of the v1 layout without padding, and the length of all with padding."""
    if (b"length" in info) == (b"files" in info):
        raise MetainfoError("torrent has neither length nor files, or both")
    if b"length" in info:
        length_bytes = _length(info[b"length"])
        return [_Span(TorrentFile((name,), length_bytes), 0)], length_bytes
    files = info[b"files"]
    if not isinstance(files, list):
        raise MetainfoError("torrent's files are not a list")
    spans: list[_Span] = []
    at_bytes = 0
    for item in files:
        if not isinstance(item, dict):
            raise MetainfoError("torrent's files hold something else than files")
        length_bytes = _length(item.get(b"length"))
        attributes = item.get(b"attr", b"")
        if not isinstance(attributes, bytes):
            raise MetainfoError("torrent's file has attributes that are not a string")
        path = (name, *_path(item.get(b"path")))
        if b"p" not in attributes:
            spans.append(_Span(TorrentFile(path, length_bytes), at_bytes))
        at_bytes += length_bytes
    return spans, at_bytes


def _path(value: Bencoded | None) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) < PATH_NAMES_MAX:
        raise MetainfoError(f"torrent's file has no path of 1 to {PATH_NAMES_MAX - 1} names")
    return tuple(plain_name(part, "path") for part in value)


def _walk(tree: Mapping[bytes, Bencoded], above: tuple[str, ...]) -> Iterator[TorrentFile]:
    for key, value in tree.items():
        path = (*above, plain_name(key, "path"))
        if not isinstance(value, dict) or not value:
            raise MetainfoError("torrent's file tree holds something else than files and folders")
        if not _is_file(value):
            yield from _walk(value, path)
            continue
        if len(value) != 1:
            raise MetainfoError(f"torrent's {path[-1][:80]!a} is a file and a folder")
        yield _tree_file(value[b""], path)


def _is_file(value: Bencoded) -> bool:
    return isinstance(value, dict) and b"" in value


def _tree_file(description: Bencoded, path: tuple[str, ...]) -> TorrentFile:
    if not isinstance(description, dict):
        raise MetainfoError("torrent's file tree describes a file by something else than a dictionary")
    length_bytes, root = _length(description.get(b"length")), description.get(b"pieces root")
    if length_bytes == 0 and root is None:
        return TorrentFile(path, 0)
    if not isinstance(root, bytes) or len(root) != merkle.HASH_BYTES or length_bytes == 0:
        raise MetainfoError("torrent's file has no pieces root of 32 bytes, or has one and is empty")
    return TorrentFile(path, length_bytes, root)


def _length(value: Bencoded | None) -> int:
    if not isinstance(value, int) or not 0 <= value <= LENGTH_BYTES_MAX:
        raise MetainfoError(f"torrent's file has no length from 0 to {LENGTH_BYTES_MAX}")
    return value


def _check_files(files: list[TorrentFile]) -> None:
    """At least one byte to transfer, and every path a place of its own."""
    if not 1 <= sum(file.length_bytes for file in files) <= LENGTH_BYTES_MAX:
        raise MetainfoError(f"torrent's files do not have 1 to {LENGTH_BYTES_MAX} bytes together")
    for before, after in pairwise(sorted(file.path for file in files)):
        if after[: len(before)] == before:
            raise MetainfoError(f"torrent's {before[-1][:80]!a} is in it twice")


def _check_layers(files: list[TorrentFile], piece_bytes: int, layers: Mapping[bytes, Bencoded]) -> None:
    wanted = {
        (file.pieces_root, -(-file.length_bytes // piece_bytes))
        for file in files
        if file.pieces_root is not None and file.length_bytes > piece_bytes
    }
    if layers.keys() != {root for root, _ in wanted}:
        raise MetainfoError("torrent's piece layers are not those of its files that have several pieces")
    for root, piece_count in wanted:
        layer = layers[root]
        if not isinstance(layer, bytes) or len(layer) != piece_count * merkle.HASH_BYTES:
            raise MetainfoError(f"torrent has a piece layer that is not {piece_count} hashes of 32 bytes")
        if merkle.root_of_layer(layer, piece_bytes) != root:
            raise MetainfoError("torrent has a piece layer that does not match its pieces root")
