"""Ed25519 signatures on torrents, and the published vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from bep35 import metainfo, signing
from bep35.bencode import decode, encode, raw_items
from bep35.errors import Bep35Error, MetainfoError, SignatureError

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

Info = dict[str, str | int | list[str]]
KEY = SigningKey(hashlib.sha256(b"alice").digest())
OTHER = SigningKey(hashlib.sha256(b"bob").digest())
PUBLIC = bytes(KEY.verify_key)
ALICE, BOB = signing.signer_id_of(PUBLIC), signing.signer_id_of(bytes(OTHER.verify_key))


@pytest.fixture
def torrent(make_torrent: Callable[..., bytes]) -> bytes:
    return make_torrent(bytes(range(256)) * 900)


def test_vector_is_what_we_write(
    vectors: Path,
    vector_image: bytes,
    vector_key: SigningKey,
    vector_info: Info,
    make_torrent: Callable[..., bytes],
) -> None:
    """A change in the format would go unnoticed until old and new nodes refuse each other's releases."""
    raw = make_torrent(vector_image, "rootfs-2.img", 256 * 1024)
    signer_id = signing.signer_id_of(bytes(vector_key.verify_key))
    assert raw == (vectors / "unsigned.torrent").read_bytes()
    assert signing.signed_bytes(raw, vector_info) == (vectors / "signed-bytes.bin").read_bytes()
    assert signing.sign(raw, signer_id, vector_key, vector_info) == (vectors / "signed.torrent").read_bytes()


def test_vector_verifies_and_spec_names_its_figures(
    vectors: Path, vector_key: SigningKey, vector_info: Info
) -> None:
    """Others who follow SPEC.md would check something else than we do."""
    raw = (vectors / "signed.torrent").read_bytes()
    torrent = metainfo.parse(raw)
    public = bytes(vector_key.verify_key)
    signer_id = signing.signer_id_of(public)
    assert signing.verify(torrent, signer_id, public) == {"alg": "ed25519", **vector_info}
    entry = torrent.signatures[signer_id]
    assert entry.info_raw is not None
    spec = (vectors / "SPEC.md").read_text()
    for figure in (
        hashlib.sha256(raw).hexdigest(),
        torrent.infohash.hex(),
        torrent.pieces_root.hex(),
        public.hex(),
        signer_id,
        entry.signature.hex(),
        f"the {len(torrent.info_raw)} bytes at offset {raw.index(torrent.info_raw)} of",
        f"{len(entry.info_raw)} bytes.",
    ):
        assert figure in spec


def verified(raw: bytes, public: bytes, signer_id: str) -> Info:
    return signing.verify(metainfo.parse(raw), signer_id, public)


def test_any_changed_byte_is_refused(vectors: Path, vector_key: SigningKey) -> None:
    """Somebody between the maintainer and a node could change a release."""
    raw = (vectors / "signed.torrent").read_bytes()
    public = bytes(vector_key.verify_key)
    signer_id = signing.signer_id_of(public)
    for at in range(len(raw)):
        for flip in (0x01, 0x02, 0x04, 0x10, 0x80, 0xFF):
            changed = bytearray(raw)
            changed[at] ^= flip
            with pytest.raises(Bep35Error):
                verified(bytes(changed), public, signer_id)


def test_cut_or_lengthened_torrents_are_refused(vectors: Path, vector_key: SigningKey) -> None:
    """A fetch cut short, or padded by a peer, would pass for a release."""
    raw = (vectors / "signed.torrent").read_bytes()
    public = bytes(vector_key.verify_key)
    signer_id = signing.signer_id_of(public)
    for end in range(len(raw)):
        with pytest.raises(Bep35Error):
            verified(raw[:end], public, signer_id)
    for extra in range(256):
        with pytest.raises(Bep35Error):
            verified(raw + bytes([extra]), public, signer_id)


KEYS = st.text("abcdefghijkl", min_size=1, max_size=8).filter(lambda key: key != "alg")
TEXTS = st.text("aZ9 ,/.:\n\0\x1bäß日\U0001f34e", max_size=20)
INFOS = st.dictionaries(
    KEYS, TEXTS | st.integers(-(2**63) + 1, 2**63 - 1) | st.lists(TEXTS, max_size=4), max_size=5
)


@UNHURRIED
@given(INFOS, st.dictionaries(st.binary(max_size=9), st.integers() | st.binary(max_size=9), max_size=4))
def test_what_is_stated_comes_back_and_the_rest_stays(info: Info, extra: dict[bytes, Any]) -> None:
    """Signing would change a torrent, or a node would read another statement than the signer made."""
    leaf = hashlib.sha256(b"image").digest()
    known = {b"info", b"piece layers", b"signatures"}
    extra = {k: v for k, v in extra.items() if k not in known and (isinstance(v, bytes) or abs(v) < 2**63)}
    base = decode(metainfo.build("a", 5, leaf, 16384))
    assert isinstance(base, dict)
    raw = encode({**extra, **base})
    signed = signing.sign(raw, ALICE, KEY, info)
    assert verified(signed, PUBLIC, ALICE) == {"alg": "ed25519", **info}
    assert {k: v for k, v in raw_items(signed).items() if k != b"signatures"} == raw_items(raw)


