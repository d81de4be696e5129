"""In which order the pieces of something streamed are asked for: what can be used next comes first, but not too much of it."""

from __future__ import annotations

FIRST = 7
"""libtorrent's highest priority; 4 is that of all other pieces. A piece with it is asked for before one that a quarter as many
peers have, so what is rare in a site still spreads early."""
BEGINNING_BYTES = 1024 * 1024
"""So much is asked for before all else to begin with: a parcel's header, without which nothing can be made of it, and its first
segment. More: sites ask for the same, and have less to give each other. Less: a header may come at the very end."""
AHEAD_BYTES = 16 * 1024 * 1024
"""And no more than this later on: nodes that ask for the same in any order of so many pieces have enough to give each other.
Less: what a fast line brings between two looks comes in any order. A parcel of 260 MB from a peer on loopback, in no order, was
here as a whole before the second of its 191 segments could be made, 1.4 s later."""


def first_until(here: int, piece_bytes: int) -> int:
    """The piece up to which all that is missing is asked for first, where so many from the beginning on are here.

    As much ahead as has come: so a slow line brings the header early, and a fast one is not asked for a little at a time.
    """
    ahead_bytes = min(max(BEGINNING_BYTES, here * piece_bytes), AHEAD_BYTES)
    return here - (-ahead_bytes // piece_bytes)
