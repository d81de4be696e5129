"""Other sites, one row each, from what this node knows anyway: peers it has heard, and who is a member by which token.

Statuses stay in their site, so nothing here is what those nodes said about themselves under their signature, except that they
are members. No datagram is sent for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import Factory, define

from swarm.me import HOLDING_BYTES

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon
    from swarm.discovery.peers import PeerInfo

Json = dict[str, Any]


@define
class _Site:
    members: int = 0
    known: int = 0
    heard_s: float = float("-inf")
    releases: set[int] = Factory(set)


def other_sites(daemon: Daemon) -> list[Json]:
    """See docs/api.md, nodes."""
    core = daemon.core
    roll, manifest = core.membership.roll, core.manifest()
    members: dict[bytes, str] | None = None
    if roll.closed:
        members = {m.node_id: m.token.site for by_token in roll.members().values() for m in by_token}
    releases = {r.infohash[:HOLDING_BYTES]: r.release for r in (manifest[1].releases if manifest else ())}
    peers = core.swarm.peers()
    return site_rows(core.swarm.me.site, peers, members, releases, daemon.time.now_s())


def site_rows(
    own_site: str,
    peers: Iterable[PeerInfo],
    members: Mapping[bytes, str] | None,
    releases: Mapping[bytes, int],
    now_s: float,
) -> list[Json]:
    """One row for each other site, ordered by name; nodes of no named site share one.

    Args:
        own_site: "" where this node was told none.
        members: id -> site of its token, this site's too; None in a swarm where everybody counts. Then only members do.
        releases: first 8 bytes of an infohash -> the release whose image it is, of those the manifest has.
        now_s: the same clock as the peers' `heard_s`.
    """
    sites: dict[str, _Site] = {}
    mates: set[bytes] = set()
    met: dict[bytes, str] = {}
    for peer in peers:
        if peer.same_site:
            mates.add(peer.node_id)
        elif members is None or peer.node_id in members:
            name = met[peer.node_id] = peer.site or (members or {}).get(peer.node_id, "")
            site = sites.setdefault(name, _Site())
            site.known += 1
            site.heard_s = max(site.heard_s, peer.heard_s)
            site.releases |= {number for holding, number in releases.items() if peer.holds_whole(holding)}
    for node_id, named in (members or {}).items():
        name = met.get(node_id, named)
        if node_id in met or (node_id not in mates and name and name != own_site):
            sites.setdefault(name, _Site()).members += 1
    return [
        {
            "site": name,
            "members": None if members is None else site.members,
            "known": site.known,
            "heard_s_ago": None if site.heard_s == float("-inf") else round(now_s - site.heard_s, 1),
            "release": max(site.releases, default=None),
        }
        for name, site in sorted(sites.items())
    ]
