"""What a node that holds the older image fetches for the newer one with other tools, their indexes and headers included."""

from __future__ import annotations

import hashlib
import re
import subprocess
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from benchmarks.by_hand import nginx, require
from benchmarks.images import BLOCK_BYTES
from benchmarks.parcel_images import Pair
from benchmarks.rows import NotMeasurableError, Row, at_most, not_measured

_LEAF_BYTES = 32
"""Of each block: what a node needs of an image beside the parcel, as others need their index."""
_PAGE_BYTES = 4096
"""RAUC looks for blocks of this size, where the older image has one: at its multiples."""
_PACKED_BYTES = 128 * 1024
"""mksquashfs packs so much at once, and no less can be had of a bundle."""
_FETCHED = re.compile(rb"fetched (\d+)")
_WOULD_DOWNLOAD = re.compile(rb"Would download (\d+) of")


@frozen
class Rival:
    """Another tool for the same job."""

    name: str
    programs: tuple[str, ...]
    packages: str
    fetched_bytes: Callable[[Pair, Path], int]
    """For this pair, with an empty folder to work in. Raises `NotMeasurableError`."""
    how: str


def beside_rivals(pair: Pair, parcel_bytes: int, folder: Path) -> Iterable[Row]:
    """A row for each of them, measured or not: the parcel and the image's leaves against all that the other tool fetches."""
    ours = parcel_bytes + -(-pair.new.stat().st_size // BLOCK_BYTES) * _LEAF_BYTES
    for rival in RIVALS:
        name = f"parcel to {rival.name}"
        try:
            require(*rival.programs, packages=rival.packages)
            with TemporaryDirectory(dir=folder) as room:
                theirs = rival.fetched_bytes(pair, Path(room).absolute())
        except NotMeasurableError as why:
            yield not_measured(name, "x", 1.0, f"{pair.name}: {why}")
        else:
            against = f"{ours / 1e6:.2f} MB with leaves, {pair.name}; {theirs / 1e6:.2f}, {rival.how}"
            yield at_most(name, ours / theirs, "x", 1.0, against)


def casync_bytes(pair: Pair, folder: Path) -> int:
    """Both images go into one store: what the newer one adds to it is what a node lacks."""
    store, indexes = folder / "store", [folder / "old.caibx", folder / "new.caibx"]
    held_bytes = []
    for image, index in zip((pair.old, pair.new), indexes, strict=True):
        _run(folder, "casync", "make", f"--store={store}", str(index), str(image.absolute()))
        held_bytes.append(sum(chunk.stat().st_size for chunk in store.rglob("*.cacnk")))
    return held_bytes[1] - held_bytes[0] + indexes[1].stat().st_size


def zsync_bytes(pair: Pair, folder: Path) -> int:
    """Fetched from nginx into a file, as a node would: the image in gzip (`zsyncmake -z`) or as it is, whichever costs less."""
    image = folder / "image"
    image.symlink_to(pair.new.absolute())
    with nginx(folder) as url:
        return min(
            _zsync_bytes(pair.old, folder, f"{url}/image", "plain"),
            _zsync_bytes(pair.old, folder, f"{url}/image.gz", "packed", "-z"),
        )


def _zsync_bytes(old: Path, folder: Path, url: str, output: str, *packing: str) -> int:
    index = folder / f"{output}.zsync"
    _run(folder, "zsyncmake", *packing, "-u", url, "-o", str(index), "image")
    said = _run(folder, "zsync", "-i", str(old.absolute()), "-o", output, str(index))
    return told_by_zsync(said) + index.stat().st_size


def told_by_zsync(said: bytes) -> int:
    """Bytes it fetched beside its index. Raises `NotMeasurableError` where it does not say."""
    match = _FETCHED.search(said)
    if match is None:
        raise NotMeasurableError(f"zsync does not say what it fetched: {said[-200:]!r}")
    return int(match[1])


def zchunk_bytes(pair: Pair, folder: Path) -> int:
    """Chunks of the newer file that the older one lacks, and the newer one's header, as its own tool counts them."""
    made = [folder / "old.zck", folder / "new.zck"]
    for image, output in zip((pair.old, pair.new), made, strict=True):
        _run(folder, "zck", "-o", str(output), str(image.absolute()))
    return told_by_zchunk(_run(folder, "zck_delta_size", *map(str, made)))


def told_by_zchunk(said: bytes) -> int:
    """Bytes to download. Raises `NotMeasurableError` where it does not say."""
    match = _WOULD_DOWNLOAD.search(said)
    if match is None:
        raise NotMeasurableError(f"zck_delta_size does not say what it would download: {said[-200:]!r}")
    return int(match[1])


def rauc_bytes(pair: Pair, _folder: Path) -> int:
    """Counted: streaming needs a network block device."""
    return adaptive_bytes(pair.old, pair.new)


def adaptive_bytes(old: Path, new: Path) -> int:
    """What RAUC's block-hash-index reads of a bundle: packed blocks of the image that hold a page it lacks, and the packed index.

    A page is not lacking where it is zero, where it is some page of the older image, and where it was made before. Headers of the
    bundle, verity's hashes and read-ahead would come on top.
    """
    known = {hashlib.sha256(bytes(_PAGE_BYTES)).digest()}
    with old.open("rb") as file:
        while page := file.read(_PAGE_BYTES):
            known.add(hashlib.sha256(page).digest())
    fetched_bytes, index = 0, bytearray()
    with new.open("rb") as file:
        while packed := file.read(_PACKED_BYTES):
            hashes = [
                hashlib.sha256(packed[at : at + _PAGE_BYTES]).digest()
                for at in range(0, len(packed), _PAGE_BYTES)
            ]
            if not known.issuperset(hashes):
                fetched_bytes += _packed_bytes(packed)
            known.update(hashes)
            index += b"".join(hashes)
    return fetched_bytes + sum(
        _packed_bytes(index[at : at + _PACKED_BYTES]) for at in range(0, len(index), _PACKED_BYTES)
    )


def _packed_bytes(content: bytes | bytearray) -> int:
    """As mksquashfs packs it by default: with zlib at level 9, or not where that is no shorter."""
    return min(len(content), len(zlib.compress(content, 9)))


RIVALS = (
    Rival(
        "casync",
        ("casync",),
        "casync",
        casync_bytes,
        "chunks (zstd) that a store with the older lacks, and the index",
    ),
    Rival(
        "zsync",
        ("zsyncmake", "zsync", "nginx", "curl"),
        "zsync nginx curl",
        zsync_bytes,
        "fetched from nginx, packed (gzip) or plain, and the index",
    ),
    Rival(
        "zchunk",
        ("zck", "zck_delta_size"),
        "zchunk",
        zchunk_bytes,
        "chunks (zstd) and header, by zck_delta_size",
    ),
    Rival(
        "RAUC adaptive",
        (),
        "",
        rauc_bytes,
        "counted, not run: packed blocks with a 4 KiB page it lacks, and the index",
    ),
)


def _run(folder: Path, *command: str) -> bytes:
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode:
        raise NotMeasurableError(f"{command[0]}: {said[-300:].decode(errors='replace').strip()}")
    return said
