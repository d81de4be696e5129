"""What `fruit doctor` and the status say of trust: whom the node believes, and whether it may be kept in the past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fruitd.node.standing import Standing, contradiction, day
from swarm.trust.freshness import FRESH_KIND
from swarm.trust.root import ROOT_KIND, Role
from swarm.trust.trusted_set import MANIFEST_KIND

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

EXPIRES_SOON_S = 60 * 86_400.0
"""Told this long before a trust root expires: people who sign in different places need weeks."""
Finding = tuple[bool, str, str]


def trust(daemon: Daemon) -> Finding:
    """Whom this node believes."""
    root, now = daemon.trusted.root, _standing(daemon)
    expires = f"expires on {day(root.expires_at_s)}" if root.expires_at_s else "never expires"
    found = f"swarm {root.swarm} by trust root {root.version}, which {expires}"
    if daemon.trusted.contradicted:
        entry = daemon.core.store.get(ROOT_KIND, root.key)
        words = (
            contradiction(entry.records[0]) if entry is not None else "two trust roots contradict each other"
        )
        return (
            False,
            f"{found}; {words}",
            "whoever holds the root keys has to sign and publish the next trust root",
        )
    if now.root_expired:
        return (
            False,
            found,
            "a new trust root has to be signed and published: fruit trust rotate; nothing new is installed",
        )
    if root.expired(daemon.time.wall_s() + EXPIRES_SOON_S):
        return False, found, "sign and publish the next trust root before that: fruit trust rotate"
    return True, found, ""


def current(daemon: Daemon) -> Finding:
    """Whether the manifest held is the newest there is, as far as anybody signed."""
    now, root = _standing(daemon), daemon.trusted.root
    for kind in (MANIFEST_KIND, FRESH_KIND):
        entry = daemon.core.store.get(kind, daemon.config.node.channel.encode())
        if entry is not None and entry.disputed:
            return (
                False,
                contradiction(entry.records[0]),
                "ask the maintainers to publish one with a higher sequence",
            )
    if now.held_back is not None and not now.root_expired:
        do = "check the network and the clock; ask the maintainers whether fruit freshness still runs"
        return False, now.held_back, do
    if now.current_at_s is None:
        return True, "no manifest yet", ""
    found = f"manifest {_sequence(daemon)} was current on {day(now.current_at_s)}"
    if not root.roles[Role.FRESHNESS].keys:
        return True, f"{found}; nobody holds the freshness role, so a freeze would not be noticed", ""
    until = (
        f", and counts as such until {day(now.current_until_s)}" if now.current_until_s is not None else ""
    )
    return True, found + until, ""


def as_json(daemon: Daemon) -> dict[str, Any]:
    """The part `trust` of the status; see docs/api.md."""
    root, now = daemon.trusted.root, _standing(daemon)
    return {
        "swarm": root.swarm,
        "root_version": root.version,
        "root_expires_at_s": root.expires_at_s or None,
        "root_expired": now.root_expired,
        "channel": daemon.config.node.channel,
        "manifest_sequence": _sequence(daemon),
        "current_at_s": now.current_at_s,
        "current_until_s": now.current_until_s,
        "behind": now.behind,
        "disputed": now.disputed,
        "held_back": now.held_back,
    }


def _sequence(daemon: Daemon) -> int | None:
    manifest = daemon.core.manifest()
    return manifest[0].sequence if manifest is not None else None


def _standing(daemon: Daemon) -> Standing:
    return daemon.core.standing(daemon.time.now_s())
