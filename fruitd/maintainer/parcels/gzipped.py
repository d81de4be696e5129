"""Files in gzip that a parcel looks into: a line that changed in one of them changes all the bytes behind it.

Those of the new image are looked into that GNU gzip makes again bit for bit, and of which most would be fresh. What those of the
older image held is what theirs is likely to be like.
"""

from __future__ import annotations

import re
import tempfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO

from attrs import evolve, frozen

from fruitd.gnu_gzip import Packing
from fruitd.maintainer.parcels.mapping import Data, forget, mapped_file
from fruitd.maintainer.parcels.movement import PAGE_BYTES
from fruitd.maintainer.parcels.spans import Member, Span
from swarm.parcel.limits import BLOCK_BYTES, OUTPUT_BYTES_MAX
from swarm.parcel.recipe import TEXT_BYTES_MAX, Origin

_MAGIC = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL)
_LEVELS = {0: 6, 2: 9, 4: 1}
"""RFC 1952, XFL: GNU gzip writes 2 for its slowest level, 4 for its fastest, 0 for all others; of those, 6 is the one in use."""
_HEADER_CRC, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16
_HEADER_BYTES, _HEADER_BYTES_MAX, _TRAILER_BYTES = 10, 1024, 8
_STEP_BYTES = 64 * 1024
_TOLD_BYTES = 32 * 1024 * 1024
TOGETHER_BYTES_MAX = TEXT_BYTES_MAX - OUTPUT_BYTES_MAX
"""Of text, in members that share blocks with each other: one segment makes them all, and what else is fresh in its blocks."""


@frozen
class Inside:
    """What the members of both images hold."""

    old: Data = b""
    """Texts of the older image's members, each beginning on a page."""
    old_members: Sequence[Member] = ()
    """In the order of their texts."""
    new: Data = b""

    def member_at(self, text_at: int) -> Member:
        """The older image's member whose text has this byte, or ended before it on the same page."""
        return self.old_members[
            bisect_right(self.old_members, text_at, key=lambda member: member.text_at) - 1
        ]


@contextmanager
def looked_into(
    old: Data, new: Data, spans: Sequence[Span], folder: Path, threads: int, progress: Callable[[float], None]
) -> Iterator[tuple[list[Span], Inside]]:
    """The spans again, some of them packed, and what is inside. Takes room in `folder` for the texts of what has changed.

    Without an older image nothing is looked into: there is nothing that the texts could be like.
    """
    if not old:
        yield list(spans), Inside()
        return
    with tempfile.TemporaryFile(dir=folder) as new_spool, tempfile.TemporaryFile(dir=folder) as old_spool:
        fresh = [(span.at, span.end) for span in spans if span.origin is Origin.FRESH]
        members = list(_members(new, new_spool, fresh, lambda done: progress(0.1 * done)))
        with mapped_file(new_spool) as new_texts:
            chosen = list(
                _apart(_made_again(new, new_texts, members, threads, lambda done: progress(0.1 + 0.8 * done)))
            )
            if not chosen:
                yield list(spans), Inside()
                return
            old_members = list(
                _members(old, old_spool, _gone(spans, len(old)), lambda done: progress(0.9 + 0.1 * done))
            )
            with mapped_file(old_spool) as old_texts:
                yield list(_with_packed(spans, chosen)), Inside(old_texts, old_members, new_texts)


def _gone(spans: Sequence[Span], old_bytes: int) -> list[tuple[int, int]]:
    """Where the older image has what is copied nowhere."""
    kept = sorted((s.source, s.source + s.length_bytes) for s in spans if s.origin is Origin.COPY)
    gone, at = [], 0
    for begin, end in [*kept, (old_bytes, old_bytes)]:
        if begin > at:
            gone.append((at, begin))
        at = max(at, end)
    return gone


def _members(
    data: Data, spool: IO[bytes], parts: Sequence[tuple[int, int]], progress: Callable[[float], None]
) -> Iterator[Member]:
    """Members of which these parts of the image, which rise, have at least half; their texts are put into the spool."""
    begins, done = [begin for begin, _ in parts], 0
    for begin in range(0, len(data), _TOLD_BYTES):
        for match in _MAGIC.finditer(data, begin, min(begin + _TOLD_BYTES + 3, len(data))):
            if match.start() < done:
                continue
            text_at = spool.tell()
            member = _opened(data, match.start(), spool)
            if member is None or 2 * _overlap(parts, begins, member) < member.packed_bytes:
                spool.seek(text_at)
                continue
            done = member.end
            spool.write(bytes(-spool.tell() % PAGE_BYTES))
            yield evolve(member, text_at=text_at)
        forget(data)
        progress(min(begin + _TOLD_BYTES, len(data)) / len(data))
    spool.truncate()
    spool.flush()


