"""Packing segments: choosing each one's dictionary, and compressing with as many threads as there are cores.

Dictionaries are chosen one after the other, because a segment may use what the ones before it make; zstd lets the interpreter go
on meanwhile. What comes out depends on the images and on zstd's version, never on the number of cores or on chance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256

import zstandard
from attrs import field, frozen

from fruitd.maintainer.parcels.cutting import Draft, drafts_of
from fruitd.maintainer.parcels.likeness import Likeness, best_pages
from fruitd.maintainer.parcels.mapping import Data, forget
from fruitd.maintainer.parcels.movement import PAGE_BYTES, Span
from swarm.parcel.frames import raw_dictionary
from swarm.parcel.header import Made
from swarm.parcel.limits import BLOCK_BYTES, CHECK_BYTES, DICTIONARY_BYTES_MAX
from swarm.parcel.recipe import Origin, Range, Recipe

LEVEL = 19
"""Of zstd, with a window over dictionary and segment. A release with a kernel takes some 150 s of processor."""
_LEARNED_BYTES = 32 * 1024 * 1024
PAGES_MAX = DICTIONARY_BYTES_MAX // PAGE_BYTES


@frozen
class Packed:
    """One segment, done."""

    draft: Draft
    made: Made
    frame: bytes = field(repr=False)


class Packer:
    """Packs the segments of one new image, in their order."""

    def __init__(
        self, old: Data, new: Data, spans: Sequence[Span], *, threads: int, level: int = LEVEL
    ) -> None:
        """`old` is empty where there is no older image. `threads` >= 1: each takes some 250 MiB."""
        self._old, self._new = old, new
        self._threads, self._level = threads, level
        self._old_pages = -(-len(old) // PAGE_BYTES)
        self._made = bytearray(-(-len(new) // BLOCK_BYTES))
        self._likeness = Likeness(len(old) + len(new))
        self._gone = _gone(old, spans)

        self._drafts = drafts_of(spans, len(new))

    def packed(self) -> Iterator[Packed]:
        """Every segment, in order."""
        for at in range(0, len(self._old), _LEARNED_BYTES):
            self._likeness.learn(self._old, at, min(at + _LEARNED_BYTES, len(self._old)), 0)
            forget(self._old)
        with ThreadPoolExecutor(self._threads) as pool:
            waiting: deque[Future[Packed]] = deque()
            for draft in self._drafts:
                dictionary = self._dictionary(draft)
                waiting.append(pool.submit(self._pack, draft, dictionary))
                if len(waiting) > self._threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _dictionary(self, draft: Draft) -> tuple[Range, ...]:
        if not draft.fresh:
            return ()
        votes = self._likeness.votes(self._new, draft.fresh)
        pages = best_pages(votes, self._gone, PAGES_MAX, self._usable)
        for span in draft.fresh:
            self._likeness.learn(self._new, span.at, span.end, self._old_pages)
        for run in draft.runs:
            self._made[run.block : run.end] = b"\1" * run.count
        ranges: list[Range] = []
        for page in pages:
            part = self._range(page)
            if ranges and ranges[-1].end == part.source and part.source != len(self._old):
                ranges[-1] = Range(ranges[-1].source, ranges[-1].length_bytes + part.length_bytes)
            else:
                ranges.append(part)
        return tuple(ranges)

    def _usable(self, page: int) -> bool:
        if page < self._old_pages:
            return page >= 0
        block = (page - self._old_pages) * PAGE_BYTES // BLOCK_BYTES
        return block < len(self._made) and bool(self._made[block])

    def _range(self, page: int) -> Range:
        if page < self._old_pages:
            at = page * PAGE_BYTES
            return Range(at, min(PAGE_BYTES, len(self._old) - at))
        at = (page - self._old_pages) * PAGE_BYTES
        return Range(len(self._old) + at, min(PAGE_BYTES, len(self._new) - at))

    def _pack(self, draft: Draft, dictionary: tuple[Range, ...]) -> Packed:
        check = sha256()
        for run in draft.runs:
            for block in range(run.block, run.end):
                check.update(self._new[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES])
        recipe = Recipe(draft.runs, dictionary, draft.steps)
        fresh = b"".join(self._new[span.at : span.end] for span in draft.fresh)
        frame = self._frame(fresh, b"".join(self._source(part) for part in dictionary)) if fresh else b""
        return Packed(draft, Made(recipe, len(frame), check.digest()[:CHECK_BYTES]), frame)

    def _source(self, part: Range) -> bytes:
        if part.source < len(self._old):
            return self._old[part.source : part.end]
        return self._new[part.source - len(self._old) : part.end - len(self._old)]

    def _frame(self, fresh: bytes, dictionary: bytes) -> bytes:
        window_log = max((len(fresh) + len(dictionary)).bit_length(), zstandard.WINDOWLOG_MIN)
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self._level,
            source_size=len(fresh),
            dict_size=len(dictionary),
            window_log=window_log,
            hash_log=min(window_log, 24),
            chain_log=min(window_log + 1, 25),
            write_content_size=True,
            write_dict_id=False,
        )
        raw = raw_dictionary(dictionary) if dictionary else None
        return zstandard.ZstdCompressor(dict_data=raw, compression_params=parameters).compress(fresh)


def _gone(old: Data, spans: Sequence[Span]) -> list[int]:
    """The pages of the older image that are not zero and that nothing is copied from."""
    kept = bytearray(-(-len(old) // PAGE_BYTES))
    for span in spans:
        if span.origin is Origin.COPY:
            first, end = span.source // PAGE_BYTES, -(-(span.source + span.length_bytes) // PAGE_BYTES)
            kept[first:end] = b"\1" * (end - first)
    zeros = bytes(PAGE_BYTES)
    pages = (page for page, is_kept in enumerate(kept) if not is_kept)
    return [page for page in pages if old[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] != zeros]
