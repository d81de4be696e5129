"""Torrents: what is built can be read, and what contradicts itself is refused."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bep35 import merkle, metainfo
from bep35.bencode import decode, encode
from bep35.errors import BencodeError, MetainfoError

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MakeTorrent = Callable[..., bytes]
KIB, GIB = 1024, 1024**3


def test_a_built_torrent_says_what_it_was_built_from(make_torrent: MakeTorrent) -> None:
    """A node would fetch another file than the one released."""
    image = bytes(range(251)) * 1000
    torrent = metainfo.parse(make_torrent(image, "rootfs-2.img", 64 * KIB))
    leaves = merkle.leaf_hashes(image)
    assert (torrent.name, torrent.length_bytes, torrent.piece_bytes) == ("rootfs-2.img", 251_000, 64 * KIB)
    assert torrent.piece_count == 4
    assert torrent.pieces_root == merkle.root_of(leaves)
    assert torrent.piece_layer == merkle.layer_of(leaves, 64 * KIB)
    assert torrent.infohash == hashlib.sha256(torrent.info_raw).digest()
    assert dict(torrent.signatures) == {}


@UNHURRIED
@given(length=st.integers(1, 200 * KIB), levels=st.integers(0, 5))
def test_every_length_gives_a_torrent_that_can_be_read(length: int, levels: int) -> None:
    """Some image length at the edge of a block or piece could not be released."""
    leaves = merkle.leaf_hashes(bytes(length))
    piece_bytes = merkle.BLOCK_BYTES << levels
    torrent = metainfo.parse(metainfo.build("a", length, leaves, piece_bytes))
    assert len(torrent.piece_layer) == 32 * torrent.piece_count
    assert torrent.piece_layer == merkle.layer_of(leaves, piece_bytes)


@pytest.mark.parametrize(
    ("length", "piece_bytes"),
    [
        (1, 64 * KIB),
        (GIB, 64 * KIB),
        (GIB + 1, 128 * KIB),
        (32 * GIB, 2048 * KIB),
        (2**60, metainfo.PIECE_BYTES_MAX),
    ],
)
def test_usual_piece_length(length: int, piece_bytes: int) -> None:
    """A large image would get a torrent too large for the nodes, or a small one pieces too coarse."""
    assert metainfo.piece_bytes_for(length) == piece_bytes


def test_building_refuses_what_does_not_belong_together() -> None:
    """A release would go out that no node can verify."""
    leaves = merkle.leaf_hashes(bytes(40_000))
    assert metainfo.build("a", 40_000, leaves, 16 * KIB)
    for wrong in (
        ("a", 50_000, leaves, 16 * KIB),
        ("a", 0, b"", 16 * KIB),
        ("a", 40_000, leaves[:-1], 16 * KIB),
        ("a", 40_000, leaves, 17 * KIB),
        ("../a", 40_000, leaves, 16 * KIB),
        ("", 40_000, leaves, 16 * KIB),
    ):
        with pytest.raises(MetainfoError):
            metainfo.build(*wrong)


def test_unknown_top_level_keys_are_kept(make_torrent: MakeTorrent) -> None:
    """A torrent with trackers or a comment could not be used, or would lose them."""
    value = decoded(make_torrent(bytes(99)))
    value[b"announce"] = b"http://tracker.example/"
    torrent = metainfo.parse(encode(value))
    assert torrent.raw == encode(value)


def decoded(raw: bytes) -> dict[bytes, Any]:
    value = decode(raw)
    assert isinstance(value, dict)
    return value


def put(*path: bytes, to: object) -> Callable[[dict[bytes, Any]], None]:
    def change(value: dict[bytes, Any]) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return change


def drop(*path: bytes) -> Callable[[dict[bytes, Any]], None]:
    def change(value: dict[bytes, Any]) -> None:
        for key in path[:-1]:
            value = value[key]
        del value[path[-1]]

    return change


def rename(name: bytes) -> Callable[[dict[bytes, Any]], None]:
    """Consistently, in both places."""

    def change(value: dict[bytes, Any]) -> None:
        value[b"info"][b"name"] = name
        value[b"info"][b"file tree"] = {name: value[b"info"][b"file tree"][b"a.img"]}

    return change


FILE = (b"info", b"file tree", b"a.img", b"")
ENTRY = {b"signature": b"s" * 64}
ROOT_32 = {b"": {b"length": 1, b"pieces root": bytes(32)}}
CHANGES = {
    "no info": drop(b"info"),
    "info no dictionary": put(b"info", to=[]),
    "no file tree": drop(b"info", b"file tree"),
    "file tree no dictionary": put(b"info", b"file tree", to=b""),
    "two files": put(b"info", b"file tree", b"b.img", to=ROOT_32),
    "no file": put(b"info", b"file tree", to={}),
    "name of another file": put(b"info", b"name", to=b"b.img"),
    "folder": put(b"info", b"file tree", b"a.img", to={b"b": ROOT_32}),
    "file and folder": put(b"info", b"file tree", b"a.img", b"b", to={}),
    "file no dictionary": put(*FILE, to=b""),
    "symbolic link": put(*FILE, b"attr", to=b"l"),
    "no length": drop(*FILE, b"length"),
    "length zero": put(*FILE, b"length", to=0),
    "length negative": put(*FILE, b"length", to=-1),
    "length text": put(*FILE, b"length", to=b"9"),
    "length one piece less": put(*FILE, b"length", to=32 * KIB),
    "length one piece more": put(*FILE, b"length", to=64 * KIB),
    "length below one piece": put(*FILE, b"length", to=1),
    "length immense": put(*FILE, b"length", to=2**63 - 1),
    "no pieces root": drop(*FILE, b"pieces root"),
    "pieces root short": put(*FILE, b"pieces root", to=bytes(31)),
    "pieces root of another": put(*FILE, b"pieces root", to=bytes(32)),
    "pieces root a list": put(*FILE, b"pieces root", to=[]),
    "v1 pieces": put(b"info", b"pieces", to=bytes(20)),
    "no meta version": drop(b"info", b"meta version"),
    "meta version 3": put(b"info", b"meta version", to=3),
    "meta version text": put(b"info", b"meta version", to=b"2"),
    "second name": put(b"info", b"name.utf-8", to=b"b.img"),
    "no name": drop(b"info", b"name"),
    "name a number": put(b"info", b"name", to=1),
    "no piece length": drop(b"info", b"piece length"),
    "piece length 8 KiB": put(b"info", b"piece length", to=8 * KIB),
    "piece length no power": put(b"info", b"piece length", to=24 * KIB),
    "piece length other": put(b"info", b"piece length", to=32 * KIB),
    "piece length immense": put(b"info", b"piece length", to=2**62),
    "piece length zero": put(b"info", b"piece length", to=0),
    "no piece layers": drop(b"piece layers"),
    "piece layers empty": put(b"piece layers", to={}),
    "piece layers a list": put(b"piece layers", to=[]),
    "one layer too many": put(b"piece layers", bytes(32), to=bytes(32)),
    "signatures a list": put(b"signatures", to=[]),
    "signature a string": put(b"signatures", to={b"a": b""}),
    "signature missing": put(b"signatures", to={b"a": {}}),
    "signature empty": put(b"signatures", to={b"a": {b"signature": b""}}),
    "signature too long": put(b"signatures", to={b"a": {b"signature": bytes(2049)}}),
    "signature with a strange key": put(b"signatures", to={b"a": {**ENTRY, b"x": 1}}),
    "signed info a list": put(b"signatures", to={b"a": {**ENTRY, b"info": []}}),
    "certificate a number": put(b"signatures", to={b"a": {**ENTRY, b"certificate": 1}}),
    "certificate too long": put(b"signatures", to={b"a": {**ENTRY, b"certificate": bytes(16_385)}}),
    "signer id empty": put(b"signatures", to={b"": ENTRY}),
    "signer id not UTF-8": put(b"signatures", to={b"\xff": ENTRY}),
    "signer id for terminals": put(b"signatures", to={b"a\x1b[2J": ENTRY}),
    "signer id too long": put(b"signatures", to={b"a" * 129: ENTRY}),
    "too many signers": put(b"signatures", to={b"%02d" % i: ENTRY for i in range(17)}),
}
NAMES = [b"", b".", b"..", b"a/b", b"/a", b"a\\b", b"a\0", b"a\n", b"\x1b[2J", b"\xff", b"a\xe2\x80\xaeb"]
NAMES.append(b"x" * 256)
CHANGES.update({f"name {name!r:.20}": rename(name) for name in NAMES})


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_torrent_that_is_not_one_v2_file_is_refused(
    change: Callable[[dict[bytes, Any]], None], make_torrent: MakeTorrent
) -> None:
    """A torrent could name a file outside its place, or mean one thing to us and another to libtorrent."""
    value = decoded(make_torrent(bytes(40_000), "a.img", 16 * KIB))
    change(value)
    with pytest.raises(MetainfoError):
        metainfo.parse(encode(value))


@pytest.mark.parametrize("name", ["a.img", "ä b.img", "x" * 255, ".hidden"])
def test_plain_names_are_accepted(name: str, make_torrent: MakeTorrent) -> None:
    """Honest releases would be refused for their name."""
    assert metainfo.parse(make_torrent(bytes(9), name)).name == name


def test_a_piece_layer_for_one_piece_is_refused(make_torrent: MakeTorrent) -> None:
    """Unsigned bytes could be carried where nobody checks them."""
    value = decoded(make_torrent(bytes(9)))
    root = value[b"info"][b"file tree"][b"rootfs.img"][b""][b"pieces root"]
    value[b"piece layers"] = {root: root}
    with pytest.raises(MetainfoError, match="one piece"):
        metainfo.parse(encode(value))
    del value[b"piece layers"]
    assert metainfo.parse(encode(value)).piece_layer == root


def test_old_kinds_of_torrent_are_named(make_torrent: MakeTorrent) -> None:
    """A maintainer who made a v1 torrent would not learn what to do."""
    value = decoded(make_torrent(bytes(9)))
    hybrid = copy.deepcopy(value)
    hybrid[b"info"][b"pieces"] = bytes(20)
    with pytest.raises(MetainfoError, match="a hybrid torrent; only v2-only"):
        metainfo.parse(encode(hybrid))
    v1 = {b"info": {b"length": 9, b"name": b"a", b"piece length": 16384, b"pieces": bytes(20)}}
    with pytest.raises(MetainfoError, match="a BitTorrent v1 torrent; only v2-only"):
        metainfo.parse(encode(v1))


def test_size_is_bounded_before_anything_is_read(make_torrent: MakeTorrent) -> None:
    """A peer could make a small node parse for minutes."""
    raw = make_torrent(bytes(9))
    assert metainfo.parse(raw, size_bytes_max=len(raw)).raw == raw
    with pytest.raises(BencodeError, match="limit"):
        metainfo.parse(raw, size_bytes_max=len(raw) - 1)
    with pytest.raises(BencodeError, match="limit"):
        metainfo.parse(b"x" * (8 * 1024 * 1024 + 1))


def test_foreign_entries_are_read_whole(vectors: Path) -> None:
    """A second signer with a certificate, as BEP-35 allows, would make a release unusable."""
    value = decoded((vectors / "signed.torrent").read_bytes())
    entry = {b"certificate": b"der", b"info": {b"x": [{b"y": 1}]}, b"signature": b"r" * 256}
    value[b"signatures"][b"com.example"] = entry
    found = metainfo.parse(encode(value)).signatures
    assert len(found) == 2
    foreign = found["com.example"]
    assert foreign.certificate == b"der"
    assert foreign.signature == b"r" * 256
    assert foreign.info_raw == encode(entry[b"info"])
    assert dict(foreign.info) == entry[b"info"]