def test_signers_do_not_disturb_each_other(torrent: bytes) -> None:
    """A second maintainer's signature would undo the first."""
    one = signing.sign(torrent, ALICE, KEY, {"release": 1})
    two = signing.sign(one, BOB, OTHER, {"release": 1})
    again = signing.sign(two, ALICE, KEY, {"release": 2})
    assert verified(again, PUBLIC, ALICE)["release"] == 2
    assert verified(again, bytes(OTHER.verify_key), BOB)["release"] == 1
    assert len(metainfo.parse(again).signatures) == 2
    assert signing.sign(again, ALICE, KEY, {"release": 1}) == two
    assert metainfo.parse(again).infohash == metainfo.parse(torrent).infohash


def test_only_the_trusted_key_counts(torrent: bytes) -> None:
    """A signer's name would be enough to release something."""
    forged = signing.sign(torrent, ALICE, OTHER, {"release": 1})
    with pytest.raises(SignatureError, match="does not verify"):
        verified(forged, PUBLIC, ALICE)
    with pytest.raises(SignatureError, match="not signed by"):
        verified(torrent, PUBLIC, ALICE)
    signed = signing.sign(torrent, ALICE, KEY, {"release": 1})
    with pytest.raises(SignatureError, match="not signed by"):
        verified(signed, PUBLIC, BOB)
    for wrong in (b"", PUBLIC[:-1], PUBLIC + b"\0", bytes(32)):
        with pytest.raises(SignatureError):
            verified(signed, wrong, ALICE)


def test_a_signature_does_not_move_to_another_torrent(make_torrent: Callable[..., bytes]) -> None:
    """An old release's signature would sign any image."""
    one, two = make_torrent(b"one"), make_torrent(b"two")
    signatures = raw_items(signing.sign(one, ALICE, KEY, {"release": 1}))[b"signatures"]
    moved = two[:-1] + b"10:signatures" + signatures + b"e"
    with pytest.raises(SignatureError, match="does not verify"):
        verified(moved, PUBLIC, ALICE)


def test_a_key_kept_elsewhere_can_sign(torrent: bytes) -> None:
    """A key in a hardware token could sign nothing."""
    info: Info = {"release": 3, "version": "1.2"}
    signature = KEY.sign(signing.signed_bytes(metainfo.parse(torrent), info)).signature
    attached = signing.attach(torrent, ALICE, info, signature)
    assert attached == signing.sign(torrent, ALICE, KEY, info)
    for wrong in (b"", signature[:-1], signature + b"\0"):
        with pytest.raises(SignatureError, match="64 bytes"):
            signing.attach(torrent, ALICE, info, wrong)
    unchecked = signing.attach(torrent, ALICE, info, bytes(64))
    with pytest.raises(SignatureError, match="does not verify"):
        verified(unchecked, PUBLIC, ALICE)


@pytest.mark.parametrize(
    "info",
    [
        {"alg": "rsa"},
        {"release": None},
        {"release": 1.5},
        {"compatible": ["a", 1]},
        {"compatible": [b"a"]},
        {"nested": {"a": "b"}},
        {"raw": b"\xff"},
        {"release": 2**63},
        {"version": "\ud800"},
        {"version": "x" * 5000},
        {"flag": True},
    ],
)
def test_statements_others_could_not_read_are_not_signed(info: Any, torrent: bytes) -> None:
    """A maintainer would sign what every node then refuses."""
    with pytest.raises(SignatureError):
        signing.sign(torrent, ALICE, KEY, info)


@pytest.mark.parametrize("signer_id", ["", "a b", "a\n", "x" * 129, "\ud800"])
def test_signer_ids_are_plain(signer_id: str, torrent: bytes) -> None:
    """A torrent would be written that no checker accepts."""
    with pytest.raises(MetainfoError):
        signing.sign(torrent, signer_id, KEY, {})


@pytest.mark.parametrize(
    "info",
    [None, {}, {"alg": "rsa"}, {"alg": 1}, {"alg": "ed25519", "x": b"\xff"}, {"alg": "ed25519", "x": {}}],
)
def test_a_good_signature_over_an_unreadable_statement_is_refused(info: Any, torrent: bytes) -> None:
    """A node would act on a statement without algorithm, or crash on one that is no text."""
    value = decode(torrent)
    assert isinstance(value, dict)
    raw = b"" if info is None else encode(info)
    signature = KEY.sign(metainfo.parse(torrent).info_raw + raw).signature
    entry = {"signature": signature} if info is None else {"info": info, "signature": signature}
    crafted = metainfo.parse(encode({**value, b"signatures": {ALICE: entry}}))
    with pytest.raises(SignatureError):
        signing.verify(crafted, ALICE, PUBLIC)


def test_what_is_not_a_torrent_is_not_signed() -> None:
    """A maintainer's signature would stand under garbage."""
    for raw in (b"", b"de", b"le", b"d4:infodee"):
        with pytest.raises(Bep35Error):
            signing.sign(raw, ALICE, KEY, {})
