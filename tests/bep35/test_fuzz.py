"""Random input for a bounded time: only our own errors may come out of the readers."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bep35 import metainfo, signing
from bep35.bencode import decode, encode, raw_items
from bep35.errors import Bep35Error, KeyFileError
from bep35.key_file import read_secret
from bep35.shown import described
from bep35.signatures import with_entry
from bep35.torrent import parse
from bep35.verdicts import Trust, Verdict, judge

PUBLIC = "651fdf86a9968394fd0d09bdb01e16ff45cf2a6605cec35f1ec0f133276c93f8"
ALICE = signing.signer_id_of(bytes.fromhex(PUBLIC))
NOW_S = 1_800_000_000
TIME_S = 1.5
"""Each target's share of real time; the inputs themselves come from the seed alone."""
TOKENS = [
    b"d",
    b"l",
    b"e",
    b"i0e",
    b"i-1e",
    b"0:",
    b"1:a",
    b"4:info",
    b"de",
    b"le",
    b"9" * 30,
    b"6:length",
    b"\xff",
]
TOKENS += [
    b"10:signatures",
    b"12:piece layers",
    b"i9223372036854775807e",
    b"ld",
    b"0:" * 9,
    b"\x00",
    b":",
    b"-",
]


def mutations(seed: int, samples: list[bytes]) -> Iterator[bytes]:
    """Samples with a few random wounds, for `TIME_S` seconds and at least 200 of them."""
    rng = random.Random(seed)
    end_s, count = time.monotonic() + TIME_S, 0
    while count < 200 or time.monotonic() < end_s:
        count += 1
        data = bytearray(rng.choice(samples))
        for _ in range(rng.randint(1, 4)):
            at, to = sorted(rng.randint(0, len(data)) for _ in range(2))
            wound = rng.randrange(5)
            if wound == 0 and data:
                data[min(at, len(data) - 1)] = rng.randrange(256)
            elif wound == 1:
                del data[at : min(to, at + 40)]
            elif wound == 2:
                data[at:at] = rng.choice(TOKENS)
            elif wound == 3:
                data[at:at] = data[at : min(to, at + 60)]
            else:
                data[at : at + 1] = rng.randbytes(rng.randint(0, 8))
        yield bytes(data)


def torrents(vectors: Path) -> list[bytes]:
    return [(vectors / name).read_bytes() for name in ("signed.torrent", "unsigned.torrent")]


@pytest.mark.fuzz
def test_decode_of_anything(vectors: Path) -> None:
    """A peer's bytes could stop a node, or be read in another way than they are written."""
    accepted = 0
    for data in mutations(1, [*torrents(vectors), b"d1:ali1e0:e1:bi-7ee", b"le"]):
        try:
            value = decode(data)
        except Bep35Error:
            continue
        accepted += 1
        assert encode(value) == data
        if isinstance(value, dict):
            assert {key: decode(part) for key, part in raw_items(data).items()} == value
    assert accepted > 0


@pytest.mark.fuzz
def test_parse_and_verify_of_anything(vectors: Path) -> None:
    """A torrent from a peer could stop a node, or pass as signed when it is not the one that was."""
    original = metainfo.parse((vectors / "signed.torrent").read_bytes())
    public = bytes.fromhex("651fdf86a9968394fd0d09bdb01e16ff45cf2a6605cec35f1ec0f133276c93f8")
    signer_id = signing.signer_id_of(public)
    for data in mutations(2, torrents(vectors)):
        try:
            torrent = metainfo.parse(data)
            signing.verify(torrent, signer_id, public)
        except Bep35Error:
            continue
        assert torrent.info_raw == original.info_raw
        assert torrent.piece_layer == original.piece_layer


@pytest.mark.fuzz
def test_structured_torrents(vectors: Path) -> None:
    """A torrent that is good bencoding with wrong contents could stop a node."""
    rng = random.Random(3)
    values: list[Callable[[], object]] = [
        lambda: rng.randint(-(2**40), 2**40),
        lambda: rng.randbytes(rng.choice([0, 1, 32, 64])),
        list,
        dict,
        lambda: {rng.randbytes(2): rng.randbytes(32)},
    ]
    end_s = time.monotonic() + TIME_S
    count = 0
    while count < 200 or time.monotonic() < end_s:
        count += 1
        top = decode((vectors / "signed.torrent").read_bytes())
        place = top
        while isinstance(place, dict) and place:
            key = rng.choice(list(place))
            if rng.random() < 0.3 or not isinstance(place[key], dict):
                place[key] = rng.choice(values)()  # type: ignore[assignment]
                break
            place = place[key]
        raw = encode(top)
        try:
            torrent = metainfo.parse(raw)
        except Bep35Error:
            continue
        assert torrent.raw == raw
        assert torrent.length_bytes >= 1
        assert len(torrent.piece_layer) == 32 * torrent.piece_count


