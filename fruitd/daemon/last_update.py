"""How the last release got here: what `fruit status` shows as last_update, kept across the restart in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fruitd.daemon.origins import Origins
from fruitd.updater.journal import State, Target

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

META = "last update"


class LastUpdate:
    """Counts while an image is built, and speaks of it once the slot is committed.

    The restart into the trial comes between the two: the account is written once, when the image is whole. It is for people;
    losing it changes nothing.
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
            "took_s": round(daemon.time.now_s() - origins.began_s, 2),
            "sources": daemon.view.sources(tuple(origins.sources.values())),
        }
        words = origins.words()
        daemon.state.add_history(daemon.time.wall_s(), "came from", words, target.release, target.version)
        await self._daemon.on_disk(self._daemon.state.set_meta, META, json.dumps(self._account).encode())

    def as_json(self) -> dict[str, Any] | None:
        """The account of the release that runs and is committed; None where there is none."""
        updater, facts = self._daemon.core.updater, self._daemon.boot_facts
        if updater is None or facts is None or self._account is None:
            return None
        content = updater.journal.slots.get(facts.active)
        if content is None or not content.committed or updater.journal.state is State.TRIAL:
            return None
        return self._account if content.target.infohash == self._account["infohash"] else None

    def _load(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._daemon.state.meta(META) or b"null")
        except ValueError:
            return None
        return found if isinstance(found, dict) and "infohash" in found else None
