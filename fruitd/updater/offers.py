"""Whether an offered release may become this node's next: a pure judgement with its reason in words."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from fruitd.updater.journal import Journal, Quarantine, Target

QUARANTINED_MAX = 32
"""Entries kept. Those below the highest accepted release go first: they would be refused for their age anyway."""


class Answer(Enum):
    """What becomes of an offer."""

    ACCEPTED = "accepted"
    UP_TO_DATE = "up to date"
    QUARANTINED = "quarantined"
    REFUSED = "refused"


@frozen
class Verdict:
    """The answer, and its reason for a person."""

    answer: Answer
    why: str


SUCCEEDED_MAX = 8
"""Images remembered as once committed: more than two slots and an operator's second thoughts need."""


def named(target: Target) -> str:
    """How a release is called in every message."""
    return f"release {target.release} ({target.version})"


def judge(target: Target, journal: Journal, active: str, signers: frozenset[str] | None = None) -> Verdict:
    """Judge an offer against what this node runs, has accepted and has tried; `active` is the running slot.

    `signers`: the keys that sign releases now, None where that is not known yet. The numbers of releases that others signed
    are free again.
    """
    running = journal.running(active)
    quarantine = journal.quarantine_of(target.infohash)
    if (
        running is not None
        and running.committed
        and running.target.infohash == target.infohash
        and not quarantine
    ):
        return Verdict(Answer.UP_TO_DATE, f"up to date: runs {named(running.target)}")
    if quarantine is not None:
        return Verdict(Answer.QUARANTINED, f"{named(target)} is quarantined here: {quarantine.why}")
    if target.release < journal.highest_release:
        why = f"{named(target)} is older than release {journal.highest_release}, which this node has accepted"
        return Verdict(Answer.REFUSED, why)
    known = [
        c.target
        for c in journal.slots.values()
        if c is not None and c.committed and still_signs(c.target.signer, signers)
    ]
    if any(t.release == target.release and t.infohash != target.infohash for t in known):
        why = f"{named(target)} is not the release {target.release} this node has; a release number is never reused"
        return Verdict(Answer.REFUSED, why)
    if any(q.release == target.release and still_signs(q.signer, signers) for q in journal.quarantined):
        why = f"{named(target)} reuses the number of a quarantined release; a release number is never reused"
        return Verdict(Answer.REFUSED, why)
    return Verdict(Answer.ACCEPTED, f"{named(target)} is offered")


def still_signs(signer: str, signers: frozenset[str] | None) -> bool:
    """True unless it is known that this key signs releases no more."""
    return signers is None or not signer or signer in signers


def with_success(journal: Journal, infohash: str) -> tuple[str, ...]:
    """The journal's list of images that were committed here with this one, bounded."""
    return (*(i for i in journal.succeeded if i != infohash), infohash)[-SUCCEEDED_MAX:]


def with_quarantine(journal: Journal, entry: Quarantine) -> tuple[Quarantine, ...]:
    """The journal's quarantine list with this entry, bounded; one entry for each image."""
    entries = [q for q in journal.quarantined if q.infohash != entry.infohash]
    entries.append(entry)
    while len(entries) > QUARANTINED_MAX:
        old = [q for q in entries if q.release < journal.highest_release]
        entries.remove(old[0] if old else entries[0])
    return tuple(entries)