@pytest.mark.fuzz
def test_key_files_of_anything(vectors: Path, tmp_path: Path) -> None:
    """A damaged key file could give a stack trace, or a key that is not the one on file."""
    good = (vectors / "secret.json").read_bytes()
    path = tmp_path / "key.json"
    path.touch(mode=0o600)
    for data in mutations(4, [good]):
        path.write_bytes(data)
        try:
            key = read_secret(path)
        except KeyFileError:
            continue
        assert bytes(key).hex().encode() in data
        assert bytes(key.verify_key).hex().encode() in data


def vector_torrents(vectors: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(vectors.glob("*.torrent"))]


@pytest.mark.fuzz
def test_any_torrent_of_anything(vectors: Path) -> None:
    """A stranger's torrent could stop whoever looks into it, or pass as signed when it is not the one that was."""
    originals = {parse(raw).info_raw for raw in vector_torrents(vectors) if readable(raw)}
    keys = {ALICE: bytes.fromhex(PUBLIC)}
    read = valid = 0
    for data in mutations(5, vector_torrents(vectors)):
        try:
            torrent = parse(data)
        except Bep35Error:
            continue
        read += 1
        assert torrent.raw == data
        described(torrent, judge(torrent, Trust(at_s=NOW_S)))
        signed = with_entry(data, "com.example.fuzz", b"de", b"s", None)
        again = parse(signed)
        assert again.info_raw == torrent.info_raw
        assert set(again.signatures) == {*torrent.signatures, "com.example.fuzz"}
        for found in judge(torrent, Trust(at_s=NOW_S, keys=keys)):
            if found.verdict is Verdict.VALID:
                valid += 1
                assert torrent.info_raw in originals
    assert read > 0
    assert valid > 0


@pytest.mark.fuzz
def test_certificates_of_anything(vectors: Path) -> None:
    """A certificate in a stranger's torrent could stop whoever looks into it, or count as another one."""
    certificate = pytest.importorskip("bep35.x509.certificate", reason="needs the extra x509")
    given = [
        certificate.read_certificates(path.read_bytes())[0] for path in sorted(vectors.glob("*.crt.pem"))
    ]
    root = next(one for one in given if one.signer_id == "com.example")
    leaf = next(one for one in given if one.signer_id == "com.example.alice")
    read = 0
    for data in mutations(6, [one.der for one in given]):
        try:
            found = certificate.read_certificate(data)
        except Bep35Error:
            continue
        read += 1
        try:
            certificate.check_trusted(found, given=(), roots=given, at_s=NOW_S, allow_sha1=True)
        except Bep35Error:
            continue
        assert found.parsed.tbs_certificate_bytes in {
            one.parsed.tbs_certificate_bytes for one in (leaf, root, *given)
        }
    assert read > 0


@pytest.mark.fuzz
def test_files_of_certificates_and_keys_of_anything(vectors: Path) -> None:
    """A damaged file of one's own could give a stack trace."""
    certificate = pytest.importorskip("bep35.x509.certificate", reason="needs the extra x509")
    rsa = pytest.importorskip("bep35.x509.rsa")
    samples = [path.read_bytes() for path in sorted(vectors.glob("*.pem"))]
    for data in mutations(7, samples):
        for reader in (certificate.read_certificates, rsa.read_rsa_key):
            with contextlib.suppress(Bep35Error):
                reader(data)


@pytest.mark.fuzz
def test_rsa_signatures_of_anything(vectors: Path) -> None:
    """A torrent from a peer could pass as signed with a certificate when it is not the one that was."""
    certificate = pytest.importorskip("bep35.x509.certificate", reason="needs the extra x509")
    roots = tuple(one.der for one in certificate.read_certificates((vectors / "root.crt.pem").read_bytes()))
    original = parse((vectors / "x509-leaf.torrent").read_bytes())
    valid = 0
    for data in mutations(8, [original.raw, (vectors / "sha1.torrent").read_bytes()]):
        try:
            torrent = parse(data)
        except Bep35Error:
            continue
        for found in judge(torrent, Trust(at_s=NOW_S, roots=roots, allow_sha1=True)):
            if found.verdict is Verdict.VALID:
                valid += 1
                assert torrent.info_raw == original.info_raw
                assert found.signer_id == "com.example.alice"
    assert valid > 0


def readable(raw: bytes) -> bool:
    try:
        parse(raw)
    except Bep35Error:
        return False
    return True
