"""What of a libtorrent session changes as it runs: how it dials, how fast it ticks, in what order it asks for pieces, and whether
it may ask for a block twice.

Each is told to libtorrent when it changes, and only then: a change of settings wakes its thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from swarm.transfer.session_settings import (
    KNOCKING,
    KNOCKING_TCP,
    QUIET,
    RUNS_LAN_S,
    TICK_BUSY_MS,
    TICK_IDLE_MS,
)

KNOCKING_S = 10.0
"""After the last knock new connections are TCP again, which is several times as quick on a LAN. Longer: whoever of the site comes
meanwhile is dialled over uTP too. Shorter than a plain dial takes to fail, and the next one of the same peer is plain again."""


class Manner:
    """Of one session, that was started quiet and idle."""

    def __init__(self, apply: Callable[[Mapping[str, int | bool]], None]) -> None:
        """`apply` is `session.apply_settings`."""
        self._apply = apply
        self._dialling: Mapping[str, int | bool] = QUIET
        self._knocked_s = 0.0
        self._busy = False
        self._end_game = False
        self._scattered = False

    @property
    def quiet(self) -> bool:
        """TCP, and nobody is dialled by a seed."""
        return self._dialling is QUIET

    def knock(self, *, over_utp: bool) -> None:
        """Dial as long as both sides do, to open the translators in between."""
        self._knocked_s = time.monotonic()
        self._dial_as(KNOCKING if over_utp else KNOCKING_TCP)

    def rest(self) -> None:
        """Quiet again, if the last knock is long enough ago; called now and then."""
        if time.monotonic() - self._knocked_s > KNOCKING_S:
            self._dial_as(QUIET)

    def busy(self, now: bool) -> None:
        """Whether anything is being fetched."""
        if now != self._busy:
            self._busy = now
            # A gateway that has just become whole says so before it names its last piece: whoever has all the others would
            # hang up on it and dial again seconds later. With nothing to fetch, connections between the whole are let go.
            self._apply(
                {
                    "tick_interval": TICK_BUSY_MS if now else TICK_IDLE_MS,
                    "close_redundant_connections": not now,
                }
            )
        if not now:
            self.end_game(False)
            self.scatter(False)

    def end_game(self, now: bool) -> None:
        """Whether blocks may be asked for twice."""
        if now != self._end_game:
            self._end_game = now
            self._apply({"strict_end_game_mode": not now})

    def scatter(self, now: bool) -> None:
        """Whether every piece is chosen by how rare it is, as sites need that fetch from each other; or whole runs of pieces are,
        which a card writes quicker."""
        if now != self._scattered:
            self._scattered = now
            self._apply({"whole_pieces_threshold": 0 if now else RUNS_LAN_S})

    def _dial_as(self, wanted: Mapping[str, int | bool]) -> None:
        if self._dialling is not wanted:
            self._dialling = wanted
            self._apply(wanted)
