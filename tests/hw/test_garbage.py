"""Noise, echoes, late replies and broken frames: nothing wrong is ever believed, and nothing hangs."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from tests.hw.garbage import fuzz

REPLIES = int(os.environ.get("HW_FUZZ_REPLIES", "250000"))
"""A million (HW_FUZZ_REPLIES=1000000) takes two processors most of a minute, and finds nothing that a quarter does not."""
PROCESSES = max(2, os.cpu_count() or 2)
SEED = int(os.environ.get("HW_FUZZ_SEED", "1"))


@pytest.mark.fuzz
def test_damaged_replies() -> None:
    """A wrong volt, or a heartbeat lost that was there, would be believed; or noise would raise, or hold up a sweep."""
    each = -(-REPLIES // PROCESSES)
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        found = pool.starmap(fuzz, [(SEED * 1000 + number, each) for number in range(PROCESSES)])
    assert [text for _, wrong in found for text in wrong] == []
    assert sum(damaged for damaged, _ in found) >= REPLIES
