"""How the last release got here and what it took: what `fruit status` shows as last_update; kept over the restart in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fruitd.amounts import update_energy
from fruitd.daemon.moving.origins import Origins
from fruitd.power.energy import Used
from fruitd.updater.journal import Journal, State, Target

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

META = "last update"
KEPT = (State.IDLE, State.COMMITTED)
"""What the last update has drawn is told with it, and not with the present one."""


class LastUpdate:
    """Counts while an image is built, and speaks of it once the slot is committed.

    The restart into the trial comes between the two: the account is written when the image is whole, and again with what the
    update has drawn where that was measured. It is for people; losing it changes nothing.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._account: dict[str, Any] | None = self._load()

    async def whole(self, target: Target) -> None:
        """The slot was read back whole: keep the account."""
        daemon = self._daemon
        origins = daemon.jobs.origins
        if origins is None or origins.infohash != target.infohash:
            origins = Origins(target.infohash, daemon.time.now_s())
        self._account = {
            "release": target.release,
            "version": target.version,
            "infohash": target.infohash,
            "image_bytes": target.length_bytes,
            "reused_bytes": origins.own_disk_bytes,
            "fetched_bytes": origins.fetched_bytes,
            "by_origin": origins.as_json(),
            "written_bytes": origins.written_bytes,
            "began_at_s": round(daemon.time.wall_s() - daemon.time.now_s() + origins.began_s, 2),
            "took_s": round(daemon.time.now_s() - origins.began_s, 2),
            "energy": None,
            "sources": daemon.view.sources(tuple(origins.sources.values())),
        }
        words = origins.words()
        daemon.state.add_history(daemon.time.wall_s(), "came from", words, target.release, target.version)
        await self._keep()

    async def over(self, used: Used) -> None:
        """The update has come to its end, whatever that was, or an operator holds it: what it has drawn."""
        daemon, journal = self._daemon, self._journal
        target = journal.target if journal is not None else None
        if journal is None or target is None:
            return
        told = self._energy_json(used, target)
        head = "the update is held and took so far" if journal.state is State.WAITING else "the update took"
        words = f"{head} {update_energy(*told.values())}"
        daemon.state.add_history(daemon.time.wall_s(), "energy", words, target.release, target.version)
        account = self._account_of(target)
        if account is None or account["energy"] is not None or journal.state is State.WAITING:
            return  # it was never whole, this was a way back to it, or it goes on
        account["energy"] = told
        await self._keep()

    def energy(self) -> dict[str, Any] | None:
        """What the present update has drawn so far, or the one that was not kept; None where that was not measured."""
        journal = self._journal
        if journal is None or journal.target is None or journal.state in KEPT:
            return None
        used = self._daemon.power.update_used()
        if used is not None:
            return self._energy_json(used, journal.target)
        account = self._account_of(journal.target)
        found: dict[str, Any] | None = account["energy"] if account is not None else None
        return found

    def as_json(self) -> dict[str, Any] | None:
        """The account of the release that runs and is committed; None where there is none."""
        updater, facts = self._daemon.core.updater, self._daemon.boot_facts
        if updater is None or facts is None or self._account is None:
            return None
        content = updater.journal.slots.get(facts.active)
        if content is None or not content.committed or updater.journal.state is State.TRIAL:
            return None
        return self._account if content.target.infohash == self._account["infohash"] else None

    @property
    def _journal(self) -> Journal | None:
        updater = self._daemon.core.updater
        return updater.journal if updater is not None else None

    def _account_of(self, target: Target) -> dict[str, Any] | None:
        account = self._account
        return account if account is not None and account["infohash"] == target.infohash else None

    def _energy_json(self, used: Used, target: Target) -> dict[str, Any]:
        """See docs/api.md, energy."""
        took_s, above_j = self._took_s(target), used.above_idle_j
        return {
            "energy_j": round(used.joules, 1),
            "measured_s": round(used.known_s, 1),
            "above_idle_j": None if above_j is None else round(above_j, 1),
            "measured_share": round(min(1.0, used.known_s / took_s), 3) if took_s is not None else None,
        }

    def _took_s(self, target: Target) -> float | None:
        """Since it began; None where that is not known, or the clock was not set since."""
        time, origins, account = self._daemon.time, self._daemon.jobs.origins, self._account_of(target)
        if origins is not None and origins.infohash == target.infohash:
            return max(time.now_s() - origins.began_s, 1.0)
        if account is None or account["began_at_s"] is None or account["energy"] or not time.clock_ok:
            return None
        return max(time.wall_s() - float(account["began_at_s"]), 1.0)

    async def _keep(self) -> None:
        await self._daemon.on_disk(self._daemon.state.set_meta, META, json.dumps(self._account).encode())

    def _load(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._daemon.state.meta(META) or b"null")
        except ValueError:
            return None
        if not isinstance(found, dict) or "infohash" not in found:
            return None
        return {"began_at_s": None, "energy": None} | found
