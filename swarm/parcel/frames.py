"""zstd frames as parcels hold them: one frame, its length opened known beforehand, a raw dictionary or none."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import IO, cast

import zstandard
from attrs import frozen

from swarm.errors import RefusedError

_PART_BYTES = 256 * 1024
"""Of this size are the parts that a frame is opened in. Smaller ones only cost calls."""
PARTS_AHEAD = 2
"""So many may be opened while one is used. Fewer: whoever opens waits for whoever uses, who is as quick in the middle, but not at
each part. More only cost memory."""
STORED_BYTES_MAX = 128 * 1024
"""RFC 8878, 3.1.1.2.4: no block is longer."""
_HEADER_BYTES_MAX = 18
_BLOCK_HEADER_BYTES = 3
_RLE = 1
"""RFC 8878, 3.1.1.2: a block's header is its last bit, its type in two bits, and its length; one of this type has one byte."""
_BLOCK_BYTES_MAX = _BLOCK_HEADER_BYTES + STORED_BYTES_MAX
_WINDOW_LOG = 24
"""Dictionary and opened frame are no more than 16 MiB together; the decompressor takes no more memory than they are."""


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


def opened_frame(frame: bytes, opened_bytes: int) -> bytes:
    """What is in a frame without a dictionary. `RefusedError` where that is not `opened_bytes` long; nothing larger is ever
    allocated."""
    try:
        _refuse_unless(frame, opened_bytes)
        # A frame that tells its length is opened in one go: no window is allocated, whatever size the frame asks for.
        opened = zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=opened_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise RefusedError(f"parcel: a damaged frame ({error})") from error
    if len(opened) != opened_bytes:
        raise RefusedError("parcel: a frame opens to another length than its header tells")
    return opened


class FrameOpener:
    """Opens frames part by part: for who has use for the first before the last is there.

    It is kept from one frame to the next, as what it opens them in is (up to 16 MiB, see `limits`): to take that from the
    system anew, and give it back, costs a server two thirds as long as opening a frame does.

    zstd knows a dictionary only as a copy of its own. So it gets none: what it opens is one frame that begins with the
    dictionary, in blocks that are stored as they are, and goes on with the blocks of the frame. A raw dictionary is nothing else
    but bytes that come before (RFC 8878, 5).
    """

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG)
        self._parts = [memoryview(bytearray(_PART_BYTES)) for _ in range(PARTS_AHEAD + 1)]

    def opened(
        self, frame: Frame, opened_bytes: int, dictionary: Iterable[bytes] = (), dictionary_bytes: int = 0
    ) -> Iterator[memoryview]:
        """What is in a frame, one part after the other, as `opened_frame` opens it. One frame at a time.

        Args:
            frame: see there.
            opened_bytes: what it opens to; at most `FRESH_BYTES_MAX`.
            dictionary: what comes before it, in parts of at most `STORED_BYTES_MAX`.
            dictionary_bytes: how many bytes those are; at most `DICTIONARY_BYTES_MAX`.

        Yields:
            Parts. Each stays as it is while the next `PARTS_AHEAD` are opened; the one after them is written over it.

        Raises:
            RefusedError: as `opened_frame`, though maybe at the last part.
        """
        head = frame.read(0, min(_HEADER_BYTES_MAX, frame.length_bytes))
        all_bytes = dictionary_bytes + opened_bytes
        try:
            _refuse_unless(head, opened_bytes)
            if _end_of(frame, head) != frame.length_bytes:
                raise RefusedError("parcel: a frame that is longer or shorter than its header tells")
            begun = _Stream(_as_one(frame, zstandard.frame_header_size(head), dictionary, all_bytes))
            parts, at = itertools.cycle(self._parts), 0
            with self._decompressor.stream_reader(cast(IO[bytes], begun), _BLOCK_BYTES_MAX) as reader:
                for part in parts:
                    ends = dictionary_bytes if at < dictionary_bytes else all_bytes
                    # Asked for a byte more than there may be at the end, so that a frame with more in it is found out.
                    count = reader.readinto(part[: ends - at + (ends == all_bytes)])
                    if not count:
                        break
                    at += count
                    if at > all_bytes:
                        break
                    if at > dictionary_bytes:
                        yield part[:count]
        except zstandard.ZstdError as error:
            raise RefusedError(f"parcel: a damaged frame ({error})") from error
        if at != all_bytes:
            raise RefusedError("parcel: a frame opens to another length than its header tells")


def _refuse_unless(head: bytes, opened_bytes: int) -> None:
    """Is this the head of a frame as parcels have them?"""
    told = zstandard.get_frame_parameters(head)
    if told.content_size != opened_bytes:
        raise RefusedError("parcel: a frame tells of another length than its header")
    if told.has_checksum or told.dict_id:
        raise RefusedError("parcel: a frame with a checksum, or with the number of a dictionary")


def _as_one(frame: Frame, at: int, dictionary: Iterable[bytes], all_bytes: int) -> Iterator[bytes]:
    """A frame whose own header ends there, with the dictionary before it, as one frame without; block by block or nearly so."""
    # RFC 8878, 3.1.1.1: a content size in four bytes; a window of 2 ** (10 + exponent).
    yield b"\x28\xb5\x2f\xfd" + bytes([2 << 6, _WINDOW_LOG - 10 << 3]) + all_bytes.to_bytes(4, "little")
    for stored in dictionary:
        yield (len(stored) << 3).to_bytes(_BLOCK_HEADER_BYTES, "little") + stored
    while part := frame.read(at, min(_BLOCK_BYTES_MAX, frame.length_bytes - at)):
        at += len(part)
        yield part


class _Stream:
    """A file as zstandard reads it."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts

    def read(self, _length_bytes: int) -> bytes:
        """The next part; none is longer than what is asked for."""
        return next(self._parts, b"")


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
    return at
