"""How the last release got here: what `fruit status` shows as last_update, kept across the restart in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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
        self._reused_bytes = 0
        self._written_bytes = 0
        self._began_s = 0.0

    def begun(self, reused_bytes: int, written_bytes: int, began_s: float) -> None:
        """The slot has been filled with what the node had."""
        self._reused_bytes = reused_bytes
        self._written_bytes = written_bytes
        self._began_s = began_s

    async def whole(self, target: Target) -> None:
        """The slot was read back whole: keep the account."""
        progress = self._daemon.jobs.final_progress(target)
        received = progress.received_bytes if progress else 0
        self._account = {
            "release": target.release,
            "version": target.version,
            "infohash": target.infohash,
            "image_bytes": target.length_bytes,
            "reused_bytes": self._reused_bytes,
            "fetched_bytes": received,
            "written_bytes": self._written_bytes + received,
            "took_s": round(self._daemon.time.now_s() - self._began_s, 2) if self._began_s else 0.0,
            "sources": self._daemon.view.sources(progress.sources) if progress else [],
        }
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
