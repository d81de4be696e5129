"""What the daemon takes from the system for a moment goes back to it at once, and what it has no use for is not kept."""

from __future__ import annotations

import ctypes
import gc
import linecache

_M_MMAP_THRESHOLD = -3
"""From glibc's malloc.h."""
_M_ARENA_MAX = -8
"""Likewise."""
_MAPPED_BYTES_MIN = 1024 * 1024
"""Smaller costs a system call and fresh pages for each chunk that is read; larger keeps more of what a segment took."""


def keep_heap_small() -> None:
    """One heap for all threads, and parts of 1 MiB and more mapped, one by one, so that what is freed is not ours any more.

    glibc by itself raises that bound to whatever was freed last: after a few segments of a parcel, 8 MiB here and there, it kept
    34 MiB for the next ones. And it has a heap for each few threads, each with room of its own that is kept: 1.4 MiB together
    while a parcel of 1 GiB was applied. Other C libraries, such as musl, have no such call and need none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES_MIN)
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """To be called when work is done that took much memory in small parts, before more is begun. Takes 35 ms of a server's
    processor, in which nothing else of the daemon runs."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def forget_beginnings() -> None:
    """To be called when everything is loaded that a daemon needs; what it was made of is let go of.

    attrs makes the methods of a class from source, and keeps that for whoever wants to read it in a traceback: more than a MiB
    here. Classes with slots are made twice, and the first ones wait for the collector.
    """
    linecache.clearcache()
    gc.collect()
