"""How the libtorrent session is set up for a small node on a LAN, and why.

Names and defaults are those of libtorrent 2.1.1. Measured figures: one peer on loopback, 1 GiB, two cores of a 2020s x86 server.
"""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import and_, ge, le

_PLAIN = 2
"""`enc_policy.pe_disabled`. BitTorrent's RC4 hides nothing from anyone and costs a Diffie-Hellman per connection."""

TICK_BUSY_MS = 100
"""Rates are dealt out at each tick; new peers are dialled once a second, at a tick (half a second after they were offered, on
average, whatever this is), but for those that a torrent starts with. Smaller costs wake-ups; larger, up to this much more before
each first byte."""
TICK_IDLE_MS = 200
"""How long the first dial of a new image may wait, since a change of pace takes effect at the next tick. Measured without
torrents: 0.03 % of a core; 100 ms costs 0.07 %, 1000 ms 0.01 %."""

QUIET = {
    # uTP is five to twenty times slower on a LAN (6 against 170 MB/s on loopback).
    "enable_outgoing_utp": False,
    # Whoever needs something dials. A seed that dials out comes back to those that banned it for rotten pieces.
    "seeding_outgoing_connections": False,
}
"""As a session is, but for the moments in which doors are opened from both sides."""
KNOCKING = dict.fromkeys(QUIET, True)
KNOCKING_TCP = {**KNOCKING, "enable_outgoing_utp": False}
"""The same where no datagram gets out."""

END_GAME_SHARE = 0.95
"""From here on a node that fetches over its uplink asks for a block that one peer owes also from another that has nothing else
for it. Smaller: blocks cross the uplink twice (from the beginning on: 1.16 images into a site, at the worst of four; from 0.9 on
1.15, in one run of five). Larger: the last blocks wait for whoever is slowest while the uplinks of others have nothing to do:
1.21 x the bound without, 1.19 x with (docs/performance.md)."""

RUNS_LAN_S = 20
"""libtorrent's default: of whoever gives a piece in less than so many seconds it asks for as many in a row as come in that time,
up to 8 MiB, rare or not, and for none of them anybody else. That is how blocks get to a card in long runs. Across uplinks it is
off: four sites held the same pieces now and then, had nothing for each other for ten seconds, and took 44 to 49 s, not 40."""

KEPT_SHARE = 0.5
"""So many more connections than `connections_max`, which no stranger can take: for nodes of this site, and for whom this node
dials. Without any, whoever knows an image's name keeps a node from giving and fetching by holding connections (measured: for as
long as he likes). More: memory, if so many nodes of the site come at once."""


@frozen
class TransferSettings:
    """What an operator can set about transfers."""

    node_id: bytes = field()
    """20 bytes; what other nodes see as the peer id."""
    host: str
    """IP literal to listen on; "0.0.0.0" is every IPv4 interface."""
    port: int = field(validator=and_(ge(0), le(65535)))
    """TCP; 0 lets the system choose."""
    connections_max: int = field(default=20, validator=and_(ge(2), le(1000)))
    """More serves more neighbours at once; fewer makes a site's tree deeper. Resident memory, measured: 1 MiB for each peer
    fetched from (19 seeds), 0.3 MiB for each peer served (20 leechers)."""
    upload_bytes_per_s: int = field(default=0, validator=ge(0))
    """Over all peers of other sites; 0 is no limit. Nodes of this site are never limited."""
    download_bytes_per_s: int = field(default=0, validator=ge(0))
    """As `upload_bytes_per_s`."""
    lan_upload_bytes_per_s: int = field(default=0, validator=ge(0))
    """To nodes of this site, all together; 0 is no limit."""
    redial_s: int = field(default=5, validator=ge(1))
    """Least pause before a peer that could not be reached is dialled again. Smaller dials the dead more often; larger finds
    late starters later."""

    map_ports: bool = False
    """Ask the router in front of this node to let strangers in: UPnP, NAT-PMP, PCP."""
    control_port: int = field(default=0, validator=and_(ge(0), le(65535)))
    """The node's other port, UDP and TCP, which is asked for too."""

    @property
    def connections_limit(self) -> int:
        """All connections, with those that are kept."""
        return self.connections_max + round(self.connections_max * KEPT_SHARE)

    @node_id.validator
    def _twenty_bytes(self, _attribute: object, value: bytes) -> None:
        if len(value) != 20:
            raise ValueError(f"a node id has 20 bytes, not {len(value)}")


