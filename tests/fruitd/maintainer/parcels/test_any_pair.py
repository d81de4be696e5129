"""Any image must come out of its parcel as it went in, whatever the older one was."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fruitd.errors import RefusedError
from fruitd.maintainer.parcels.build import BuiltParcel, build_parcel
from tests.swarm.parcel.makers import by_program, decoded, opened, root

K = 1024
NAMED = b"\x1f\x8b\x08\x08" + bytes(4) + b"\x00\x03" + b"changelog\0"


def built(folder: Path, old: bytes, new: bytes, threads: int = 2) -> tuple[bytes, BuiltParcel]:
    """The parcel from `old` (empty: nothing) to `new`."""
    (folder / "new").write_bytes(new)
    (folder / "old").write_bytes(old)
    parcel = build_parcel(
        folder / "new", folder / "old" if old else None, folder / "parcel", threads=threads, level=3
    )
    return (folder / "parcel").read_bytes(), parcel


def packed(text: bytes, dice: random.Random) -> bytes:
    """A file in gzip, as it comes in packages, or as it comes of something else."""
    if dice.random() < 0.2:
        return gzip.compress(text, mtime=1)
    header = dice.choice((NAMED, b"\x1f\x8b\x08" + bytes(5) + b"\x02\x03"))
    return header + by_program(text, 6 if header == NAMED else 9)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An older image, and one made of its parts, of zeros, of new bytes, of parts that were changed a little, and of files in
    gzip that hold what the older one's hold, or nearly so."""
    dice = random.Random(draw(st.integers(0, 2**32)))
    texts = [bytes(dice.choices(b"abcdefg \n", k=dice.randrange(1, 30 * K))) for _ in range(3)]
    old = b"".join(
        dice.choice((dice.randbytes, bytes, lambda _: packed(dice.choice(texts), dice)))(
            dice.randrange(1, 60 * K)
        )
        for _ in range(dice.randrange(5))
    )
    parts = []
    for kind in draw(st.lists(st.sampled_from("opznltgg"), min_size=1, max_size=12)):
        at, length = dice.randrange(len(old) + 1), dice.choice((1, 100, 4 * K, dice.randrange(1, 70 * K)))
        if kind == "p":
            at, length = at // (4 * K) * 4 * K, 4 * K * dice.randrange(1, 9)
            parts.append(bytes(-sum(map(len, parts)) % (4 * K)))
        part = old[at : at + length]
        if kind == "z":
            part = bytes(length)
        elif kind == "n":
            part = dice.randbytes(length)
        elif kind == "l" and part:
            changed = bytearray(part)
            for _ in range(len(part) // 500 + 1):
                changed[dice.randrange(len(changed))] = dice.randrange(256)
            part = bytes(changed)
        elif kind == "t" and parts:
            part = dice.choice(parts)
        elif kind == "g":
            text = dice.choice(texts)
            at = dice.randrange(len(text))
            part = packed(text[:at] + dice.choice((b"", b"another word")) + text[at:], dice)
        parts.append(part)
    return old, b"".join(parts) or b"x"


@given(pairs())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_pair_of_images_comes_out_as_it_went_in(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    """Otherwise some update would be healed block by block, at many times its price."""
    old, new = pair
    parcel, told = built(tmp_path, old, new)
    assert opened(parcel, old) == new
    head = decoded(parcel)
    assert (head.image_root, head.from_root) == (root(new), root(old) if old else bytes(32))
    assert told.copied_bytes + told.zero_bytes + told.fresh_bytes + told.member_bytes == len(new)


def test_a_parcel_is_the_same_byte_for_byte_on_any_number_of_cores(tmp_path: Path) -> None:
    """Two maintainers who build one release could not sign the same parcel."""
    dice = random.Random(1)
    old = dice.randbytes(3000 * K)
    new = old[1000 * K : 2000 * K] + dice.randbytes(100 * K) + old[5 * K + 7 : 900 * K]
    assert built(tmp_path, old, new, 1)[0] == built(tmp_path, old, new, 3)[0]


@pytest.mark.parametrize("shift", [0, 4 * K, 333])
def test_what_moved_costs_nothing_wherever_it_went(tmp_path: Path, shift: int) -> None:
    """An image that was built from scratch would travel as if all of it were new."""
    dice = random.Random(2)
    files = [dice.randbytes(dice.randrange(30 * K, 90 * K) // (4 * K) * 4 * K) for _ in range(40)]
    old = b"".join(files)
    dice.shuffle(files)
    new = dice.randbytes(shift) + b"".join(files)
    parcel, told = built(tmp_path, old, new)
    assert opened(parcel, old) == new
    assert len(parcel) < shift + len(new) // 300
    assert told.fresh_bytes < len(new) // 20 + shift


def test_a_file_that_changed_a_little_everywhere_costs_little_wherever_it_went(tmp_path: Path) -> None:
    """Files that were compiled again, most of what changes in an update, would travel whole."""
    dice = random.Random(3)
    files = [dice.randbytes(200 * K) for _ in range(30)]
    changed = []
    for file in files:
        data = bytearray(file)
        for at in range(0, len(data), 100 + dice.randrange(300)):
            data[at] ^= 1
        changed.append(bytes(data))
    dice.shuffle(changed)
    parcel, told = built(tmp_path, b"".join(files), b"".join(changed))
    assert told.fresh_bytes > 5000 * K
    assert len(parcel) < 600 * K


def test_what_is_twice_in_an_image_is_packed_once(tmp_path: Path) -> None:
    """A first install would carry every second copy."""
    dice = random.Random(4)
    part = dice.randbytes(6 * K * K)
    parcel, _ = built(tmp_path, b"", part + dice.randbytes(4 * K * K) + part)
    assert len(parcel) < 10.2 * K * K


def test_an_empty_image_is_refused_in_words_and_nothing_is_left_behind(tmp_path: Path) -> None:
    """A build that failed would leave a parcel that somebody publishes."""
    (tmp_path / "new").write_bytes(b"")
    with pytest.raises(RefusedError, match="is empty"):
        build_parcel(tmp_path / "new", None, tmp_path / "parcel")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
