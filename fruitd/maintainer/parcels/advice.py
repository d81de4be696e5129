"""What makes a parcel big, in words and figures: members of the image that are compressed by themselves.

Two releases of a compressed file have next to nothing in common, however alike they are inside; the same file stored as it is
travels as the few bytes that changed. So whatever is fresh and opens as gzip, xz or zstd is opened, here and in the older image,
and packed once more as if it had been stored so.
"""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import zstandard
from attrs import frozen

from fruitd.amounts import line, size
from fruitd.maintainer.parcels.build import BuiltParcel
from fruitd.maintainer.parcels.mapping import Data, mapped
from fruitd.maintainer.parcels.movement import spans_of
from fruitd.maintainer.parcels.packing import Packer
from fruitd.maintainer.parcels.spans import Span
from swarm.parcel.recipe import Origin

SHARE_MIN = 0.05
"""A member that makes less of a parcel is not worth a word."""
NAMED_MAX = 3
OPENED_BYTES_MAX = 256 * 1024 * 1024
"""What is larger is not opened: two of them lie in memory at once."""
MEMBER_BYTES_MIN = 64 * 1024
_LEVEL = 9
"""Within a few percent of what the real level comes to, in a tenth of its time."""
_STEP_BYTES = 256 * 1024
_MAGIC = re.compile(rb"\x28\xb5\x2f\xfd|\x1f\x8b\x08[\x00\x08]|\xfd7zXZ\x00", re.DOTALL)
_KINDS = {0x28: "zstd", 0x1F: "gzip", 0xFD: "xz"}
_DEBUGFS_TIMEOUT_S = 60.0


class _Opener(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


@frozen
class Member:
    """A compressed run of bytes in an image."""

    kind: str
    at: int
    length_bytes: int
    opened: bytes

    def packed_in(self, data: Data) -> bytes:
        """It as it stands in the image."""
        return data[self.at : self.at + self.length_bytes]


@frozen
class Advice:
    """One member that makes a parcel big."""

    kind: str
    place: str
    """Its path in the image, or the byte where it begins."""
    length_bytes: int
    share: float
    """Of the parcel, about."""
    parcel_bytes: int
    """What the whole parcel would come to, about, if the member were stored uncompressed."""

    def words(self, parcel: BuiltParcel) -> str:
        """For a maintainer."""
        return (
            f"{100 * self.share:.0f} % is {line(self.place)} ({self.kind}, {size(self.length_bytes)}): store it uncompressed "
            f"and this parcel falls from {size(parcel.length_bytes)} to about {size(self.parcel_bytes)}"
        )


def advice_on(parcel: BuiltParcel) -> list[Advice]:
    """What would make it smaller, the most first. Takes some seconds where there is something to say, none otherwise.

    From nothing there is nothing to say: a compressed file costs no more there than anything else.
    """
    if parcel.older is None:
        return []
    found: list[Advice] = []
    with mapped(parcel.image) as new, mapped(parcel.older) as old:
        members = _costly(new, parcel)
        earlier = list(_members(old, [Span(0, len(old), Origin.FRESH)])) if members else []
        for member, fresh_bytes in members[:NAMED_MAX]:
            alike = [m for m in earlier if m.kind == member.kind]
            nearest = min(alike, key=lambda m: abs(len(m.opened) - len(member.opened)), default=None)
            now = min(
                fresh_bytes, _packed_bytes(nearest.packed_in(old) if nearest else b"", member.packed_in(new))
            )
            saved = now - _packed_bytes(nearest.opened if nearest else b"", member.opened)
            if saved > SHARE_MIN * parcel.length_bytes:
                place = _path_at(parcel.image, member.at) or f"what begins at byte {member.at} of the image"
                share = now / parcel.length_bytes
                found.append(
                    Advice(member.kind, place, member.length_bytes, share, parcel.length_bytes - saved)
                )
    return sorted(found, key=lambda one: one.parcel_bytes)


def _costly(new: Data, parcel: BuiltParcel) -> list[tuple[Member, int]]:
    """Members of which so much is fresh that it may matter, and how much."""
    least = max(SHARE_MIN * parcel.length_bytes, MEMBER_BYTES_MIN)
    costs = []
    for member in _members(new, parcel.fresh):
        end = member.at + member.length_bytes
        fresh = sum(max(0, min(span.end, end) - max(span.at, member.at)) for span in parcel.fresh)
        if fresh >= least:
            costs.append((member, min(fresh, parcel.length_bytes)))
    return sorted(costs, key=lambda cost: -cost[1])


def _members(data: Data, spans: Sequence[Span]) -> Iterator[Member]:
    done = 0
    for span in spans:
        for match in _MAGIC.finditer(data, span.at, span.end):
            if match.start() < done:
                continue
            member = _opened(data, match.start())
            if member is not None and member.length_bytes >= MEMBER_BYTES_MIN:
                done = member.at + member.length_bytes
                yield member


def _opened(data: Data, at: int) -> Member | None:
    kind = _KINDS[data[at]]
    opener = _OPENERS[kind]()
    parts: list[bytes] = []
    opened_bytes, read = 0, at
    try:
        while not opener.eof and read < len(data):
            piece = data[read : read + _STEP_BYTES]
            read += len(piece)
            parts.append(opener.decompress(piece))
            opened_bytes += len(parts[-1])
            if opened_bytes > OPENED_BYTES_MAX:
                return None
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError):
        return None
    if not opener.eof:
        return None
    return Member(kind, at, read - at - len(opener.unused_data), b"".join(parts))


def _zstd() -> _Opener:
    return zstandard.ZstdDecompressor().decompressobj()


def _gzip() -> _Opener:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


def _xz() -> _Opener:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=OPENED_BYTES_MAX)


_OPENERS: dict[str, Callable[[], _Opener]] = {"zstd": _zstd, "gzip": _gzip, "xz": _xz}


def _packed_bytes(old: bytes, new: bytes) -> int:
    packer = Packer(old, new, spans_of(old, new), threads=1, level=_LEVEL)
    return sum(packed.made.recipe.frame_bytes for packed in packer.packed())


def _path_at(image: Path, at: int) -> str:
    """Which file of an ext file system holds a byte; empty where debugfs is missing or does not know."""
    tool = shutil.which("debugfs", path="/usr/sbin:/sbin:/usr/bin:/bin")
    block_size = re.search(r"Block size:\s+(\d+)", _asked(tool, image, "stats -h")) if tool else None
    if block_size is None:
        return ""
    inode = re.search(
        r"^\d+\s+(\d+)\s*$", _asked(tool, image, f"icheck {at // int(block_size[1])}"), re.MULTILINE
    )
    path = (
        re.search(r"^\d+\s+(/.+)$", _asked(tool, image, f"ncheck {inode[1]}"), re.MULTILINE)
        if inode
        else None
    )
    return path[1] if path else ""


def _asked(tool: str | None, image: Path, request: str) -> str:
    try:
        done = subprocess.run(
            [tool or "debugfs", "-R", request, str(image.absolute())],
            capture_output=True, text=True, errors="replace", timeout=_DEBUGFS_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
