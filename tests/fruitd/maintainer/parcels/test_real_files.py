"""Real files, small enough for every run: the table's long pairs are `make bench ONLY=parcels`."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

import zstandard

from fruitd.maintainer.parcels.build import build_parcel
from tests.swarm.parcel.makers import opened

PAGE_BYTES = 4096
IMAGE_BYTES = 3 * 1024 * 1024


def files() -> list[bytes]:
    """Modules of Python's own library, about `IMAGE_BYTES` of them."""
    found: list[bytes] = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        if sum(map(len, found)) > IMAGE_BYTES:
            break
        found.append(path.read_bytes())
    return found


def laid_out(parts: list[bytes]) -> bytes:
    """Each file on pages of its own, as a file system would."""
    return b"".join(part + bytes(-len(part) % PAGE_BYTES) for part in parts)


def edited(data: bytes, dice: random.Random) -> bytes:
    """A newer version: some lines are gone, some stand elsewhere, names have changed everywhere."""
    lines = data.replace(b"self", b"this").splitlines(keepends=True)
    for _ in range(len(lines) // 40):
        lines.insert(dice.randrange(len(lines)), lines.pop(dice.randrange(len(lines))))
    return b"".join(lines)


def test_a_parcel_of_real_files_is_as_small_as_a_patch_that_sees_both_images_whole(tmp_path: Path) -> None:
    """Bounded memory would be paid for with bandwidth, which these fleets have least of."""
    dice = random.Random(1)
    old_files = files()
    new_files = [edited(file, dice) if dice.random() < 0.4 else file for file in old_files]
    dice.shuffle(new_files)
    old, new = laid_out(old_files), laid_out(new_files)
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    build_parcel(tmp_path / "new", tmp_path / "old", tmp_path / "parcel", threads=2)
    parcel = (tmp_path / "parcel").read_bytes()
    assert opened(parcel, old) == new
    whole = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, source_size=len(new), dict_size=len(old), window_log=24
    )
    patch = zstandard.ZstdCompressor(dict_data=whole, compression_params=parameters).compress(new)
    assert len(parcel) <= 1.05 * len(patch)
