"""Putting a dictionary together: ranges of images, and of what deflate streams in them open to."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

from swarm.parcel.frames import STORED_BYTES_MAX
from swarm.parcel.recipe import Range

ReadInto = Callable[[int, memoryview], None]
"""Fills the buffer with the bytes from an offset on, or raises whatever its caller expects of it."""
_DEFLATED_BYTES = 16 * 1024
"""What is to be inflated, and what is skipped of it, goes from hand to hand in pieces of this size."""
_ZEROS = bytes(STORED_BYTES_MAX)


def dictionary_parts(ranges: Iterable[Range], read: ReadInto) -> Iterator[memoryview]:
    """What its ranges hold, one after the other, in parts that `FrameOpener` takes; each is written over by the next."""
    buffer, at = memoryview(bytearray(STORED_BYTES_MAX)), 0
    last, stream = None, _Inflated(read, Range(0, 0))
    for part in ranges:
        if part.packed_bytes:
            if not part.goes_on(last):
                stream = _Inflated(read, part)
            stream.skip_to(part.skipped_bytes)
        last, done = part, 0
        while done < part.length_bytes:
            length_bytes = min(part.length_bytes - done, STORED_BYTES_MAX - at)
            into = buffer[at : at + length_bytes]
            if part.packed_bytes:
                stream.take(into)
            else:
                read(part.source + done, into)
            done, at = done + length_bytes, at + length_bytes
            if at == STORED_BYTES_MAX:
                yield buffer
                at = 0
    if at:
        yield buffer[:at]


class _Inflated:
    """What a deflate stream in an image opens to, from its beginning on; zeros from where it is damaged or ends."""

    def __init__(self, read: ReadInto, stream: Range) -> None:
        self._read = read
        self._at, self._end = stream.source, stream.end
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = b""
        self._damaged = False
        self._opened_bytes = 0

    def skip_to(self, opened_bytes: int) -> None:
        """Go on with this byte; not back."""
        scratch = memoryview(bytearray(_DEFLATED_BYTES))
        while self._opened_bytes < opened_bytes:
            self.take(scratch[: opened_bytes - self._opened_bytes])

    def take(self, into: memoryview) -> None:
        """Fill this with what comes next."""
        self._opened_bytes += len(into)
        while into:
            piece = self._next(len(into)) or _ZEROS[: len(into)]
            into[: len(piece)] = piece
            into = into[len(piece) :]

    def _next(self, most_bytes: int) -> bytes:
        """Some of it; nothing at its end."""
        try:
            while not (self._inflater.eof or self._damaged):
                piece = self._inflater.decompress(self._waiting, most_bytes)
                self._waiting = self._inflater.unconsumed_tail
                if piece:
                    return piece
                if not self._waiting:
                    more = memoryview(bytearray(min(self._end - self._at, _DEFLATED_BYTES)))
                    if not more:
                        break
                    self._read(self._at, more)
                    self._at += len(more)
                    self._waiting = bytes(more)
        except zlib.error:
            self._damaged = True
        return b""
