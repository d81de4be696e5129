"""Parcels for the fuzzer: whole ones, opened headers that are packed again, and frames for a segment whose recipe is known.

A flipped bit in a packed header mostly damages the zstd frame around it and says nothing about who reads what is inside; so
headers are changed opened, and frames by themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import attrs
import zstandard

from swarm.parcel.frames import held
from swarm.parcel.header import MAGIC, PREFIX_BYTES, Parcel, decode_head, head_bytes_of
from swarm.parcel.unpack import Images, Unpacker
from tests.swarm.parcel.makers import ROOM, decoded

VECTORS = Path(__file__).parents[1] / "vectors" / "parcel"
OLDER = VECTORS / "older.bin"
UNPACKER = Unpacker()
BLOCKS_MAX = 64
"""Blocks of a segment that are taken: what is beyond is the same loop again."""


def good() -> list[bytes]:
    """The published ones."""
    return [path.read_bytes() for path in sorted(VECTORS.glob("*.parcel"))]


def headers() -> list[bytes]:
    """Their headers, opened; behind each, in four bytes, how long all its frames are together."""
    found = []
    for raw in good():
        head_bytes = head_bytes_of(raw)
        opened = zstandard.ZstdDecompressor().decompress(raw[PREFIX_BYTES:head_bytes])
        found.append(opened + (len(raw) - head_bytes).to_bytes(4, "little"))
    return found


def frames() -> list[bytes]:
    """The frame of the first one's first segment, and others that open to other lengths."""
    raw = good()[0]
    frame = _frame(raw, decoded(raw), 0)
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(200 * 1024 * 1024))
    return [frame, bomb, zstandard.compress(b"short")]


def whole(data: bytes) -> None:
    """Read a parcel as it comes, and open what its header lets through."""
    head = data[: head_bytes_of(data[:PREFIX_BYTES])]
    _open(decode_head(head, len(data)), data)


def header(data: bytes) -> None:
    """Read a header that was changed opened."""
    opened, frames_bytes = data[:-4], int.from_bytes(data[-4:], "little")
    frame = zstandard.ZstdCompressor(level=1).compress(opened)
    head = MAGIC + len(frame).to_bytes(4, "little") + len(opened).to_bytes(4, "little") + frame
    decode_head(head, len(head) + frames_bytes)


def segment() -> Callable[[bytes], None]:
    """Open changed frames by a good header."""
    raw = good()[0]
    parcel = decoded(raw)

    def read(data: bytes) -> None:
        changed = attrs.evolve(parcel.segments[0], frame_bytes=len(data))
        for _ in UNPACKER.parts(parcel, changed, held(data), Images(_nothing, _nothing), ROOM):
            pass

    return read


def older() -> Callable[[bytes], None]:
    """Make a segment, by its good frames, of an older image that is another one."""
    raw = good()[1]
    parcel = decoded(raw)
    segment = parcel.segments[-1]
    frames = held(_frame(raw, parcel, segment.number))

    def read(data: bytes) -> None:
        def read_old(offset: int, into: memoryview) -> None:
            into[:] = data[offset : offset + len(into)].ljust(len(into), b"\0")

        for _ in UNPACKER.parts(parcel, segment, frames, Images(read_old, _nothing), ROOM):
            pass

    return read


def _open(parcel: Parcel, data: bytes) -> None:
    for part in parcel.segments:
        frame = held(_frame(data, parcel, part.number))
        blocks = UNPACKER.parts(parcel, part, frame, Images(_nothing, _nothing), ROOM)
        for _ in itertools.islice(blocks, BLOCKS_MAX):
            pass


def _frame(data: bytes, parcel: Parcel, number: int) -> bytes:
    part = parcel.segments[number]
    return data[part.frame_offset : part.frame_end]


def _nothing(_offset: int, _into: memoryview) -> None:
    """An older image of whatever is in memory."""
