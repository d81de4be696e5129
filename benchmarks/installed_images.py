"""Images made of this machine's own files: an installed system, and the same after upgrades of some of it, one after the other.

An upgrade touches one file in four, program or text, all over: bytes are replaced, put in and taken out, as after compiling
anew. Other files are new, and some are gone. All images are built from scratch, so that most files move.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.by_hand import require
from benchmarks.images import MIB, STEP_BYTES
from benchmarks.parcel_images import ext4
from benchmarks.rows import NotMeasurableError

_FULL = 0.72
"""As root file systems are."""
_FILES_MIN = 32
"""No file is larger than such a share of the image."""
_ROOTS = tuple(Path("/usr") / name for name in ("bin", "sbin", "lib", "libexec", "share"))
_UPGRADED_EVERY = 4
"""One file in so many was upgraded; one in ten of those is gone, and another is there in its place."""
_GONE_EVERY = 10 * _UPGRADED_EVERY
_EDIT_EVERY_BYTES = 128
_EDIT_BYTES_MAX = 12


def installed_images(folder: Path, size_mib: int, upgrades: int) -> list[Path]:
    """All images in `folder`, the oldest first; takes twice the files of one of room while they are made.

    Raises `NotMeasurableError`.
    """
    require("mke2fs")
    tree = folder / "installed"
    files = list(_files(size_mib * MIB // _FILES_MIN))
    had = [copy.relative_to(tree) for copy in _copied(iter(files), tree, int(_FULL * size_mib * MIB))]
    images, rng = [ext4(tree, size_mib)], random.Random(1)
    for number in range(upgrades):
        tree = tree.rename(folder / f"upgraded-{number + 1}")
        for path in had[number::_UPGRADED_EVERY]:
            (tree / path).write_bytes(edited((tree / path).read_bytes(), rng))
        for path, (source, _) in zip(had[number::_GONE_EVERY], files, strict=False):
            (tree / path).unlink()
            shutil.copyfile(source, tree / path.with_name(f"{path.name}.new"))
        had = [path for path in had if (tree / path).exists()]
        images.append(ext4(tree, size_mib))
    shutil.rmtree(tree)
    return images


def _files(file_bytes_max: int) -> Iterator[tuple[Path, int]]:
    """Installed files and their sizes, always in the same order."""
    for root in _ROOTS:
        for path in sorted(root.rglob("*")) if not root.is_symlink() else ():
            if path.is_file() and not path.is_symlink() and 0 < path.stat().st_size <= file_bytes_max:
                yield path, path.stat().st_size


def _copied(files: Iterator[tuple[Path, int]], tree: Path, full_bytes: int) -> list[Path]:
    """Copy what fills a system; the copies."""
    copies, total_bytes = [], 0
    for source, size_bytes in files:
        copy = tree / source.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copies.append(copy)
        total_bytes += -(-size_bytes // STEP_BYTES) * STEP_BYTES
        if total_bytes > full_bytes:
            return copies
    raise NotMeasurableError(
        f"below /usr are {total_bytes // MIB} MiB of files, {full_bytes // MIB} are needed"
    )


def edited(content: bytes, rng: random.Random) -> bytes:
    """A file after an upgrade of it: mostly the same, at other offsets."""
    ends = sorted(rng.randrange(len(content) + 1) for _ in range(1 + len(content) // _EDIT_EVERY_BYTES))
    parts = []
    for begin, end in itertools.pairwise([0, *ends, len(content)]):
        taken_out = min(rng.randrange(_EDIT_BYTES_MAX), end - begin)
        parts += [rng.randbytes(rng.randrange(_EDIT_BYTES_MAX)), content[begin + taken_out : end]]
    return b"".join(parts)
