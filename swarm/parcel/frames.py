"""zstd frames as parcels hold them: one frame, its length opened known beforehand, a raw dictionary or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, cast

import zstandard
from attrs import define, field, frozen

from swarm.errors import RefusedError

_PART_BYTES = 256 * 1024
"""Of this size are the parts that a frame is opened in. Smaller ones only cost calls."""
_HEADER_BYTES_MAX = 18
_BLOCK_HEADER_BYTES, _CHECKSUM_BYTES = 3, 4
_RLE = 1
"""RFC 8878, 3.1.1.2: a block's header is its last bit, its type in two bits, and its length; one of this type has one byte."""
_WINDOW_BYTES_MAX = 2**31
"""Whatever a frame asks for, the decompressor takes no more than what it opens to, which is known to be little."""


@frozen
class Frame:
    """A frame where it lies; a node has no room for all of it beside what it opens to."""

    read: Callable[[int, int], bytes]
    """So many bytes of it, from an offset on; fewer where it cannot be read."""
    length_bytes: int


def held(data: bytes) -> Frame:
    """A frame in memory."""
    return Frame(lambda at, length_bytes: data[at : at + length_bytes], len(data))


def raw_dictionary(data: bytes | bytearray | memoryview) -> zstandard.ZstdCompressionDict:
    """A dictionary of bytes as they are; zstd keeps a copy of its own, so that `data` can be let go."""
    return zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def opened_frame(
    frame: bytes, opened_bytes: int, dictionary: zstandard.ZstdCompressionDict | None = None
) -> bytes:
    """What is in a frame. `RefusedError` where that is not `opened_bytes` long; nothing larger is ever allocated."""
    try:
        # A frame that tells its length is opened in one go: no window is allocated, whatever size the frame asks for.
        if zstandard.frame_content_size(frame) != opened_bytes:
            raise RefusedError("parcel: a frame tells of another length than its header")
        opened = zstandard.ZstdDecompressor(dict_data=dictionary).decompress(
            frame, max_output_size=opened_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise RefusedError(f"parcel: a damaged frame ({error})") from error
    if len(opened) != opened_bytes:
        raise RefusedError("parcel: a frame opens to another length than its header tells")
    return opened


def opened_parts(
    frame: Frame, opened_bytes: int, dictionary: zstandard.ZstdCompressionDict | None = None
) -> Iterator[bytes]:
    """What is in a frame, one part after the other: `opened_frame` for who has use for the first before the last is there.

    Raises as that does, though maybe at the last part. Memory: what it opens to, once, as the decompressor keeps it, and a part.
    """
    left = opened_bytes
    head = frame.read(0, min(_HEADER_BYTES_MAX, frame.length_bytes))
    try:
        if zstandard.frame_content_size(head) != opened_bytes or _end_of(frame, head) != frame.length_bytes:
            raise RefusedError("parcel: a frame tells of another length than its header")
        opener = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=_WINDOW_BYTES_MAX)
        with opener.stream_reader(cast(IO[bytes], _Stream(frame))) as reader:  # it only reads
            while part := reader.read(_PART_BYTES):
                left -= len(part)
                if left < 0:
                    break
                yield part
    except zstandard.ZstdError as error:
        raise RefusedError(f"parcel: a damaged frame ({error})") from error
    if left:
        raise RefusedError("parcel: a frame opens to another length than its header tells")


@define
class _Stream:
    """A frame as zstandard reads it."""

    _frame: Frame
    _at: int = field(default=0, init=False)

    def read(self, length_bytes: int) -> bytes:
        part = self._frame.read(self._at, min(length_bytes, self._frame.length_bytes - self._at))
        self._at += len(part)
        return part


def _end_of(frame: Frame, head: bytes) -> int:
    """Where the frame ends by its own account. A reader of a stream neither minds what follows nor what is cut off."""
    at = zstandard.frame_header_size(head)
    last = False
    while not last:
        header = frame.read(at, _BLOCK_HEADER_BYTES)
        if len(header) < _BLOCK_HEADER_BYTES or at + _BLOCK_HEADER_BYTES > frame.length_bytes:
            return at + _BLOCK_HEADER_BYTES
        number = int.from_bytes(header, "little")
        last = bool(number & 1)
        at += _BLOCK_HEADER_BYTES + (1 if number >> 1 & 3 == _RLE else number >> 3)
    return at + (_CHECKSUM_BYTES if zstandard.get_frame_parameters(head).has_checksum else 0)
