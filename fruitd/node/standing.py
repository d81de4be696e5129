"""What a node may believe now, and whether it may begin anything new, from what it holds and what time it is. Pure.

What is signed is believed whatever the clock says; the clock only decides whether something new is begun. So a wrong clock, or
a key that signs a wrong time, can make a node wait and can never make it install anything.
"""

from __future__ import annotations

from datetime import UTC, datetime

from attrs import frozen

from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.trust.freshness import FRESH_KIND, Freshness
from swarm.trust.manifest import Manifest
from swarm.trust.root import ROOT_KIND, Role
from swarm.trust.times import TIME_S_MAX
from swarm.trust.trusted_set import MANIFEST_KIND, TrustedSet

CURRENT_FOR_S = 14 * 86_400
"""How long a manifest counts as current where somebody could say so and nobody has yet. Shorter would stop new nodes of a swarm
whose maintainers set freshness up late; longer leaves a new node in the past for longer without noticing."""
BEFORE_EXPIRY_S = 3600
"""Where no clock is set, time stands still this long before the trust root expires. Longer than clocks are looked at apart."""
_NAMED = (MANIFEST_KIND, FRESH_KIND)
"""Kinds whose keys are names."""


@frozen
class Standing:
    """What this node may believe now."""

    root_version: int
    root_expires_at_s: int
    """0: never."""
    root_expired: bool
    disputed: str | None
    """What contradicts itself, in words; nothing is installed until that is settled."""
    current_at_s: int | None
    """The newest signed time at which the manifest held was the newest; None without a manifest."""
    current_until_s: int | None
    """When to begin doubting it; None where nobody could say anything newer."""
    stale: bool
    """Past that time: whoever stands between this node and the others may keep it in the past."""
    behind: int | None
    """Sequence of a manifest that is known to exist and is not here."""
    held_back: str | None
    """Why nothing new is begun, in words; None where it may. A dispute is told apart."""

    @property
    def trouble(self) -> str | None:
        """What a person should know, worst first."""
        return self.disputed or self.held_back


def standing(store: RecordStore, trusted: TrustedSet, channel: str, wall_s: float) -> Standing:
    """Where the node stands. `wall_s`: calendar time, never below the clock's floor."""
    root = trusted.root
    manifest = manifest_of(store, channel)
    fresh = freshness_of(store, channel)
    at_s, until_s = _current(manifest, fresh) if manifest is not None else (None, None)
    if not root.roles[Role.FRESHNESS].keys:
        until_s = None
    expired = root.expired(wall_s)
    stale = until_s is not None and wall_s > until_s
    behind = fresh.manifest_sequence if fresh is not None and _names_newer(fresh, manifest) else None
    held_back = None
    if expired:
        held_back = (
            f"trust root {root.version} expired on {day(root.expires_at_s)}: nothing new is installed until the next one "
            "is signed and published (fruit trust rotate)"
        )
    elif behind is not None and fresh is not None:
        held_back = (
            f"manifest {behind} of {channel} was current on {day(fresh.at_s)} and has not reached this node, "
            "which may be kept in the past: nothing older is begun"
        )
    elif manifest is not None and fresh is not None and _contradicts(fresh, manifest[0]):
        held_back = (
            f"freshness names another manifest {fresh.manifest_sequence} of {channel} than the one held here: "
            "nothing is begun until a higher sequence settles it"
        )
    elif stale and at_s is not None:
        held_back = (
            f"nothing signed has been heard since {day(at_s)}: this node may be kept in the past; "
            "it keeps running what it has and begins nothing new"
        )
    return Standing(
        root_version=root.version,
        root_expires_at_s=root.expires_at_s,
        root_expired=expired,
        disputed=_disputed(store, trusted, channel),
        current_at_s=at_s,
        current_until_s=until_s,
        stale=stale,
        behind=behind,
        held_back=held_back,
    )


def manifest_of(store: RecordStore, channel: str) -> tuple[Record, Manifest] | None:
    """The newest manifest of a channel; None while there is none, or two contradict each other."""
    entry = store.get(MANIFEST_KIND, channel.encode())
    record = entry.record if entry is not None else None
    return (record, Manifest.decode(record.body)) if record is not None else None


def freshness_of(store: RecordStore, channel: str) -> Freshness | None:
    """The last word on what is current in a channel; None while there is none, or two contradict each other."""
    entry = store.get(FRESH_KIND, channel.encode())
    record = entry.record if entry is not None else None
    return Freshness.decode(record.body) if record is not None else None


def signed_time_s(store: RecordStore, trusted: TrustedSet) -> float:
    """The newest time that a believed fact says; 0 where none does.

    No later than `without_a_clock_s`: a key that is abused, or a maintainer's wrong clock, must not make a root expire.
    """
    records = [e.record for kind in (MANIFEST_KIND, FRESH_KIND) for e in store.entries(kind)]
    times = [_time_in(record) for record in records if record is not None]
    newest_s = max(times, default=0)
    return min(float(newest_s), without_a_clock_s(trusted))


def without_a_clock_s(trusted: TrustedSet) -> float:
    """As far as time goes by signed facts, and by what has passed since: the trust root has not expired then."""
    expires_at_s = trusted.root.expires_at_s
    return float(max(expires_at_s - BEFORE_EXPIRY_S, 0) if expires_at_s else TIME_S_MAX)


def contradiction(record: Record) -> str:
    """What to say of two valid records of one sequence."""
    key = record.key.decode(errors="replace") if record.kind in _NAMED else record.key.hex()
    where = (
        f"trust root {record.sequence}"
        if record.kind == ROOT_KIND
        else f"{record.kind} {key} {record.sequence}"
    )
    return f"two validly signed versions of {where} exist; a higher sequence has to settle it"


def day(at_s: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(min(max(at_s, 0), TIME_S_MAX), UTC).strftime("%Y-%m-%d")


def _disputed(store: RecordStore, trusted: TrustedSet, channel: str) -> str | None:
    for kind, key in ((ROOT_KIND, trusted.root.key), (MANIFEST_KIND, channel.encode())):
        entry = store.get(kind, key)
        if entry is not None and entry.disputed:
            return contradiction(entry.records[0])
    return None


def _current(manifest: tuple[Record, Manifest], fresh: Freshness | None) -> tuple[int, int]:
    """Since when, and until when, it is not in doubt that this manifest is the newest."""
    record, body = manifest
    at_s, until_s = body.issued_at_s, body.issued_at_s + CURRENT_FOR_S
    if fresh is None:
        return at_s, until_s
    if fresh.manifest_hash == record.content_hash:
        return max(at_s, fresh.at_s), max(at_s, fresh.at_s) + fresh.valid_for_s
    return at_s, at_s + fresh.valid_for_s


def _names_newer(fresh: Freshness, manifest: tuple[Record, Manifest] | None) -> bool:
    return manifest is None or fresh.manifest_sequence > manifest[0].sequence


def _contradicts(fresh: Freshness, record: Record) -> bool:
    return fresh.manifest_sequence == record.sequence and fresh.manifest_hash != record.content_hash


def _time_in(record: Record) -> int:
    if record.kind == FRESH_KIND:
        return Freshness.decode(record.body).at_s
    return Manifest.decode(record.body).issued_at_s
