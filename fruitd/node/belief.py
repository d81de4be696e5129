"""From what the node believes to what its updater is told: one review, whatever has changed. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fruitd.node.offer import nothing_for, target_of
from fruitd.node.settings import NodeSettings
from fruitd.node.standing import Standing, manifest_of, standing
from fruitd.updater import events as tell
from fruitd.updater.effects import Note
from fruitd.updater.journal import Journal, State
from fruitd.updater.table import WORKING
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.trust.manifest import Manifest
from swarm.trust.trusted_set import TrustedSet

Told = tell.ReleaseKeys | tell.Withdrawn | tell.Disputed | tell.Settled | tell.Offered | Note


class Belief:
    """What the node believes, and what its updater knows of it."""

    def __init__(self, settings: NodeSettings, store: RecordStore, trusted: TrustedSet) -> None:
        self._settings = settings
        self._store = store
        self._trusted = trusted
        self._root_version: int | None = None
        self._keys: frozenset[bytes] | None = None
        self._manifest: Record | None = None
        self._offered: bytes | None = None
        self._held_back: str | None = None

    def standing(self, wall_s: float) -> Standing:
        """Where the node stands at this calendar time."""
        return standing(self._store, self._trusted, self._settings.channel, wall_s)

    def manifest(self) -> tuple[Record, Manifest] | None:
        """The newest undisputed manifest of this node's channel."""
        return manifest_of(self._store, self._settings.channel)

    def review(self, journal: Journal | None, wall_s: float) -> Iterator[Told]:
        """What has changed since the last review, for the updater and the history.

        Args:
            journal: the updater's as it was before; None on a node without slots.
            wall_s: calendar time, never below the clock's floor.
        """
        now = self.standing(wall_s)
        if self._root_version not in (None, now.root_version):
            yield Note("trust root", f"trust root {now.root_version} is followed now")
        self._root_version = now.root_version
        if now.held_back != self._held_back:
            yield (
                Note("held back", now.held_back)
                if now.held_back
                else Note("held back", "no longer: what is held is current")
            )
            self._held_back = now.held_back
        if journal is None:
            return
        if self._trusted.release_keys != self._keys:
            self._keys = self._trusted.release_keys
            self._offered = None  # what was refused under the old keys is judged anew
            yield tell.ReleaseKeys(frozenset(key.hex() for key in self._keys))
        yield from self._disputes(now, journal)
        found = self.manifest()
        if found is None and now.disputed is None and self._is_withdrawn(journal):
            yield tell.Withdrawn(
                f"under trust root {now.root_version} nothing that is believed names it any more"
            )
        self._manifest = found[0] if found is not None else None
        if found is None:
            self._offered = None
        elif now.disputed is None and now.held_back is None:
            yield from self._offer(*found)

    def _disputes(self, now: Standing, journal: Journal) -> Iterator[Told]:
        if now.disputed is not None and journal.disputed_why != now.disputed:
            self._offered = None
            yield tell.Disputed(now.disputed)
        elif now.disputed is None and journal.disputed_why is not None:
            yield tell.Settled()

    def _is_withdrawn(self, journal: Journal) -> bool:
        """True where a manifest was there and is gone, or, after a restart, work is under way that none speaks of."""
        under_way = journal.state in (*WORKING, State.WAITING) and journal.target is not None
        return self._manifest is not None or under_way

    def _offer(self, record: Record, manifest: Manifest) -> Iterator[Told]:
        if record.content_hash == self._offered:
            return
        self._offered = record.content_hash
        resource, hardware = self._settings.resource, self._settings.hardware
        release = manifest.release_for(resource, hardware)
        if release is None:
            yield Note("not for this node", nothing_for(record.sequence, manifest, resource, hardware))
        else:
            yield tell.Offered(target_of(release))
