"""Any torrent: v1, v2 and hybrid are read, what contradicts itself is refused, and what is not understood stays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libtorrent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from bep35 import layout, metainfo
from bep35.bencode import Bencoded, decode, encode, join_raw_as_found, raw_items
from bep35.errors import BencodeError, MetainfoError, SignatureError
from bep35.signatures import SIGNERS_MAX
from bep35.signing import sign, signer_id_of, verify
from bep35.torrent import Kind, parse

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEY = SigningKey(hashlib.sha256(b"alice").digest())
PUBLIC = bytes(KEY.verify_key)
ALICE = signer_id_of(PUBLIC)
VECTORS = Path(__file__).parents[1] / "vectors" / "bep35"
KIB = 1024

Change = Callable[[dict[bytes, Any]], None]


def vector(name: str) -> dict[bytes, Any]:
    value = decode((VECTORS / f"{name}-unsigned.torrent").read_bytes())
    assert isinstance(value, dict)
    return value


def made_by_libtorrent(folder: Path, flags: int) -> bytes:
    creator = libtorrent.create_torrent(libtorrent.list_files(str(folder)), 16 * KIB, flags)
    libtorrent.set_piece_hashes(creator, str(folder.parent))
    return bytes(libtorrent.bencode(creator.generate()))


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        (Kind.V1, libtorrent.create_torrent.v1_only),
        (Kind.V2, libtorrent.create_torrent.v2_only),
        (Kind.HYBRID, 0),
    ],
    ids=["v1", "v2", "hybrid"],
)
@pytest.mark.parametrize("names", [["one"], ["a", "b/c", "b/d", "e"]], ids=["one file", "folder"])
def test_we_and_libtorrent_read_the_same(kind: Kind, flags: int, names: list[str], tmp_path: Path) -> None:
    """What is signed would be another torrent than the one that is transferred."""
    for number, name in enumerate(names):
        path = tmp_path / "release" / name if len(names) > 1 else tmp_path / "release"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * (40_000 - 13_000 * number))
    raw = sign(made_by_libtorrent(tmp_path / "release", flags), ALICE, KEY, {"release": 1})
    torrent = parse(raw)
    theirs = libtorrent.load_torrent_buffer(raw).ti
    assert torrent.kind is kind
    assert torrent.name == theirs.name()
    assert torrent.info_raw == theirs.info_section()
    hashes = theirs.info_hashes()
    assert torrent.infohash_v1 == (bytes.fromhex(str(hashes.v1)) if hashes.has_v1() else None)
    assert torrent.infohash_v2 == (bytes.fromhex(str(hashes.v2)) if hashes.has_v2() else None)
    files = theirs.layout() if hasattr(theirs, "layout") else theirs.files()
    listed = [
        (files.file_path(at), files.file_size(at))
        for at in range(files.num_files())
        if not files.file_flags(at) & libtorrent.file_storage.flag_pad_file
    ]
    assert [("/".join(file.path), file.length_bytes) for file in torrent.files] == listed
    assert verify(torrent, ALICE, PUBLIC) == {"alg": "ed25519", "release": 1}


def test_the_node_reads_the_same_in_what_it_installs(vectors: Path) -> None:
    """The strict reader and this one would tell two stories of one torrent."""
    raw = (vectors / "signed.torrent").read_bytes()
    strict, any_torrent = metainfo.parse(raw), parse(raw)
    assert any_torrent.kind is Kind.V2
    assert any_torrent.infohash_v2 == strict.infohash
    assert any_torrent.info_raw == strict.info_raw
    assert any_torrent.signatures == strict.signatures
    (file,) = any_torrent.files
    assert (file.path, file.length_bytes) == ((strict.name,), strict.length_bytes)
    assert file.pieces_root == strict.pieces_root
    assert any_torrent.length_bytes == strict.length_bytes


def put(*path: bytes | int, to: object) -> Change:
    def change(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return change


def drop(*path: bytes | int) -> Change:
    def change(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        del value[path[-1]]

    return change


def shift_padding(value: dict[bytes, Any]) -> None:
    """As many bytes of padding as before, but the second file begins one byte before a piece."""
    _, first, _, second, *_ = value[b"info"][b"files"]
    first[b"length"] -= 1
    second[b"length"] += 1


INFO, TREE = b"info", (b"info", b"file tree")
FIRST = (INFO, b"files", 0)
COMMON: dict[str, Change] = {
    "no info": drop(INFO),
    "info a list": put(INFO, to=[]),
    "no name": drop(INFO, b"name"),
    "name with a slash": put(INFO, b"name", to=b"a/b"),
    "name with a backslash": put(INFO, b"name", to=b"a\\b"),
    "name with a newline": put(INFO, b"name", to=b"a\nb"),
    "name is the folder above": put(INFO, b"name", to=b".."),
    "name not UTF-8": put(INFO, b"name", to=b"\xff"),
    "name empty": put(INFO, b"name", to=b""),
    "name too long": put(INFO, b"name", to=b"x" * 256),
    "no piece length": drop(INFO, b"piece length"),
    "piece length 0": put(INFO, b"piece length", to=0),
    "piece length immense": put(INFO, b"piece length", to=2**40),
    "signatures a list": put(b"signatures", to=[]),
    "signature missing": put(b"signatures", to={b"com.example": {}}),
    "signature immense": put(b"signatures", to={b"com.example": {b"signature": bytes(2049)}}),
    "certificate immense": put(
        b"signatures", to={b"com.example": {b"signature": b"s", b"certificate": bytes(16_385)}}
    ),
    "signed info a list": put(b"signatures", to={b"com.example": {b"signature": b"s", b"info": []}}),
    "signer with a space": put(b"signatures", to={b"com example": {b"signature": b"s"}}),
    "signer not UTF-8": put(b"signatures", to={b"\xff": {b"signature": b"s"}}),
    "too many signers": put(
        b"signatures", to={b"com.example%d" % at: {b"signature": b"s"} for at in range(SIGNERS_MAX + 1)}
    ),
}
OF_V1: dict[str, Change] = {
    "no pieces": drop(INFO, b"pieces"),
    "pieces short": put(INFO, b"pieces", to=bytes(20)),
    "pieces a list": put(INFO, b"pieces", to=[]),
    "length and files": put(INFO, b"length", to=119_000),
    "no files": drop(INFO, b"files"),
    "files a dictionary": put(INFO, b"files", to={}),
    "files of nothing": put(INFO, b"files", to=[]),
    "file a list": put(*FIRST, to=[]),
    "file without length": drop(*FIRST, b"length"),
    "file of negative length": put(*FIRST, b"length", to=-1),
    "file immense": put(*FIRST, b"length", to=2**62),
    "file without path": drop(*FIRST, b"path"),
    "file with an empty path": put(*FIRST, b"path", to=[]),
    "path of text": put(*FIRST, b"path", to=b"a"),
    "path leaves the folder": put(*FIRST, b"path", to=[b"..", b"a"]),
    "path with an empty name": put(*FIRST, b"path", to=[b""]),
    "path too deep": put(*FIRST, b"path", to=[b"a"] * layout.PATH_NAMES_MAX),
    "attributes a number": put(*FIRST, b"attr", to=1),
}
OF_V1_ALONE: dict[str, Change] = {
    "file tree without version": put(*TREE, to={}),
    "the same path twice": put(*FIRST, b"path", to=[b"more", b"c.bin"]),
    "a file that is a folder": put(*FIRST, b"path", to=[b"more"]),
}
OF_V2: dict[str, Change] = {
    "meta version 3": put(INFO, b"meta version", to=3),
    "no meta version": drop(INFO, b"meta version"),
    "piece length no power of two": put(INFO, b"piece length", to=40_000),
    "piece length below a block": put(INFO, b"piece length", to=8192),
    "no file tree": drop(*TREE),
    "file tree empty": put(*TREE, to={}),
    "file tree holds text": put(*TREE, b"a.bin", to=b""),
    "folder empty": put(*TREE, b"more", to={}),
    "a file and a folder": put(*TREE, b"a.bin", b"b", to={b"": {b"length": 0}}),
    "described by text": put(*TREE, b"a.bin", b"", to=b""),
    "name leaves the folder": put(*TREE, b"..", to={b"": {b"length": 0}}),
    "no root": drop(*TREE, b"a.bin", b"", b"pieces root"),
    "short root": put(*TREE, b"a.bin", b"", b"pieces root", to=bytes(31)),
    "root of another": put(*TREE, b"a.bin", b"", b"pieces root", to=bytes(32)),
    "a root of nothing": put(*TREE, b"z.empty", b"", b"pieces root", to=bytes(32)),
    "longer by a piece": put(*TREE, b"a.bin", b"", b"length", to=70_000),
    "no layers": drop(b"piece layers"),
    "layers a list": put(b"piece layers", to=[]),
    "a layer too many": put(b"piece layers", bytes(32), to=bytes(64)),
}
OF_HYBRID: dict[str, Change] = {
    "other path in v1": put(INFO, b"files", 0, b"path", to=[b"b.bin"]),
    "other length in v1": put(INFO, b"files", 0, b"length", to=39_999),
    "other length in v2": put(*TREE, b"more", b"c.bin", b"", b"length", to=8_999),
    "other name in v2": put(*TREE, b"q", to={b"": {b"length": 0}}),
    "no padding": drop(INFO, b"files", 1),
    "padding that is a file": drop(INFO, b"files", 1, b"attr"),
    "padding in the wrong place": shift_padding,
}
REFUSED = [
    *(("v1", what, change) for what, change in (COMMON | OF_V1 | OF_V1_ALONE).items()),
    *(("v2-folder", what, change) for what, change in (COMMON | OF_V2).items() if what != "no meta version"),
    *(("hybrid", what, change) for what, change in (COMMON | OF_V1 | OF_V2 | OF_HYBRID).items()),
]


@pytest.mark.parametrize(("name", "what", "change"), REFUSED, ids=[f"{n}: {w}" for n, w, _ in REFUSED])
def test_what_contradicts_itself_is_refused(name: str, what: str, change: Change) -> None:
    """Two programs would see two contents in one signed torrent, or a path would leave its folder."""
    value = vector(name)
    assert parse(encode(value)).kind.value == name.removesuffix("-folder")
    change(value)
    with pytest.raises(MetainfoError):
        parse(encode(value))


def test_a_v2_torrent_that_loses_its_version_is_refused() -> None:
    """It would be taken for a v1 torrent, of which nothing could be fetched."""
    value = vector("v2-folder")
    del value[b"info"][b"meta version"]
    with pytest.raises(MetainfoError, match="no meta version"):
        parse(encode(value))


def test_what_is_not_understood_does_no_harm() -> None:
    """Torrents with another program's additions could not be signed."""
    value = vector("hybrid")
    value[b"info"][b"files"][0][b"md5sum"] = b"x"
    value[b"info"][b"name.utf-8"] = b"vector"
    value[b"info"][b"file tree"][b"a.bin"][b""][b"attr"] = b"x"
    value[b"signatures"] = {b"com.example": {b"signature": b"s", b"later": [1]}}
    torrent = parse(encode(value))
    assert torrent.kind is Kind.HYBRID
    assert torrent.signatures["com.example"].signature == b"s"


