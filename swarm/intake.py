"""The one way into the store: every record, wherever it came from, is offered here and its outcome turned
into effects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from swarm.effects import Equivocation, RecordAccepted, RecordForgotten, Refused, SwarmEffect
from swarm.errors import NotYetError, Reason, RefusedError
from swarm.news.record import Record
from swarm.news.store import Outcome, RecordStore, Standing
from swarm.roll import ROLL_KINDS, Roll
from swarm.switching import SWITCH_KIND
from swarm.trust.freshness import FRESH_KIND
from swarm.trust.root import ROOT_KIND
from swarm.trust.tokens import MEMBER_KIND, REVOKE_KIND, TOKEN_KIND
from swarm.trust.trusted_set import MANIFEST_KIND, TrustedSet
from swarm.wire import Have, Push, fits_datagram

REFUSED_REMEMBERED = 256
"""Records refused lately: a repeat costs a hash, not a signature check. Longer memory costs 64 bytes each."""

JUDGED_BY_ROOT = (TOKEN_KIND, REVOKE_KIND, FRESH_KIND, MANIFEST_KIND, SWITCH_KIND)
"""Kinds whose signers the trust root names."""


class Intake:
    """Offers records to the store."""

    def __init__(
        self, store: RecordStore, roll: Roll | None = None, trusted: TrustedSet | None = None
    ) -> None:
        self._store = store
        self._trusted = trusted
        self._roll = roll
        self._refused: dict[bytes, tuple[str, Reason]] = {}

    def offer(self, record: Record, source: str) -> tuple[bool, list[SwarmEffect]]:
        """Take in a record that a peer gave. True if it is news, with what has to be done about it.

        A refused record is an effect, never an error: it is the peer's fault.
        """
        name = hashlib.sha256(record.encode()).digest()[:16]
        if name in self._refused:
            words, reason = self._refused[name]
            return False, [Refused("record", words, source, reason)]
        try:
            standing, effects = self.publish(record)
        except NotYetError as error:
            return False, [Refused("record", str(error), source, error.reason)]
        except RefusedError as error:
            self._refused[name] = str(error), error.reason
            if len(self._refused) > REFUSED_REMEMBERED:
                del self._refused[next(iter(self._refused))]
            return False, [Refused("record", str(error), source, error.reason)]
        older = self._older_manifest(record)
        news = standing in (Standing.NEW, Standing.DISPUTED)
        return news, [*effects, Refused("record", older, source, Reason.OLDER)] if older else effects

    def _older_manifest(self, record: Record) -> str | None:
        """What to say of a manifest that has been replaced. Status records overtake each other all the time; yesterday's
        manifest comes from a peer that is far behind, or from somebody who wants nodes to go back. The words name nothing
        that came with the record: nobody can make many different ones."""
        held = self._store.get(record.kind, record.key) if record.kind == MANIFEST_KIND else None
        if held is None or held.sequence <= record.sequence:
            return None
        channel = record.key.decode(errors="replace")
        return f"manifest of channel {channel} is older than manifest {held.sequence}, which this node has"

    def publish(self, record: Record) -> tuple[Standing, list[SwarmEffect]]:
        """As `offer`, for a record from this machine: raises `RefusedError` to whoever published it."""
        if self._roll is not None:
            self._roll.check(record)
        outcome = self._store.offer(record)
        if not outcome.news:
            return outcome.standing, []
        effects: list[SwarmEffect] = [RecordForgotten(kind, key) for kind, key in outcome.forgotten]
        if outcome.standing is Standing.DISPUTED:
            entry = self._store.get(record.kind, record.key)
            if entry is not None and len(entry.records) == 2:
                effects.append(Equivocation((entry.records[0], entry.records[1])))
        else:
            effects.append(RecordAccepted(record))
        if record.kind == ROOT_KIND and self._trusted is not None:
            return outcome.standing, effects + self._follow(record, self._trusted)
        return outcome.standing, effects + self._fallen(record, outcome)

    def _follow(self, record: Record, trusted: TrustedSet) -> list[SwarmEffect]:
        """From here on everything is judged by this root, also what is held, and what was refused may come again.

        So a key that was abused loses all it did once it is rotated out, were it the highest sequence there is (TUF 5.3.11).
        """
        if not trusted.advance(record):
            return []
        self._refused.clear()
        fallen, left = self._store.rejudge(JUDGED_BY_ROOT)
        effects: list[SwarmEffect] = [RecordForgotten(kind, key) for kind, key in fallen]
        effects += [RecordAccepted(settled) for settled in left]
        return effects + (self.let_go(self._roll.fallen()) if self._roll is not None else [])

    def _fallen(self, record: Record, outcome: Outcome) -> list[SwarmEffect]:
        """What does not count any more, now that this record is held, is let go."""
        if self._roll is None:
            return []
        if record.kind in ROLL_KINDS:
            return self.let_go(self._roll.fallen())
        if record.kind == MEMBER_KIND:
            return self.let_go(self._roll.fallen_with([record.key, *(key for _, key in outcome.forgotten)]))
        return []

    def let_go(self, fallen: Iterable[tuple[str, bytes]]) -> list[SwarmEffect]:
        """Drop these (kind, key)."""
        return [RecordForgotten(kind, key) for kind, key in fallen if self._store.forget(kind, key)]

    def telling(self, record: Record) -> Push | Have:
        """How to tell others about a record of the store: whole, or by name if it fits no datagram."""
        push = Push(record)
        return push if fits_datagram(push) else Have(*self._store.row(record))