def _overlap(parts: Sequence[tuple[int, int]], begins: Sequence[int], member: Member) -> int:
    overlap = 0
    for begin, end in parts[max(bisect_right(begins, member.at) - 1, 0) :]:
        if begin >= member.end:
            break
        overlap += max(min(end, member.end) - max(begin, member.at), 0)
    return overlap


def _opened(data: Data, at: int, spool: IO[bytes]) -> Member | None:
    """The member that begins there, if there is a whole one; its text goes to where the spool is."""
    begin = at + _header_bytes(data[at : at + _HEADER_BYTES_MAX])
    level = _LEVELS.get(data[at + 8]) if at + 8 < len(data) else None
    if begin == at or level is None:
        return None
    opener, read, text_bytes, check = zlib.decompressobj(-zlib.MAX_WBITS), begin, 0, 0
    try:
        while not opener.eof:
            piece = opener.unconsumed_tail
            if not piece:
                piece = data[read : read + _STEP_BYTES]
                read += len(piece)
            text = opener.decompress(piece, _STEP_BYTES)
            if not piece and not text:
                return None
            check = zlib.crc32(text, check)
            text_bytes += len(text)
            if text_bytes > TOGETHER_BYTES_MAX or read - begin > OUTPUT_BYTES_MAX:
                return None
            spool.write(text)
    except zlib.error:
        return None
    end = read - len(opener.unused_data)
    trailer = check.to_bytes(4, "little") + (text_bytes & 0xFFFFFFFF).to_bytes(4, "little")
    if not text_bytes or data[end : end + _TRAILER_BYTES] != trailer:
        return None
    return Member(begin, end + _TRAILER_BYTES - begin, level, 0, text_bytes)


def _header_bytes(head: bytes) -> int:
    """Length of a header (RFC 1952, 2.3); 0 where it is none."""
    flags, end = head[3], _HEADER_BYTES
    if flags & _EXTRA:
        end += 2 + int.from_bytes(head[end : end + 2], "little")
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            end = head.find(b"\0", end) + 1
            if not end:
                return 0
    end += 2 if flags & _HEADER_CRC else 0
    return end if end <= len(head) else 0


def _made_again(
    new: Data, texts: Data, members: Sequence[Member], threads: int, progress: Callable[[float], None]
) -> Iterator[Member]:
    """Those that gzip makes again bit for bit."""
    all_bytes, done_bytes, lock = sum(member.packed_bytes for member in members), 0, Lock()

    def tell(more_bytes: int) -> None:
        nonlocal done_bytes
        with lock:
            done_bytes += more_bytes
            progress(done_bytes / all_bytes)

    def is_made_again(member: Member) -> bool:
        view = memoryview(texts)
        pieces = (
            view[at : min(at + _STEP_BYTES, member.text_end)]
            for at in range(member.text_at, member.text_end, _STEP_BYTES)
        )
        packing, room = Packing(member.level, pieces), memoryview(bytearray(_STEP_BYTES))
        same = True
        for at in range(member.at, member.end, _STEP_BYTES):
            part = room[: member.end - at]
            same = same and packing.take(part) and part == new[at : at + len(part)]
            tell(len(part))
        return packing.end() and same

    with ThreadPoolExecutor(threads) as pool:
        for member, made_again in zip(members, pool.map(is_made_again, members), strict=True):
            if made_again:
                yield member


def _apart(members: Iterator[Member]) -> Iterator[Member]:
    """Without those that would chain too many blocks together: one segment makes all members that share blocks."""
    first = last = -1
    text_bytes = 0
    for member in members:
        begin, end = member.at // BLOCK_BYTES, (member.end - 1) // BLOCK_BYTES
        if begin > last:
            first, text_bytes = begin, 0
        chain_bytes, chain_text_bytes = (end + 1 - first) * BLOCK_BYTES, text_bytes + member.text_bytes
        if chain_bytes <= OUTPUT_BYTES_MAX and chain_text_bytes <= TOGETHER_BYTES_MAX:
            last, text_bytes = end, chain_text_bytes
            yield member


def _with_packed(spans: Sequence[Span], members: Sequence[Member]) -> Iterator[Span]:
    coming = iter(members)
    member = next(coming, None)
    for whole in spans:
        span: Span | None = whole
        while span is not None:
            if member is None or span.end <= member.at:
                yield span
                break
            if span.at < member.at:
                yield evolve(span, length_bytes=member.at - span.at)
            if span.end < member.end:
                break
            yield Span(member.at, member.packed_bytes, Origin.PACKED, member=member)
            span, member = _behind(span, member.end), next(coming, None)


def _behind(span: Span, at: int) -> Span | None:
    """What is left of a span from there on."""
    skipped = at - span.at
    if skipped == span.length_bytes:
        return None
    source = span.source + skipped if span.origin is Origin.COPY else 0
    return Span(at, span.length_bytes - skipped, span.origin, source)
