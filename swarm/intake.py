"""The one way into the store: every record, wherever it came from, is offered here and its outcome turned
into effects."""

from __future__ import annotations

import hashlib

from swarm.effects import Equivocation, RecordAccepted, RecordForgotten, Refused, SwarmEffect
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.news.store import RecordStore, Standing
from swarm.trust.trusted_set import MANIFEST_KIND
from swarm.wire import Have, Push, fits_datagram

REFUSED_REMEMBERED = 256
"""Records refused lately: a repeat costs a hash, not a signature check. Longer memory costs 64 bytes each."""


class Intake:
    """Offers records to the store."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._refused: dict[bytes, str] = {}

    def offer(self, record: Record, source: str) -> tuple[bool, list[SwarmEffect]]:
        """Take in a record that a peer gave. True if it is news, with what has to be done about it.

        A refused record is an effect, never an error: it is the peer's fault.
        """
        name = hashlib.sha256(record.encode()).digest()[:16]
        if name in self._refused:
            return False, [Refused("record", self._refused[name], source)]
        try:
            news, effects = self.publish(record)
        except RefusedError as error:
            self._refused[name] = str(error)
            if len(self._refused) > REFUSED_REMEMBERED:
                del self._refused[next(iter(self._refused))]
            return False, [Refused("record", str(error), source)]
        older = self._older_manifest(record)
        return news, [*effects, Refused("record", older, source)] if older else effects

    def _older_manifest(self, record: Record) -> str | None:
        """What to say of a manifest that has been replaced. Status records overtake each other all the time; yesterday's
        manifest comes from a peer that is far behind, or from somebody who wants nodes to go back. The words name nothing
        that came with the record: nobody can make many different ones."""
        held = self._store.get(record.kind, record.key) if record.kind == MANIFEST_KIND else None
        if held is None or held.sequence <= record.sequence:
            return None
        channel = record.key.decode(errors="replace")
        return f"manifest of channel {channel} is older than manifest {held.sequence}, which this node has"

    def publish(self, record: Record) -> tuple[bool, list[SwarmEffect]]:
        """As `offer`, for a record from this machine: raises `RefusedError` to whoever published it."""
        outcome = self._store.offer(record)
        if not outcome.news:
            return False, []
        effects: list[SwarmEffect] = [RecordForgotten(kind, key) for kind, key in outcome.forgotten]
        if outcome.standing is Standing.DISPUTED:
            entry = self._store.get(record.kind, record.key)
            if entry is not None and len(entry.records) == 2:
                effects.append(Equivocation((entry.records[0], entry.records[1])))
        else:
            effects.append(RecordAccepted(record))
        return True, effects

    def telling(self, record: Record) -> Push | Have:
        """How to tell others about a record of the store: whole, or by name if it fits no datagram."""
        push = Push(record)
        if fits_datagram(push):
            return push
        entry = self._store.get(record.kind, record.key)
        hash8 = entry.hash8 if entry is not None else record.content_hash[:8]
        return Have(record.kind, record.key, record.sequence, hash8)
