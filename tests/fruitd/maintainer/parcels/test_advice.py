"""If a maintainer were not told what makes a parcel big, a fleet would pay for a setting in one file with every release."""

from __future__ import annotations

import gzip
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from fruitd.maintainer.parcels.advice import advice_on
from fruitd.maintainer.parcels.build import BuiltParcel, build_parcel

K = 1024
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


def member(dice: random.Random) -> bytes:
    """Some 600 KiB like an initrd: compresses to a third."""
    words = [dice.randbytes(dice.randrange(3, 12)) for _ in range(3000)]
    return b"".join(dice.choice(words) for _ in range(80_000))


def changed(data: bytes, dice: random.Random) -> bytes:
    """As if compiled again."""
    new = bytearray(data)
    for at in range(0, len(new), 2000):
        new[at] ^= 1
    return bytes(new)


def paged(data: bytes) -> bytes:
    """As a file system lays out a file."""
    return data + bytes(-len(data) % (4 * K))


def built(folder: Path, old: bytes, new: bytes) -> BuiltParcel:
    """The parcel from one image to the other."""
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    return build_parcel(folder / "new", folder / "old", folder / "parcel", threads=1, level=12)


@pytest.mark.parametrize("kind", PACKERS)
def test_a_compressed_member_is_told_and_what_the_parcel_would_be_without_it_comes_true(
    tmp_path: Path, kind: str
) -> None:
    """The advice would promise what following it does not bring."""
    dice = random.Random(1)
    first, rest, new_rest = member(dice), dice.randbytes(400 * K), dice.randbytes(100 * K)
    second, pack = changed(first, dice), PACKERS[kind]
    parcel = built(tmp_path, rest + paged(pack(first)), rest + new_rest + paged(pack(second)))
    [advice] = advice_on(parcel)
    assert (advice.kind, advice.place) == (kind, f"what begins at byte {500 * K} of the image")
    assert "store it uncompressed and this parcel falls from" in advice.words(parcel)
    followed = built(tmp_path, rest + paged(first), rest + new_rest + paged(second))
    assert followed.length_bytes < 0.6 * parcel.length_bytes
    assert 0.8 * followed.length_bytes < advice.parcel_bytes < 1.25 * followed.length_bytes


def test_nothing_is_told_where_nothing_would_be_gained(tmp_path: Path) -> None:
    """Maintainers would be sent after members that did not change, or that have nothing in common with the old ones."""
    dice = random.Random(2)
    kept = gzip.compress(member(dice), mtime=0)
    first, second = (gzip.compress(dice.randbytes(300 * K), mtime=0) for _ in range(2))
    old, new = paged(kept) + paged(first), paged(second) + paged(kept)
    assert advice_on(built(tmp_path, old, new)) == []
    from_nothing = build_parcel(tmp_path / "new", None, tmp_path / "parcel", threads=1, level=3)
    assert advice_on(from_nothing) == []
