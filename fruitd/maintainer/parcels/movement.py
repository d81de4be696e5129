"""Which bytes of a new image are zero, which lie somewhere in the older one, and which are fresh. By content, never by offset.

Two looks. The first takes both images in pages of 4 KiB, as file systems lay files out. The second takes what the first has left:
it stops at *anchors*, places that the bytes themselves choose (about one in 4 KiB), looks where the older image has the same
32 bytes, and goes on from there as far as the two are equal, to the byte. That finds what moved within compressed file systems.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import blake2b

from fruitd.maintainer.parcels.mapping import Data, forget
from fruitd.maintainer.parcels.spans import Span
from swarm.parcel.recipe import Origin

PAGE_BYTES = 4096
COPY_BYTES_MIN = 2048
"""A copy found by an anchor. Shorter ones cost about as much to name as zstd takes for them with the right dictionary."""
ANCHOR_CONTEXT_BYTES = 32
_ZEROS = bytes(PAGE_BYTES)
_TOLD_BYTES = 32 * 1024 * 1024


def byte_class(salt: int) -> bytes:
    """A pattern for one byte: 16 of the 256, spread so that text, code and compressed bytes all have some of them."""
    return b"[" + b"".join(re.escape(bytes([(167 * n + salt) % 256])) for n in range(16)) + b"]"


_ANCHOR = re.compile(byte_class(3) + byte_class(11) + byte_class(7), re.DOTALL)


def spans_of(old: Data, new: Data, progress: Callable[[int], None] = lambda done: None) -> list[Span]:
    """The new image as spans, in order and without a gap.

    Args:
        old: the older image; empty: there is none.
        new: not empty.
        progress: called with bytes looked at, up to twice both lengths.

    Memory: some 150 bytes for each page of the older image that is not zero, and as much for each span.
    """
    joined: list[Span] = []
    for span in _by_anchor(old, new, _by_page(old, new, progress), progress):
        last = joined[-1] if joined else None
        if last is not None and _continues(last, span):
            joined[-1] = Span(last.at, last.length_bytes + span.length_bytes, last.origin, last.source)
        else:
            joined.append(span)
    return joined


def _continues(last: Span, span: Span) -> bool:
    return last.origin is span.origin and (
        span.origin is not Origin.COPY or last.source + last.length_bytes == span.source
    )


def _by_page(old: Data, new: Data, progress: Callable[[int], None]) -> Iterator[Span]:
    where: dict[bytes, int] = {}
    for at in range(0, len(old), PAGE_BYTES):
        page = old[at : at + PAGE_BYTES]
        if page != _ZEROS:
            where.setdefault(_name(page), at)
        if not at % _TOLD_BYTES:
            forget(old)
            progress(at)
    expected = -1  # where the older image goes on as the new one did so far
    for at in range(0, len(new), PAGE_BYTES):
        page = new[at : at + PAGE_BYTES]
        if not at % _TOLD_BYTES:
            forget(old, new)
            progress(len(old) + at)
        if page == _ZEROS[: len(page)]:
            yield Span(at, len(page), Origin.ZEROS)
            expected += len(page) if expected >= 0 else 0
            continue
        if expected < 0 or old[expected : expected + len(page)] != page:
            expected = where.get(_name(page), -1)
        if expected >= 0 and old[expected : expected + len(page)] == page:
            yield Span(at, len(page), Origin.COPY, expected)
            expected += len(page)
        else:
            yield Span(at, len(page), Origin.FRESH)
            expected = -1


def _name(page: bytes) -> bytes:
    return blake2b(page, digest_size=8).digest()


def _by_anchor(
    old: Data, new: Data, spans: Iterator[Span], progress: Callable[[int], None]
) -> Iterator[Span]:
    anchors: dict[bytes, int] | None = None
    fresh_at, fresh_end = 0, 0
    for span in spans:
        if span.origin is Origin.FRESH:
            fresh_at = fresh_at if fresh_end == span.at else span.at
            fresh_end = span.end
            continue
        if fresh_at < fresh_end:
            anchors = _anchors(old) if anchors is None else anchors
            yield from _anchored(old, new, fresh_at, fresh_end, anchors)
        fresh_at = fresh_end = span.end
        progress(len(old) + len(new) + span.end)
        yield span
    if fresh_at < fresh_end:
        yield from _anchored(old, new, fresh_at, fresh_end, _anchors(old) if anchors is None else anchors)


def _anchors(old: Data) -> dict[bytes, int]:
    anchors: dict[bytes, int] = {}
    for begin in range(0, len(old), _TOLD_BYTES):
        for match in _ANCHOR.finditer(old, begin, begin + _TOLD_BYTES):
            at = match.start()
            anchors.setdefault(old[at : at + ANCHOR_CONTEXT_BYTES], at)
        forget(old)
    return anchors


def _anchored(old: Data, new: Data, at: int, end: int, anchors: dict[bytes, int]) -> Iterator[Span]:
    for match in _ANCHOR.finditer(new, at, end):
        anchor = match.start()
        source = anchors.get(new[anchor : anchor + ANCHOR_CONTEXT_BYTES]) if anchor >= at else None
        if source is None:
            continue
        before = _equal_before(old, new, source, anchor, min(source, anchor - at))
        after = _equal_after(old, new, source, anchor, min(len(old) - source, end - anchor))
        if before + after < COPY_BYTES_MIN:
            continue
        if anchor - before > at:
            yield Span(at, anchor - before - at, Origin.FRESH)
        yield Span(anchor - before, before + after, Origin.COPY, source - before)
        at = anchor + after
    if at < end:
        yield Span(at, end - at, Origin.FRESH)


def _equal_after(old: Data, new: Data, source: int, at: int, most: int) -> int:
    """How many bytes from here on are equal, up to `most`."""
    equal, step = 0, PAGE_BYTES
    while equal < most:
        step = min(step, most - equal)
        if old[source + equal : source + equal + step] == new[at + equal : at + equal + step]:
            equal += step
        elif step == 1:
            break
        else:
            step //= 2
    return equal


def _equal_before(old: Data, new: Data, source: int, at: int, most: int) -> int:
    """How many bytes before here are equal, up to `most`."""
    equal, step = 0, PAGE_BYTES
    while equal < most:
        step = min(step, most - equal)
        if old[source - equal - step : source - equal] == new[at - equal - step : at - equal]:
            equal += step
        elif step == 1:
            break
        else:
            step //= 2
    return equal
