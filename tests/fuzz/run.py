"""Feeds every decoder with mutated inputs, in as many processes as asked for.

Whatever escapes that is not our own error, and whatever takes more memory than it may, is told with its input.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import random
import resource
import time
import tracemalloc
from collections.abc import Sequence

from attrs import Factory, define, frozen

from tests.fuzz.decoders import MIB, Decoder, decoders
from tests.fuzz.mutation import inputs

WEIGHED_EVERY = 200
"""One input in so many is read under tracemalloc, which makes it ten times slower."""
GROWTH_BYTES_MAX = 64 * MIB
"""How much more a process may hold in the end than after its first inputs: what leaks a little is seen too."""
WARM_INPUTS = 300
ESCAPED_MAX = 5


@frozen
class Escape:
    """Something that must not be."""

    decoder: str
    what: str
    data: str
    """Hex."""


@define
class Tally:
    """What one decoder was fed with in one process."""

    name: str
    count: int = 0
    accepted: int = 0
    took_s: float = 0.0
    peak_bytes: int = 0
    memory_bytes_max: int = 0
    escapes: list[Escape] = Factory(list)


def shares(all_decoders: Sequence[Decoder], count: int) -> list[int]:
    """How many inputs each decoder gets, by weight; `count` of them or a few more."""
    total = sum(decoder.weight for decoder in all_decoders)
    return [math.ceil(count * decoder.weight / total) for decoder in all_decoders]


def feed(decoder: Decoder, count: int, seed: str) -> Tally:
    """Feed one decoder."""
    rng = random.Random(seed)
    tally = Tally(decoder.name, memory_bytes_max=decoder.memory_bytes_max)
    began_s = time.monotonic()
    for good in decoder.seeds:
        with contextlib.suppress(*decoder.errors):
            decoder.read(good)  # what is made once, such as converters, is no input's memory
    for number in range(count):
        data = inputs(rng, decoder.seeds, decoder.structure)
        weighed = number % WEIGHED_EVERY == 0
        if weighed:
            tracemalloc.start()
        try:
            decoder.read(data)
            tally.accepted += 1
        except decoder.errors:
            pass
        except Exception as error:
            tally.escapes.append(Escape(decoder.name, f"{type(error).__name__}: {error!s:.200}", data.hex()))
        if weighed:
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            tally.peak_bytes = max(tally.peak_bytes, peak_bytes)
            if peak_bytes > decoder.memory_bytes_max + 64 * len(data):
                tally.escapes.append(Escape(decoder.name, f"took {peak_bytes} bytes", data.hex()))
        tally.count += 1
        if len(tally.escapes) >= ESCAPED_MAX:
            break
    tally.took_s = time.monotonic() - began_s
    return tally


def feed_all(counts: Sequence[int], seed: str) -> list[Tally]:
    """Feed every decoder in this process."""
    known = decoders()
    for decoder in known:
        feed(decoder, WARM_INPUTS, f"{seed} warm")
    before_bytes = _most_resident()
    tallies = [
        feed(decoder, count, f"{seed} {decoder.name}") for decoder, count in zip(known, counts, strict=True)
    ]
    growth_bytes = _most_resident() - before_bytes
    if growth_bytes > GROWTH_BYTES_MAX:
        tallies[-1].escapes.append(Escape("all", f"the process grew by {growth_bytes} bytes", ""))
    return tallies


def _most_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(count: int, seed: int, processes: int, only: str = "") -> list[Tally]:
    """Feed all decoders with about `count` inputs, spread over processes; the sum for each decoder."""
    known = decoders()
    counts = shares(known, count)
    if only:
        counts = [count if decoder.name == only else 0 for decoder in known]
    each = [[-(-number // processes) for number in counts] for _ in range(processes)]
    arguments = [(part, f"{seed}.{process}") for process, part in enumerate(each)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        results = pool.starmap(feed_all, arguments)
    return [sum_of(tallies) for tallies in zip(*results, strict=True)]


def sum_of(tallies: Sequence[Tally]) -> Tally:
    """What several processes, or rounds, fed one decoder with."""
    total = Tally(tallies[0].name, memory_bytes_max=tallies[0].memory_bytes_max)
    for tally in tallies:
        total.count += tally.count
        total.accepted += tally.accepted
        total.took_s += tally.took_s
        total.peak_bytes = max(total.peak_bytes, tally.peak_bytes)
        total.escapes += tally.escapes
    return total
