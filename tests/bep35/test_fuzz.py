"""Random input for a bounded time: only our own errors may come out of the readers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bep35 import metainfo, signing
from bep35.bencode import decode, encode, raw_items
from bep35.errors import Bep35Error, KeyFileError
from bep35.key_file import read_secret

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
