"""Recorded media: what a power cut may leave of every write, dropped, kept or reordered, a sector at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from attrs import define, field

from fruitd.boot.medium import SECTOR_BYTES

Contents = tuple[bytes, ...]
"""What each medium of a backend holds."""


@define
class Recorder:
    """Media that share one order of writes and flushes."""

    events: list[tuple[int, int | None, bytes]] = field(factory=list)
    """Number of the medium, and offset and bytes of a write; None and nothing for a flush."""

    def media(self, contents: Contents) -> tuple[RecordedMedium, ...]:
        """Media that begin with these contents."""
        return tuple(
            RecordedMedium(f"medium {i}", i, bytearray(content), self) for i, content in enumerate(contents)
        )


@define
class RecordedMedium:
    """`Medium` in memory. Reads see what was written, flushed or not."""

    where: str
    number: int
    content: bytearray
    recorder: Recorder
    unflushed: bool = False

    def read(self, offset: int, length: int) -> bytes:
        """See `Medium.read`."""
        return bytes(self.content[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        """See `Medium.write`."""
        if offset + len(data) > len(self.content):
            raise OSError(27, "past the end")
        self.content[offset : offset + len(data)] = data
        self.recorder.events.append((self.number, offset, data))

    def flush(self) -> None:
        """See `Medium.flush`."""
        self.recorder.events.append((self.number, None, b""))


def crash_states(
    before: Contents, events: list[tuple[int, int | None, bytes]], sectors_max: int = 10
) -> Iterator[Contents]:
    """Every content a power cut can leave: after each event, with each subset of the sectors not flushed yet on the media."""
    for length in range(len(events) + 1):
        durable = [bytearray(content) for content in before]
        pending: list[tuple[int, int, bytes]] = []
        for number, offset, data in events[:length]:
            if offset is None:
                for at_medium, at, sector in pending:
                    if at_medium == number:
                        durable[at_medium][at : at + len(sector)] = sector
                pending = [write for write in pending if write[0] != number]
            else:
                pending += [
                    (number, offset + at, data[at : at + SECTOR_BYTES])
                    for at in range(0, len(data), SECTOR_BYTES)
                ]
        assert len(pending) <= sectors_max, "choose a smaller environment for this test"
        for kept in itertools.product((False, True), repeat=len(pending)):
            state = [bytearray(content) for content in durable]
            for keep, (number, offset, sector) in zip(kept, pending, strict=True):
                if keep:
                    state[number][offset : offset + len(sector)] = sector
            yield tuple(bytes(content) for content in state)


def states_of(before: Contents, change: Callable[[tuple[RecordedMedium, ...]], None]) -> set[Contents]:
    """Every content that a power cut in the middle of `change` can leave, and the one after it."""
    recorder = Recorder()
    media = recorder.media(before)
    change(media)
    return {*crash_states(before, recorder.events), tuple(bytes(medium.content) for medium in media)}
