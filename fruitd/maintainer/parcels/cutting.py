"""Cutting a new image into segments: what is only copied or zero first, then the blocks with fresh bytes, close together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from fruitd.maintainer.parcels.movement import Span
from swarm.parcel.limits import BLOCK_BYTES, FRESH_BYTES_MAX, OUTPUT_BYTES_MAX
from swarm.parcel.recipe import Origin, Run, Step

BLOCKS_MAX = OUTPUT_BYTES_MAX // BLOCK_BYTES


@frozen
class Draft:
    """A segment before its dictionary is chosen."""

    runs: tuple[Run, ...]
    steps: tuple[Step, ...]
    fresh: tuple[Span, ...]


def drafts_of(
    spans: Sequence[Span], image_bytes: int, fresh_bytes_max: int = FRESH_BYTES_MAX
) -> Iterator[Draft]:
    """Segments that make every block once, in the order in which they are to be made."""
    fresh_in = _fresh_in(spans, image_bytes)
    quiet = [block for block, fresh_bytes in enumerate(fresh_in) if not fresh_bytes]
    busy = [block for block, fresh_bytes in enumerate(fresh_in) if fresh_bytes]
    walk = _Walk(spans, image_bytes)
    for blocks in (*_bundles(quiet, fresh_in, 1), *_bundles(busy, fresh_in, fresh_bytes_max)):
        yield walk.draft(_runs(blocks))


def _fresh_in(spans: Sequence[Span], image_bytes: int) -> list[int]:
    fresh_in = [0] * -(-image_bytes // BLOCK_BYTES)
    for span in spans:
        if span.origin is Origin.FRESH:
            for block in range(span.at // BLOCK_BYTES, -(-span.end // BLOCK_BYTES)):
                start = max(span.at, block * BLOCK_BYTES)
                fresh_in[block] += min(span.end, (block + 1) * BLOCK_BYTES) - start
    return fresh_in


def _bundles(blocks: Iterable[int], fresh_in: Sequence[int], fresh_bytes_max: int) -> Iterator[list[int]]:
    bundle: list[int] = []
    fresh_bytes = 0
    for block in blocks:
        if len(bundle) == BLOCKS_MAX or fresh_bytes + fresh_in[block] > fresh_bytes_max:
            yield bundle
            bundle, fresh_bytes = [], 0
        bundle.append(block)
        fresh_bytes += fresh_in[block]
    if bundle:
        yield bundle


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

    def __init__(self, spans: Sequence[Span], image_bytes: int) -> None:
        self._spans = spans
        self._image_bytes = image_bytes
        self._number = 0

    def draft(self, runs: tuple[Run, ...]) -> Draft:
        parts = [part for run in runs for part in self._parts(run)]
        steps: list[Step] = []
        for part in parts:
            last = steps[-1] if steps else None
            if last is not None and last.origin is part.origin and part.origin is not Origin.COPY:
                steps[-1] = Step(part.origin, last.length_bytes + part.length_bytes)
            elif last is not None and part.origin is Origin.COPY and _continues(last, part):
                steps[-1] = Step(part.origin, last.length_bytes + part.length_bytes, last.source)
            else:
                steps.append(Step(part.origin, part.length_bytes, part.source))
        return Draft(runs, tuple(steps), tuple(part for part in parts if part.origin is Origin.FRESH))

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
            yield Span(at, length_bytes, span.origin, source)
            at += length_bytes


def _continues(last: Step, part: Span) -> bool:
    return last.origin is Origin.COPY and last.source + last.length_bytes == part.source