SAMPLES = st.recursive(
    st.integers(-(2**40), 2**40) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.binary(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def shuffled(value: Bencoded, order: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The encoding with every dictionary's keys in another order: what a careless program writes."""
    if isinstance(value, list):
        return b"l" + b"".join(shuffled(item, order) for item in value) + b"e"
    if isinstance(value, dict):
        return join_raw_as_found({key: shuffled(value[key], order) for key in order(sorted(value))})
    return encode(value)


@UNHURRIED
@given(
    st.sampled_from(["v1", "v2-folder", "hybrid"]),
    st.dictionaries(st.binary(max_size=9), SAMPLES, max_size=4),
    st.dictionaries(st.binary(max_size=9), SAMPLES, max_size=4),
    st.dictionaries(st.sampled_from([b"com.other", b"org.zzz", b"a"]), SAMPLES, max_size=3),
    st.randoms(use_true_random=False),
)
def test_signing_adds_and_changes_nothing_else(
    name: str, extra: dict[bytes, Any], inside: dict[bytes, Any], others: dict[bytes, Any], rng: Any
) -> None:
    """Signing would change a torrent's infohash, somebody else's signature, or what a later program put there."""
    value = vector(name)
    known_inside = {b"files", b"length", b"pieces", b"meta version", b"file tree"}
    value[b"info"] = {
        **{key: item for key, item in inside.items() if key not in known_inside},
        **value[b"info"],
    }
    value = {**{k: v for k, v in extra.items() if k not in {b"piece layers", b"signatures"}}, **value}
    if others:
        value[b"signatures"] = {key: {b"signature": b"s", b"later": item} for key, item in others.items()}
    # The file tree gives the files their order, so only a torrent of version 1 alone can have it shuffled.
    raw = shuffled(value, lambda keys: rng.sample(keys, len(keys))) if name == "v1" else encode(value)
    signed = sign(raw, ALICE, KEY, {"release": 7})
    assert without_entry(signed, ALICE, had_others=bool(others)) == raw
    assert sign(signed, ALICE, KEY, {"release": 7}) == signed
    before, after = parse(raw), parse(signed)
    assert (before.infohash_v1, before.infohash_v2) == (after.infohash_v1, after.infohash_v2)
    assert set(after.signatures) == {ALICE, *(key.decode() for key in others)}
    assert verify(after, ALICE, PUBLIC)["release"] == 7


def without_entry(signed: bytes, signer_id: str, *, had_others: bool) -> bytes:
    """An oracle: the bytes of the entry cut out of the torrent where they stand."""
    entries = raw_items(raw_items(signed, any_order=True)[b"signatures"], any_order=True)
    entry = encode(signer_id) + entries[signer_id.encode()]
    assert signed.count(entry) == 1
    return signed.replace(entry if had_others else b"10:signaturesd" + entry + b"e", b"")


def test_keys_in_order_stay_in_order() -> None:
    """A torrent that strict programs can read would not be one any more once it is signed."""
    for name in ("v1", "v2-folder", "hybrid"):
        signed = sign(encode(vector(name)), ALICE, KEY, {})
        again = sign(signed, "a.first", KEY, {})
        assert encode(decode(again)) == again


@pytest.mark.parametrize("name", ["v1", "v2-folder", "hybrid"])
def test_no_byte_of_info_can_change(name: str) -> None:
    """Somebody between the signer and a reader could change what the torrent describes."""
    raw = (VECTORS / f"{name}-signed.torrent").read_bytes()
    torrent = parse(raw)
    start = raw.index(torrent.info_raw)
    for at in range(start, start + len(torrent.info_raw)):
        changed = bytearray(raw)
        changed[at] ^= 0x01
        with pytest.raises((BencodeError, MetainfoError, SignatureError)):
            verify(parse(bytes(changed)), ALICE, bytes.fromhex(PUBLIC_OF_VECTORS))


PUBLIC_OF_VECTORS = "651fdf86a9968394fd0d09bdb01e16ff45cf2a6605cec35f1ec0f133276c93f8"


def test_keys_twice_are_refused_in_any_order() -> None:
    """One program would read the first, another the last of two values."""
    for raw in (b"d1:ai1e1:ai1ee", b"d1:bi1e1:ai1e1:bi2ee", b"d1:ad1:xi1e1:xi1eee"):
        with pytest.raises(BencodeError):
            decode(raw, any_order=True)
        with pytest.raises(BencodeError):
            raw_items(raw, any_order=True)
    assert decode(b"d1:bi1e1:ai2ee", any_order=True) == {b"a": 2, b"b": 1}
    assert list(raw_items(b"d1:bi1e1:ai2ee", any_order=True)) == [b"b", b"a"]
    with pytest.raises(BencodeError):
        decode(b"d1:bi1e1:ai2ee")
