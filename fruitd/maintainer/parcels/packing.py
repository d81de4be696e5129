"""Packing segments: choosing each one's dictionary, and compressing with as many threads as there are cores.

Dictionaries are chosen one after the other, because a segment may use what the ones before it make; zstd lets the interpreter go
on meanwhile. What comes out depends on the images and on zstd's version, never on the number of cores or on chance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import TypeAlias

import zstandard
from attrs import evolve, field, frozen

from fruitd.maintainer.parcels.cutting import Draft, Piece, drafts_of
from fruitd.maintainer.parcels.gzipped import Inside
from fruitd.maintainer.parcels.likeness import Likeness, best_pages
from fruitd.maintainer.parcels.mapping import Data, forget
from fruitd.maintainer.parcels.movement import PAGE_BYTES
from fruitd.maintainer.parcels.spans import Member, Span
from swarm.parcel.frames import raw_dictionary
from swarm.parcel.header import Made
from swarm.parcel.limits import (
    BLOCK_BYTES,
    CHECK_BYTES,
    DICTIONARY_BYTES_MAX,
    DICTIONARY_RANGES_MAX,
    INFLATED_BYTES_MAX,
)
from swarm.parcel.recipe import FreshFrame, Origin, Range, Recipe

LEVEL = 19
"""Of zstd, with a window over dictionary and segment. A release with a kernel takes some 150 s of processor."""
_LEARNED_BYTES = 32 * 1024 * 1024
_Frame: TypeAlias = tuple[FreshFrame, bytes]
PAGES_MAX = DICTIONARY_BYTES_MAX // PAGE_BYTES


@frozen
class Packed:
    """One segment, done."""

    draft: Draft
    made: Made
    frames: bytes = field(repr=False)


class Packer:
    """Packs the segments of one new image, in their order."""

    def __init__(
        self,
        old: Data,
        new: Data,
        spans: Sequence[Span],
        inside: Inside | None = None,
        *,
        threads: int,
        level: int = LEVEL,
    ) -> None:
        """`old` is empty where there is no older image. `threads` >= 1: each takes some 250 MiB."""
        self._old, self._new, self._inside = old, new, inside or Inside()
        self._texts_at = {member.at: member.text_at for member in self._inside.old_members}
        self._threads, self._level = threads, level
        self._old_pages = -(-len(old) // PAGE_BYTES)
        self._text_pages = self._old_pages + -(-len(new) // PAGE_BYTES)
        """Where those of the older image's texts begin, behind those of both images."""
        self._made = bytearray(-(-len(new) // BLOCK_BYTES))
        self._likeness = Likeness(len(old) + len(new) + len(self._inside.old))
        self._gone = _gone(old, spans, self._inside.old_members)
        self._gone += range(self._text_pages, self._text_pages + len(self._inside.old) // PAGE_BYTES)
        self._drafts = drafts_of(spans, len(new))

    def packed(self) -> Iterator[Packed]:
        """Every segment, in order."""
        for at in range(0, len(self._old), _LEARNED_BYTES):
            self._likeness.learn(self._old, at, min(at + _LEARNED_BYTES, len(self._old)), 0)
            forget(self._old)
        self._likeness.learn(self._inside.old, 0, len(self._inside.old), self._text_pages)
        with ThreadPoolExecutor(self._threads) as pool:
            waiting: deque[tuple[Draft, Future[bytes], list[Future[_Frame]]]] = deque()
            for draft in self._drafts:
                dictionaries = self._dictionaries(draft)
                check = pool.submit(self._check, draft)
                frames = [
                    pool.submit(self._pack, *each) for each in zip(draft.frames, dictionaries, strict=True)
                ]
                waiting.append((draft, check, frames))
                if len(waiting) > self._threads:
                    yield self._packed(*waiting.popleft())
            while waiting:
                yield self._packed(*waiting.popleft())

    def _dictionaries(self, draft: Draft) -> list[tuple[Range, ...]]:
        found = []
        for pieces in draft.frames:
            votes = self._likeness.votes((self._data(piece), piece.at, piece.end) for piece in pieces)
            pages = best_pages(votes, self._gone, PAGES_MAX, self._usable)
            found.append(tuple(self._ranges(pages, DICTIONARY_RANGES_MAX // len(draft.frames))))
        for piece in (piece for pieces in draft.frames for piece in pieces if not piece.inside):
            self._likeness.learn(self._new, piece.at, piece.end, self._old_pages)
        if draft.frames:
            for run in draft.runs:
                self._made[run.block : run.end] = b"\1" * run.count
        return found

    def _data(self, piece: Piece) -> Data:
        return self._inside.new if piece.inside else self._new

    def _usable(self, page: int) -> bool:
        if page < self._old_pages or page >= self._text_pages:
            return 0 <= page < self._text_pages + len(self._inside.old) // PAGE_BYTES
        block = (page - self._old_pages) * PAGE_BYTES // BLOCK_BYTES
        return bool(self._made[block])

    def _ranges(self, pages: Sequence[int], most: int) -> Sequence[Range]:
        """Pages, which rise, as ranges; what is beyond the format's bounds is left out."""
        ranges: list[Range] = []
        inflated_bytes = 0
        for page in pages:
            part = self._range(page)
            last = ranges[-1] if ranges else None
            inflated_bytes += part.inflated_bytes(last)
            if inflated_bytes > INFLATED_BYTES_MAX:
                break
            if last is not None and self._follows(last, part):
                ranges[-1] = evolve(last, length_bytes=last.length_bytes + part.length_bytes)
            elif len(ranges) < most:
                ranges.append(part)
            else:
                break
        return ranges

    def _follows(self, last: Range, part: Range) -> bool:
        if part.packed_bytes:
            return part.goes_on(last) and part.skipped_bytes == last.skipped_bytes + last.length_bytes
        return not last.packed_bytes and last.end == part.source and part.source != len(self._old)

    def _range(self, page: int) -> Range:
        if page < self._old_pages:
            at = page * PAGE_BYTES
            return Range(at, min(PAGE_BYTES, len(self._old) - at))
        if page < self._text_pages:
            at = (page - self._old_pages) * PAGE_BYTES
            return Range(len(self._old) + at, min(PAGE_BYTES, len(self._new) - at))
        at = (page - self._text_pages) * PAGE_BYTES
        member = self._inside.member_at(at)
        return Range(
            member.at, min(PAGE_BYTES, member.text_end - at), member.packed_bytes, at - member.text_at
        )

    def _packed(self, draft: Draft, check: Future[bytes], packing: Sequence[Future[_Frame]]) -> Packed:
        frames = [each.result() for each in packing]
        recipe = Recipe(draft.runs, tuple(told for told, _ in frames), draft.steps)
        return Packed(draft, Made(recipe, check.result()), b"".join(raw for _, raw in frames))

    def _check(self, draft: Draft) -> bytes:
        check = sha256()
        for run in draft.runs:
            for block in range(run.block, run.end):
                check.update(self._new[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES])
        return check.digest()[:CHECK_BYTES]

    def _pack(self, pieces: Sequence[Piece], dictionary: tuple[Range, ...]) -> _Frame:
        fresh = b"".join(self._data(piece)[piece.at : piece.end] for piece in pieces)
        frame = self._frame(fresh, b"".join(self._source(part) for part in dictionary))
        return FreshFrame(len(frame), len(fresh), dictionary), frame

    def _source(self, part: Range) -> bytes:
        if part.packed_bytes:
            at = self._texts_at[part.source] + part.skipped_bytes
            return self._inside.old[at : at + part.length_bytes]
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


def _gone(old: Data, spans: Sequence[Span], members: Sequence[Member]) -> list[int]:
    """The pages of the older image that are not zero, and that nothing is copied from, and whose text is not known."""
    kept = bytearray(-(-len(old) // PAGE_BYTES))
    for span in spans:
        if span.origin is Origin.COPY:
            first, end = span.source // PAGE_BYTES, -(-(span.source + span.length_bytes) // PAGE_BYTES)
            kept[first:end] = b"\1" * (end - first)
    for member in members:
        first, end = -(-member.at // PAGE_BYTES), member.end // PAGE_BYTES
        kept[first:end] = b"\1" * (end - first)
    zeros = bytes(PAGE_BYTES)
    pages = (page for page, is_kept in enumerate(kept) if not is_kept)
    return [page for page in pages if old[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] != zeros]
