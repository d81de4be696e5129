"""Cutting a new image into segments: what is only copied or zero first, then the blocks with fresh bytes, close together.

All blocks that a member in gzip touches are made by one segment, however much that has to open for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from fruitd.maintainer.parcels.spans import Span
from swarm.parcel.limits import BLOCK_BYTES, FRESH_BYTES_MAX
from swarm.parcel.recipe import Origin, Run, Step

BLOCKS_MAX = 16 * 1024 * 1024 // BLOCK_BYTES
"""Of a segment that makes no large file in gzip; half of what the format allows. More: a node says less often how far it is."""


@frozen
class Piece:
    """Fresh bytes."""

    at: int
    end: int
    inside: bool
    """They lie among the texts of the new image's members, not in the image."""


@frozen
class Draft:
    """A segment before its dictionaries are chosen."""

    runs: tuple[Run, ...]
    steps: tuple[Step, ...]
    frames: tuple[tuple[Piece, ...], ...]
    """What each of its frames is to open to."""


def drafts_of(
    spans: Sequence[Span], image_bytes: int, fresh_bytes_max: int = FRESH_BYTES_MAX
) -> Iterator[Draft]:
    """Segments that make every block once, in the order in which they are to be made."""
    load = _Load(spans, image_bytes)
    walk = _Walk(spans, image_bytes, fresh_bytes_max)
    for blocks in (*load.bundles(1, busy=False), *load.bundles(fresh_bytes_max, busy=True)):
        yield walk.draft(_runs(blocks))


class _Load:
    """What frames have to open to for each block."""

    def __init__(self, spans: Sequence[Span], image_bytes: int) -> None:
        blocks = -(-image_bytes // BLOCK_BYTES)
        self._fresh_bytes = [0] * blocks
        self._tied = bytearray(blocks)
        """1: a member goes on here that began in the block before."""
        for span in spans:
            touched = range(span.at // BLOCK_BYTES, -(-span.end // BLOCK_BYTES))
            if span.member is not None:
                self._fresh_bytes[touched.start] += span.member.text_bytes
                self._tied[touched.start + 1 : touched.stop] = b"\1" * (len(touched) - 1)
            elif span.origin is Origin.FRESH:
                for block in touched:
                    start = max(span.at, block * BLOCK_BYTES)
                    self._fresh_bytes[block] += min(span.end, (block + 1) * BLOCK_BYTES) - start

    def bundles(self, fresh_bytes_max: int, *, busy: bool) -> Iterator[list[int]]:
        """The blocks with fresh bytes, or those without, as many together as go into a segment."""
        bundle: list[int] = []
        fresh_bytes = 0
        for group in self._groups(busy=busy):
            group_bytes = sum(self._fresh_bytes[block] for block in group)
            if bundle and (
                len(bundle) + len(group) > BLOCKS_MAX or fresh_bytes + group_bytes > fresh_bytes_max
            ):
                yield bundle
                bundle, fresh_bytes = [], 0
            bundle += group
            fresh_bytes += group_bytes
        if bundle:
            yield bundle

    def _groups(self, *, busy: bool) -> Iterator[list[int]]:
        """Blocks that one segment has to make together."""
        group: list[int] = []
        for block, (fresh_bytes, tied) in enumerate(zip(self._fresh_bytes, self._tied, strict=True)):
            if tied:
                group += [block] if group else []
                continue
            if group:
                yield group
            group = [block] if bool(fresh_bytes) is busy else []
        if group:
            yield group


def _runs(blocks: Sequence[int]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for block in blocks:
        if runs and runs[-1].end == block:
            runs[-1] = Run(runs[-1].block, runs[-1].count + 1)
        else:
            runs.append(Run(block, 1))
    return tuple(runs)


class _Walk:
    """Looks up spans by their place; runs come mostly in rising order."""

    def __init__(self, spans: Sequence[Span], image_bytes: int, frame_bytes_max: int) -> None:
        self._spans = spans
        self._image_bytes = image_bytes
        self._frame_bytes_max = frame_bytes_max
        self._number = 0

    def draft(self, runs: tuple[Run, ...]) -> Draft:
        parts = [part for run in runs for part in self._parts(run)]
        steps: list[Step] = []
        for part in parts:
            last = steps[-1] if steps else None
            if part.member is not None:
                steps.append(
                    Step(
                        part.origin,
                        part.length_bytes,
                        text_bytes=part.member.text_bytes,
                        level=part.member.level,
                    )
                )
            elif last is not None and last.origin is part.origin and part.origin is not Origin.COPY:
                steps[-1] = Step(part.origin, last.length_bytes + part.length_bytes)
            elif last is not None and part.origin is Origin.COPY and _continues(last, part):
                steps[-1] = Step(part.origin, last.length_bytes + part.length_bytes, last.source)
            else:
                steps.append(Step(part.origin, part.length_bytes, part.source))
        return Draft(runs, tuple(steps), tuple(self._frames(parts)))

    def _frames(self, parts: Sequence[Span]) -> Iterator[tuple[Piece, ...]]:
        frame: list[Piece] = []
        left = self._frame_bytes_max
        for part in parts:
            member = part.member
            at, end = (member.text_at, member.text_end) if member is not None else (part.at, part.end)
            while at < end and part.origin in (Origin.FRESH, Origin.PACKED):
                frame.append(Piece(at, min(end, at + left), member is not None))
                left -= frame[-1].end - at
                at = frame[-1].end
                if not left:
                    yield tuple(frame)
                    frame, left = [], self._frame_bytes_max
        if frame:
            yield tuple(frame)

    def _parts(self, run: Run) -> Iterator[Span]:
        at, end = run.block * BLOCK_BYTES, min(run.end * BLOCK_BYTES, self._image_bytes)
        if self._spans[self._number].at > at:
            self._number = 0
        while at < end:
            span = self._spans[self._number]
            if span.end <= at:
                self._number += 1
                continue
            length_bytes = min(span.end, end) - at
            source = span.source + at - span.at if span.origin is Origin.COPY else 0
            yield Span(at, length_bytes, span.origin, source, span.member)
            at += length_bytes


def _continues(last: Step, part: Span) -> bool:
    return last.origin is Origin.COPY and last.source + last.length_bytes == part.source
