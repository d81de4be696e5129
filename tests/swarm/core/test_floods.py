"""An insider that invents peers and records without end: what it costs is bounded, and news still comes through."""

from __future__ import annotations

import random
import tracemalloc

from swarm.address import Address
from swarm.effects import Refused, SendDatagram
from swarm.envelope import Envelope
from swarm.me import Hello, Me
from swarm.news.record import Record, Signature
from swarm.settings import SwarmSettings
from swarm.wire import Push
from tests.swarm.core.village import FORGED, KEYRING, PORT, Village, manifest, node_id

INVENTED = 10_000


def invented(number: int, host: str, envelope: Envelope) -> bytes:
    me = Me(node_id(10**6 + number), f"ghost-{number}", "", PORT, 47102)
    return envelope.seal_datagram(Hello(me, bytes(16), (), False, b"", b""))


def test_ten_thousand_invented_peers_push_nobody_out_and_cost_little() -> None:
    """One stolen card could fill every node's memory, or cut it off from its real peers."""
    place = Village(1)
    residents = [place.add(n, lan="l") for n in range(4)]
    place.run_until(15.0)
    node, envelope = residents[0], Envelope(KEYRING, random.Random(2))
    real = {peer.node_id for peer in node.core.peers()}
    tracemalloc.start()
    answers = 0
    for number in range(INVENTED):
        host = f"10.9.{number >> 8}.{number & 255}" if number % 2 else "10.9.9.9"
        effects = node.core.on_datagram(invented(number, host, envelope), Address(host, PORT), place.now_s)
        answers += sum(isinstance(effect, SendDatagram) for effect in effects)
    grown_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    settings = SwarmSettings()
    known = node.core.peers()
    assert len(known) <= settings.peers_max
    assert real <= {peer.node_id for peer in known}
    assert sum(peer.address.host == "10.9.9.9" for peer in known) <= settings.peers_per_host_max
    assert grown_bytes < 4 * 2**20
    assert answers <= INVENTED, "it can be made to send more than it gets"
    news = manifest(1)
    place.do(residents[3], residents[3].core.publish(news, place.now_s))
    assert place.run_until(place.now_s + 5.0, lambda: node.store.get("manifest", b"stable") is not None)


def test_a_flood_of_forged_records_is_forgotten_and_a_good_one_still_taken() -> None:
    """Whoever has the swarm key could make a node hold what it refused, or refuse what is true."""
    place = Village(2)
    node, envelope = place.add(0, lan="l"), Envelope(KEYRING, random.Random(2))
    liar = Address("10.0.9.9", PORT)
    reasons = set()
    for number in range(3000):
        forged = Record(
            "manifest", b"stable", number + 1, bytes(300), (FORGED, Signature(bytes(32), bytes(64)))
        )
        effects = node.core.on_datagram(envelope.seal_datagram(Push(forged)), liar, place.now_s)
        reasons |= {(effect.why, effect.reason) for effect in effects if isinstance(effect, Refused)}
    assert len(reasons) == 1
    assert len(node.core._intake._refused) <= 256
    assert node.store.entries("manifest") == []
    node.core.on_datagram(envelope.seal_datagram(Push(manifest(1))), liar, place.now_s)
    assert node.store.get("manifest", b"stable") is not None
