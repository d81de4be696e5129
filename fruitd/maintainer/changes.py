"""What a manifest changes, hardware by hardware, against the one before it, and how many known nodes would take it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from fruitd.maintainer.fleet import KnownNode
from swarm.trust.manifest import Manifest, Release


@frozen
class Change:
    """One resource on one hardware."""

    resource: str
    hardware: str
    before: Release | None
    """None: the manifest before had nothing for it, or there was none."""
    after: Release | None
    """None: it is dropped."""
    nodes: int | None
    """Known nodes of this hardware; None: no nodes are known that say their hardware."""
    keeping: tuple[tuple[str, str], ...]
    """Name, and why, of those of them that would not install `after`."""

    @property
    def would_take(self) -> int | None:
        """How many of the nodes would install `after`; None: not known."""
        return None if self.nodes is None else self.nodes - len(self.keeping)

    @property
    def same(self) -> bool:
        """True if nothing changes here."""
        return self.before == self.after


def changes(
    before: Manifest | None, after: Manifest, nodes: Sequence[KnownNode] | None = None
) -> tuple[Change, ...]:
    """One row for each resource and hardware that either manifest names, in their order."""
    said = [node for node in nodes or () if node.hardware is not None]
    rows = after.releases + (before.releases if before is not None else ())
    wanted = dict.fromkeys((row.resource, hardware) for row in rows for hardware in row.compatible)
    return tuple(_change(before, after, said or None, *key) for key in wanted)


def _change(
    before: Manifest | None, after: Manifest, nodes: Sequence[KnownNode] | None, resource: str, hardware: str
) -> Change:
    only = frozenset({hardware})
    old = before.release_for(resource, only) if before is not None else None
    new = after.release_for(resource, only)
    if nodes is None:
        return Change(resource, hardware, old, new, None, ())
    have = [node for node in nodes if node.fits(only)]
    reasons = [
        (node.name, "it is dropped" if new is None else node.keeps_what_it_has(new.release, new.length_bytes))
        for node in have
    ]
    return Change(resource, hardware, old, new, len(have), tuple(row for row in reasons if row[1]))
