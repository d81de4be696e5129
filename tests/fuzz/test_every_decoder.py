"""Two million bad inputs for everything that reads what somebody else wrote; and whether the harness sees what it should."""

from __future__ import annotations

import os

import pytest

from tests.fuzz.decoders import MIB, Decoder, decoders
from tests.fuzz.run import feed, run, shares

INPUTS = 2_100_000
EACH_MIN = 15_000


@pytest.mark.fuzz
def test_nothing_but_our_own_errors_escapes_from_two_million_inputs() -> None:
    """One datagram, record, torrent or file could stop a node, or fill its memory."""
    tallies = run(INPUTS, seed=1, processes=max(2, min(4, os.cpu_count() or 2)))
    assert [escape for tally in tallies for escape in tally.escapes] == []
    assert sum(tally.count for tally in tallies) >= 2_000_000
    assert min(tally.count for tally in tallies) >= EACH_MIN, [(t.name, t.count) for t in tallies]
    # Mutations that are all refused at the first byte would show nothing; some of each must be good enough to be read.
    assert all(tally.accepted > 0 for tally in tallies), [t.name for t in tallies if not t.accepted]


def test_an_error_that_is_not_ours_is_seen() -> None:
    """The harness would let everything pass."""

    def careless(data: bytes) -> None:
        if len(data) < 4:
            raise IndexError("list index out of range")

    tally = feed(Decoder("careless", careless, [b"good input"]), 2000, "1")
    assert tally.escapes
    assert "IndexError" in tally.escapes[0].what


def test_memory_beyond_its_bound_is_seen() -> None:
    """A length that is believed would go unnoticed."""
    tally = feed(Decoder("greedy", lambda data: bytearray(3 * MIB), [b"good input"]), 2000, "1")
    assert tally.escapes
    assert "bytes" in tally.escapes[0].what


def test_every_decoder_takes_a_good_input() -> None:
    """Only noise would be tried."""
    for decoder in decoders():
        good = 0
        for seed in decoder.seeds:
            try:
                decoder.read(seed)
                good += 1
            except Exception:
                continue
        assert good, decoder.name


def test_the_shares_add_up() -> None:
    """Fewer inputs would be tried than are counted."""
    known = decoders()
    assert 0 <= sum(shares(known, 1_000_000)) - 1_000_000 <= len(known)
    assert sum(shares(known, 1)) >= 1, "a long run would never come to its end"
