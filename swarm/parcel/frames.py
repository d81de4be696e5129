"""zstd frames as parcels hold them: one frame, its length opened known beforehand, a raw dictionary or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import IO, TypeAlias, cast

import zstandard
from attrs import frozen

from swarm.errors import RefusedError

STORED_BYTES_MAX = 128 * 1024
"""RFC 8878, 3.1.1.2.4: no block is longer."""
_HEADER_BYTES_MAX = 18
_BLOCK_HEADER_BYTES = 3
_RLE = 1
"""RFC 8878, 3.1.1.2: a block's header is its last bit, its type in two bits, and its length; one of this type has one byte."""
_BLOCK_BYTES_MAX = _BLOCK_HEADER_BYTES + STORED_BYTES_MAX
_WINDOW_LOG = 24
"""Dictionary and opened frame are no more than 16 MiB together; the decompressor takes no more memory than they are."""
Bytes: TypeAlias = bytes | memoryview


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
    """Opens frames bit by bit: for who has use for the beginning before the end is there.

    It is kept from one frame to the next, as what it opens them in is (up to 16 MiB, see `limits`): to take that from the
    system anew for each, and give it back, was 2 of the 7 s in which a server made the segments of an image of 2 GiB.

    zstd knows a dictionary only as a copy of its own. So it gets none: what it opens is one frame that begins with the
    dictionary, in blocks that are stored as they are, and goes on with the blocks of the frame. A raw dictionary is nothing else
    but bytes that come before (RFC 8878, 5).
    """

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG)
        self._scratch = memoryview(bytearray(STORED_BYTES_MAX))

    def open(
        self, frame: Frame, opened_bytes: int, dictionary: Iterable[Bytes] = (), dictionary_bytes: int = 0
    ) -> OpenFrame:
        """Begin with a frame, and be done with the one before.

        Args:
            frame: see there.
            opened_bytes: what it opens to; at most `FRESH_BYTES_MAX`.
            dictionary: what comes before it, in parts of at most `STORED_BYTES_MAX`; each is asked for when the frame is read,
                and used before the next one is.
            dictionary_bytes: how many bytes those are; at most `DICTIONARY_BYTES_MAX`.

        Raises:
            RefusedError: it is not such a frame. That it is damaged shows later.
        """
        head = frame.read(0, min(_HEADER_BYTES_MAX, frame.length_bytes))
        try:
            _refuse_unless(head, opened_bytes)
            at = zstandard.frame_header_size(head)
        except zstandard.ZstdError as error:
            raise RefusedError(f"parcel: a damaged frame ({error})") from error
        if _end_of(frame, at) != frame.length_bytes:
            raise RefusedError("parcel: a frame that is longer or shorter than its blocks tell")
        stream = _Stream(_as_one(frame, at, dictionary, dictionary_bytes + opened_bytes))
        reader = self._decompressor.stream_reader(cast(IO[bytes], stream), _BLOCK_BYTES_MAX)
        return OpenFrame(reader, dictionary_bytes, self._scratch)


class OpenFrame:
    """What is in a frame, to be taken from its beginning on. Both raise `RefusedError` where it is damaged."""

    def __init__(
        self, reader: zstandard.ZstdDecompressionReader, skipped_bytes: int, scratch: memoryview
    ) -> None:
        self._reader = reader
        self._skipped_bytes = skipped_bytes
        self._scratch = scratch

    def take(self, into: memoryview) -> None:
        """Fill this with what comes next."""
        while self._skipped_bytes:
            self._skipped_bytes -= self._read(self._scratch[: self._skipped_bytes])
        while into:
            into = into[self._read(into) :]

    def end(self) -> None:
        """Everything is taken: is it?"""
        if self._read_some(self._scratch[:1]):
            raise RefusedError("parcel: a frame opens to more than its header tells")

    def _read(self, into: memoryview) -> int:
        count = self._read_some(into)
        if not count:
            raise RefusedError("parcel: a frame opens to less than its header tells")
        return count

    def _read_some(self, into: memoryview) -> int:
        try:
            return self._reader.readinto(into)
        except zstandard.ZstdError as error:
            raise RefusedError(f"parcel: a damaged frame ({error})") from error


def _refuse_unless(head: bytes, opened_bytes: int) -> None:
    """Is this the head of a frame as parcels have them?"""
    told = zstandard.get_frame_parameters(head)
    if told.content_size != opened_bytes:
        raise RefusedError("parcel: a frame tells of another length than its header")
    if told.has_checksum or told.dict_id:
        raise RefusedError("parcel: a frame with a checksum, or with the number of a dictionary")


def _as_one(frame: Frame, at: int, dictionary: Iterable[Bytes], all_bytes: int) -> Iterator[bytes]:
    """A frame whose own header ends there, with the dictionary before it, as one frame without; block by block or nearly so."""
    # RFC 8878, 3.1.1.1: a content size in four bytes; a window of 2 ** (10 + exponent).
    yield b"\x28\xb5\x2f\xfd" + bytes([2 << 6, _WINDOW_LOG - 10 << 3]) + all_bytes.to_bytes(4, "little")
    for stored in dictionary:
        yield b"".join(((len(stored) << 3).to_bytes(_BLOCK_HEADER_BYTES, "little"), stored))
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


def _end_of(frame: Frame, at: int) -> int:
    """Where a frame ends whose first block is there. A reader of a stream neither minds what follows nor what is cut off."""
    last = False
    while not last:
        header = frame.read(at, _BLOCK_HEADER_BYTES)
        if len(header) < _BLOCK_HEADER_BYTES or at + _BLOCK_HEADER_BYTES > frame.length_bytes:
            return at + _BLOCK_HEADER_BYTES
        number = int.from_bytes(header, "little")
        last = bool(number & 1)
        at += _BLOCK_HEADER_BYTES + (1 if number >> 1 & 3 == _RLE else number >> 3)
    return at
