"""In which order the pieces of something streamed are asked for: what can be used next comes first, but not too much of it."""

from __future__ import annotations

FIRST = 7
"""libtorrent's highest priority; 4 is that of all other pieces. A piece with it is asked for before one that a quarter as many
peers have."""
BEGINNING_BYTES = 1024 * 1024
"""So much is asked for before all else to begin with: a parcel's header, without which nothing can be made of it, and its first
segment. More: sites ask for the same, and have less to give each other. Less: a header may come at the very end."""
AHEAD_BYTES = 16 * 1024 * 1024
"""And so much from what is missing on, where it comes fast. Elsewhere the line is what is waited for: 32 MiB to four sites (20
Mbit/s each), asked for like this all the time, took 50.5 s and not 40.9. Less: what a fast line brings between two looks comes in
any order. A parcel of 260 MB from a peer on loopback, in no order, was here as a whole before the second of its 191 segments
could be made, 1.4 s later."""
FAST_BYTES = AHEAD_BYTES // 4
"""What comes so fast from one look to the next that all that was asked for first may be here before long: 20 MB/s and more."""


def pieces_of(count_bytes: int, piece_bytes: int) -> int:
    """How many pieces so many bytes are."""
    return -(-count_bytes // piece_bytes)
