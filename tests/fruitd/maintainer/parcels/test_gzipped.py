"""What is in gzip changes whole where a line of it changes; parcels that do not look inside carry all of it."""

from __future__ import annotations

import gzip
import random
import string
from pathlib import Path

import pytest

from fruitd.maintainer.parcels import gzipped
from fruitd.maintainer.parcels.build import BuiltParcel, build_parcel
from swarm.parcel.recipe import Origin
from tests.swarm.parcel.makers import by_program, decoded, opened

K = 1024
PAGE_BYTES = 4 * K
HEADER = b"\x1f\x8b\x08" + bytes(5) + b"\x02\x03"
DICE = random.Random(8)
WORDS = [bytes(DICE.choices(string.printable.encode(), k=DICE.randrange(2, 9))) for _ in range(3000)]


def manual(length: int) -> bytes:
    """A text like no other."""
    return b" ".join(DICE.choices(WORDS, k=length // 5))[:length]


def later(text: bytes, number: int) -> bytes:
    """The same of a newer version."""
    return b"version %d, " % number * number + text.replace(b"e", b"E", number)


def laid_out(files: list[bytes]) -> bytes:
    """Each file on pages of its own."""
    return b"".join(file + bytes(-len(file) % PAGE_BYTES) for file in files)


def built(folder: Path, old: bytes, new: bytes, threads: int = 2) -> tuple[bytes, BuiltParcel]:
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    done: list[float] = []
    told = build_parcel(
        folder / "new",
        folder / "old",
        folder / "parcel",
        threads=threads,
        level=9,
        progress=lambda part, total: done.append(part / total),
    )
    assert done == sorted(done)
    assert done[-1] == 1
    parcel = (folder / "parcel").read_bytes()
    assert opened(parcel, old) == new
    assert sorted(path.name for path in folder.iterdir()) == ["new", "old", "parcel"]
    return parcel, told


def test_manuals_of_another_version_cost_what_changed_in_them(tmp_path: Path) -> None:
    """openssl stamps its version into two hundred of them: a quarter of a small fix."""
    texts = [manual(DICE.randrange(300, 40 * K)) for _ in range(60)]
    old = laid_out([HEADER + by_program(later(text, 1)) for text in texts])
    DICE.shuffle(texts)
    new = laid_out([HEADER + by_program(later(text, 2)) for text in texts])
    parcel, told = built(tmp_path, old, new)
    assert told.members > 0.9 * len(texts)
    assert len(parcel) < len(new) // 20
    assert built(tmp_path, old, new, threads=1)[0] == parcel


def test_a_large_one_is_opened_frame_by_frame(tmp_path: Path) -> None:
    """A kernel in gzip would come whole with each release: it does not fit into one frame."""
    text = b"".join(manual(100 * K) for _ in range(190))
    changed = bytearray(text)
    for at in range(0, len(changed), 3000):
        changed[at] ^= 1
    noise = DICE.randbytes(50 * K)
    parcel, told = built(
        tmp_path, noise + HEADER + by_program(text), HEADER + by_program(bytes(changed), 9) + noise
    )
    head = decoded(parcel)
    assert told.members == 1
    assert [len(head.recipe(segment).frames) for segment in head.segments if segment.frame_bytes] == [3]
    assert len(parcel) < 100 * K


def test_what_counts_is_how_long_it_is_and_not_what_comes_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An initrd in the middle of an image would come whole."""
    monkeypatch.setattr(gzipped, "OUTPUT_BYTES_MAX", K * K)
    text, noise = manual(100 * K) * 15, DICE.randbytes(4000 * K)
    old, new = (laid_out([HEADER + by_program(later(text, number)), noise]) for number in (1, 2))
    _, told = built(tmp_path, old, new)
    assert told.members == 1


@pytest.mark.parametrize("level", [1, 6, 9])
def test_levels_and_names_are_as_they_were(tmp_path: Path, level: int) -> None:
    """The kernel's own and a distribution's are not packed alike."""
    named = b"\x1f\x8b\x08\x0c" + bytes(4) + bytes([{1: 4, 9: 2}.get(level, 0), 3, 2, 0]) + b"xyname\0"
    text = manual(90 * K)
    _, told = built(
        tmp_path,
        laid_out([named + by_program(later(text, 1), level)]),
        laid_out([named + by_program(later(text, 2), level)]),
    )
    assert told.members == 1


def test_what_another_program_has_packed_is_left_as_it_is(tmp_path: Path) -> None:
    """The parcel would make another image."""
    text = manual(400 * K)
    old, new = (laid_out([gzip.compress(later(text, number), mtime=0)]) for number in (1, 2))
    parcel, told = built(tmp_path, old, new)
    assert told.members == 0
    assert len(parcel) > len(new) // 2


def test_an_unchanged_one_is_copied_and_one_like_no_other_is_still_made(tmp_path: Path) -> None:
    """A node would pack what it has only to move."""
    kept, changed, added = (HEADER + by_program(manual(50 * K)) for _ in range(3))
    parcel, told = built(tmp_path, laid_out([kept, changed]), laid_out([added, kept]))
    assert told.members == 1
    assert told.copied_bytes >= len(kept) // PAGE_BYTES * PAGE_BYTES
    assert len(parcel) < len(added) + K


def test_a_chain_of_them_is_broken_before_it_is_too_long_for_a_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share blocks, so that one segment has to make them all; it would ask for more than a node has."""
    monkeypatch.setattr(gzipped, "TOGETHER_BYTES_MAX", 50 * K)
    texts = [manual(30 * K) for _ in range(40)]
    old, new = (laid_out([HEADER + by_program(later(text, n)) for text in texts]) for n in (1, 2))
    parcel, told = built(tmp_path, old, new)
    assert 15 < told.members < 30  # two of them share a block, and then two others
    assert [
        step.text_bytes
        for segment in decoded(parcel).segments
        for step in decoded(parcel).recipe(segment).steps
        if step.origin is Origin.PACKED
    ] == [len(later(texts[0], 2))] * told.members


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(b"\x1f\x8b\x08", id="magic-only"),
        pytest.param(HEADER, id="header-only"),
        pytest.param(b"\x1f\x8b\x08\x08" + bytes(6) + b"a name without end", id="name-without-end"),
        pytest.param(b"\x1f\x8b\x08\x04" + bytes(6) + b"\xff\xff", id="extra-past-the-end"),
        pytest.param((HEADER + by_program(manual(9 * K)))[:-1], id="cut-in-the-trailer"),
        pytest.param((HEADER + by_program(manual(9 * K)))[:-700], id="cut-in-the-stream"),
        pytest.param(HEADER + by_program(b""), id="holds-nothing"),
        pytest.param(HEADER + by_program(manual(9 * K))[:-8] + bytes(8), id="other-checksum"),
    ],
)
def test_what_only_begins_like_gzip_is_bytes_like_others(tmp_path: Path, end: bytes) -> None:
    """An image with a torn file in it could not be built."""
    noise = DICE.randbytes(9 * K)
    _, told = built(tmp_path, noise, noise + end)
    assert told.members == 0


def test_a_bomb_is_not_opened_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of zeros, a terabyte long unpacked, would fill the maintainer's disk."""
    monkeypatch.setattr(gzipped, "TOGETHER_BYTES_MAX", K * K)
    _, told = built(tmp_path, b"x", HEADER + by_program(bytes(5 * K * K)))
    assert told.members == 0
