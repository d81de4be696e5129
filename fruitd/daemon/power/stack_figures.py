"""The history of what was measured of a stack's bays: from sweeps to rows on disk, and to answers of the API (docs/api.md).

Loaded only where a bus is configured.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from fruitd.errors import RetryError
from fruitd.logs import get_logger
from fruitd.power.averages import QUARTER_S, Averages, Row, Sums
from fruitd.power.seen import BaySeen
from fruitd.state.figures import FigureStore
from hw.pistack.commands import BOARDS_MAX
from swarm.power import BAYS, Place

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

POINTS_MAX = 14 * 24 * 4
"""Of all bays in one answer: two weeks of one bay, every quarter of an hour. More: an answer takes more memory than all else that
power needs."""
Json = dict[str, Any]
log = get_logger(room="stack")


class StackFigures:
    """One for each daemon that is configured to have a bus."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._averages = Averages()
        self._store = FigureStore(daemon.config.node.state_dir)
        self._trouble = ""

    async def swept(self, bays: list[BaySeen], now_s: float) -> None:
        """A sweep has ended, at this steady time; about every quarter of an hour this writes."""
        rows = self._averages.swept(bays, now_s, self._daemon.time.wall_s())
        if rows:
            await trio.to_thread.run_sync(self._write, rows)

    def save_at_end(self) -> None:
        """The daemon ends in order: what it has measured since the last write is not lost."""
        time = self._daemon.time
        rows = self._averages.ended(time.now_s(), time.wall_s())
        if rows:
            self._write(rows)

    def _write(self, rows: list[Row]) -> None:
        """Where it cannot be written these rows are lost, and nothing else; told once until it works again."""
        daemon = self._daemon
        try:
            if not daemon.state.has_room():
                raise RetryError("the disk is full")
            self._store.add(rows, daemon.time.wall_s())
        except RetryError as error:
            if not self._trouble:
                log.warning("what was measured of the bays is not kept", why=str(error))
            self._trouble = str(error)
        else:
            self._trouble = ""
        self._tell_notes()

    def _tell_notes(self) -> None:
        while self._store.notes:
            log.warning("history of the bays begun anew", why=self._store.notes.pop(0))

    # ------------------------------------------------------------------ what is shown

    async def history(self, hours: int, place: Place | None, points: int) -> Json:
        """The last hours, of every bay or of one, in at most so many points for each. Raises `RetryError`."""
        daemon = self._daemon
        asked = 1 if place is not None else BAYS * (len(daemon.config.stack.boards) or BOARDS_MAX)
        points = max(1, min(points, POINTS_MAX // asked))
        period_s = hours * 3600
        span_s = math.ceil(period_s / points / QUARTER_S) * QUARTER_S
        count = math.ceil(period_s / span_s)
        until_s = (int(daemon.time.wall_s()) // QUARTER_S + 1) * QUARTER_S
        since_s = until_s - count * span_s
        rows = await trio.to_thread.run_sync(self._store.spans, since_s, span_s, count, place)
        self._tell_notes()
        found: dict[Place, list[Json]] = {}
        totals: dict[Place, Sums] = {}
        for row in rows:
            found.setdefault(row.place, []).append({"at_s": row.at_s, **_figures(row.sums)})
            totals.setdefault(row.place, Sums()).add(row.sums)
        seats = self._seats()
        return {
            "stack": daemon.config.stack.name,
            "owns": daemon.power.own.owns,
            "trouble": daemon.power.trouble or self._trouble,
            "since_s": since_s,
            "until_s": until_s,
            "span_s": span_s,
            "bays": [
                {"bay": str(at), **seats.get(at, _NOBODY), **_figures(totals[at]), "points": found[at]}
                for at in sorted(found)
            ],
        }

    def _seats(self) -> dict[Place, Json]:
        """Who sits where now."""
        owner, name_of = self._daemon.power.owner, self._daemon.power.name_of
        bays = owner.bays(self._daemon.time.now_s()) if owner is not None else []
        return {b.place: {"node": b.node_id.hex(), "name": name_of(b.node_id)} for b in bays if b.node_id}


_NOBODY: Json = {"node": None, "name": ""}


def _figures(sums: Sums) -> Json:
    return {
        "watched_s": round(sums.watched_s, 1),
        "measured_s": round(sums.watts.known_s, 1),
        "energy_j": round(sums.watts.area, 1) if sums.watts.known_s else None,
        "watts_mean": _rounded(sums.watts.value),
        "watts_max": _rounded(sums.watts_max),
        "volts_mean": _rounded(sums.volts.value),
        "volts_min": _rounded(sums.volts_min),
        "amperes_mean": _rounded(sums.amperes.value),
        "powered_share": _rounded(sums.powered.value),
        "beat_share": _rounded(sums.beats.value),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