def _listening(host: str, port: int) -> str:
    """What "::" is to the control port, both IP versions, is two entries to libtorrent."""
    hosts = ("0.0.0.0", "[::]") if host == "::" else (f"[{host}]" if ":" in host else host,)  # noqa: S104  as configured
    return ",".join(f"{each}:{port}" for each in hosts)


def session_settings(settings: TransferSettings, alert_mask: int) -> dict[str, int | bool | str | bytes]:
    """The settings pack of a session."""
    return {
        # Who we are. The whole peer id, so that accounts by peer id are accounts by node.
        "peer_fingerprint": settings.node_id,
        "user_agent": "fruitd",
        "listen_interfaces": _listening(settings.host, settings.port),
        # A taken port is an error to tell, not a reason to listen where nobody looks.
        "max_retry_port_bind": 0,
        "listen_system_port_fallback": False,
        # Peers come from the swarm core and nowhere else.
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": settings.map_ports,
        "enable_natpmp": settings.map_ports,
        **QUIET,
        # Whoever dials over uTP has a reason to: see `KNOCKING`.
        "enable_incoming_utp": True,
        # Milliseconds that uTP lets packets of each connection wait on a line. Three times the default, 100, fill the queue of a
        # cheap router, and what is lost then stops a connection for ten or twenty seconds: behind translators four sites took 47
        # to 57 s, not 47 or 48, and 91 with 500.
        "utp_target_delay": 40,
        "in_enc_policy": _PLAIN,
        "out_enc_policy": _PLAIN,
        # Behind one NAT address stand many nodes.
        "allow_multiple_connections_per_ip": True,
        # Memory: the defaults queue 100 MiB of writes. 35 MiB of resident memory and full speed with these.
        "max_queued_disk_bytes": 256 * 1024,
        "send_buffer_watermark": 256 * 1024,
        "send_buffer_low_watermark": 16 * 1024,
        "max_out_request_queue": 64,
        "max_allowed_in_request_queue": 64,
        "max_peer_recv_buffer_size": 64 * 1024,
        "aio_threads": 1,
        "hashing_threads": 1,
        "file_pool_size": 4,
        # 0 leaves socket buffers to the kernel, which grows them with the path's delay; fixed 128 KiB was 20 % slower.
        "recv_socket_buffer_size": 0,
        "send_socket_buffer_size": 0,
        "connections_limit": settings.connections_limit,
        # libtorrent would let ten more of any kind in, to put them in the place of others.
        "connections_slack": 0,
        "max_peerlist_size": 100,
        # Every connected peer may fetch: the limit is the number of connections. With slots a newcomer waits up to 15 s.
        "unchoke_slots_limit": -1,
        # Seconds' worth of requests per peer. With one, whoever was slow for a moment stays slow, since it is asked for little:
        # of four sites one came in 2 to 7 s after the others. With four, there is more to wait for at the end.
        "request_queue_time": 2,
        "whole_pieces_threshold": RUNS_LAN_S,
        # A neighbour that lost its power says nothing. Ask others after 10 s, drop it after 60 s (defaults 20 and 120 s).
        "piece_timeout": 10,
        "request_timeout": 20,
        "peer_timeout": 60,
        # Who only keeps his connection alive makes way where all are taken; the default lets him stay for 10 minutes.
        "inactivity_timeout": 60,
        "peer_connect_timeout": 5,
        # Grows with each failure; being offered again counts one failure less.
        "min_reconnect_time": settings.redial_s,
        "max_failcount": 10,
        "upload_rate_limit": settings.upload_bytes_per_s,
        "download_rate_limit": settings.download_bytes_per_s,
        "tick_interval": TICK_IDLE_MS,
        # Alerts beyond this are dropped and the state is asked for instead.
        "alert_queue_size": 200,
        "alert_mask": alert_mask,
    }
