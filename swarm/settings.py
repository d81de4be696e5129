"""What can be tuned in the swarm core, and what each choice costs in both directions."""

from __future__ import annotations

from attrs import frozen

from swarm.address import Address


@frozen
class SwarmSettings:
    """Where to begin, and at what pace. The defaults are for Raspberry Pis in sites of up to a hundred."""

    contacts: tuple[Address, ...] = ()
    """Addresses to begin with. Asked again and again until one answers, and whenever no peer is left."""
    beacon: bool = True
    """Multicast on the LAN. Off: only contacts and what peers tell; for networks that drop multicast."""
    fanout: int = 6
    """Peers outside the beacon's reach that get eager news. 6 reaches 99.7 % of a large swarm, 4 reaches 98
    %; the rest hears by pull, seconds later. Each one more costs every node one datagram for each piece of
    news. Source: push model in facts; tests/swarm/core/test_spread.py."""
    status_fanout: int = 3
    """As `fanout`, for records that are not urgent. Lower is cheaper, and pull closes the gap within
    minutes."""
    neighbour_fanout: int = 2
    """Neighbours that get urgent news by unicast besides the multicast, which Wi-Fi loses more often."""
    urgent_kinds: frozenset[str] = frozenset({"root", "manifest", "switch"})
    """Kinds whose news speeds up the pulling everywhere."""
    hot_rounds_s: tuple[float, ...] = (1.0, 2.5, 5.0, 9.0, 14.0)
    """When, after urgent news, a node compares stores with others. More rounds reach the last nodes sooner at
    a loss of many datagrams; each costs two small datagrams for each of `hot_peers`."""
    hot_peers: int = 2
    """Peers asked in each hot round."""
    pull_interval_s: float = 30.0
    """Between comparisons with one random far peer when quiet. Half of it doubles the idle traffic between
    sites, and halves the time until a node that missed news hears it."""
    beacon_interval_s: float = 30.0
    """Between beacons while a site is small; see `discovery.beacon.interval_s`."""
    far_peers_wanted: int = 32
    """Peers outside the beacon's reach that are looked for actively. Fewer: a thinner overlay, cut sooner
    when many vanish at once; more: more to keep alive."""
    peers_max: int = 512
    """Peers remembered at all, about 1 KiB each."""
    peers_per_host_max: int = 64
    """Peers behind one IP address: bounds what one machine can pretend to be; tests run dozens on
    loopback."""
    ping_timeout_s: float = 3.0
    """Shorter gives up on satellite links and busy Pis; longer keeps the dead in the table."""
    strikes_max: int = 3
    """Unanswered pings in a row before a peer is dropped. One lost datagram must not cost a peer."""
    stream_timeout_s: float = 10.0
    """For one request and its reply. A 64 KiB chunk in this time needs 50 kbit/s; longer lets silent peers
    hold on."""
    blob_window: int = 2
    """Ranges of a blob asked for at once. More hides round trips, and loads thin uplinks."""
    blob_give_up_s: float = 120.0
    """Until a blob nobody gives is reported as unavailable; the updater then tries again at its own pace."""
