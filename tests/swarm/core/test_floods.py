"""An insider that invents peers and records without end: what it costs is bounded, and news still comes through."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter

import pytest

from swarm.address import Address
from swarm.effects import Refused, SendDatagram
from swarm.envelope import Envelope
from swarm.me import Hello, Me
from swarm.news.record import Record, Signature
from swarm.settings import SwarmSettings
from swarm.wire import Push, SyncReply
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


@pytest.mark.parametrize("site", ["", "lab"], ids=["of another site", "of the own site"])
def test_a_peer_that_tells_of_the_dead_only_costs_a_few_knocks_and_keeps_nothing_back(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One member could have nodes knock at addresses of its choice without end, or fill their overlay with the dead."""
    place = Village(4)
    liar = place.add(99, SwarmSettings(beacon=False), site=site)
    settings = SwarmSettings(beacon=False, contacts=(liar.address, Address("10.0.0.1", PORT)))
    nodes = [place.add(number, settings, site=site) for number in range(1, 7)]
    rng = random.Random(5)
    dead: set[Address] = set()
    knocks: Counter[int] = Counter()

    def of_the_dead(*_: object) -> SyncReply:
        told = tuple(Address(f"10.66.{rng.randrange(256)}.{rng.randrange(256)}", PORT) for _ in range(8))
        dead.update(told)
        return SyncReply(tuple(range(64)), (("manifest", b"stable", 10**6, rng.randbytes(8)),), told)

    def watch(effect: object) -> None:
        if isinstance(effect, SendDatagram) and effect.destination in dead:
            knocks[int(place.now_s)] += 1

    monkeypatch.setattr(liar.core._server, "_sync", of_the_dead)
    monkeypatch.setattr(liar.core._presence, "_digest", lambda **_: rng.randbytes(16))
    place.watch = watch
    place.run_until(1800.0)
    honest = {node.core.me.node_id for node in nodes}
    assert dead, "there was a lie"
    assert sum(knocks.values()) / 1800 <= len(nodes) / 2, "one in two seconds for each node, at most"
    for node in nodes:
        assert honest - {node.core.me.node_id} <= {peer.node_id for peer in node.core.peers()}
        assert len(node.core.peers()) == len(nodes)
    news = manifest(1)
    place.do(nodes[0], nodes[0].core.publish(news, place.now_s))
    everybody_s = place.now_s + 20.0
    assert place.run_until(everybody_s, lambda: all(n.store.get("manifest", b"stable") for n in nodes))


def test_a_flood_of_beacons_neither_silences_a_site_nor_hides_it_from_newcomers() -> None:
    """A site slows its beacons as it grows: whoever invents nodes could make it silent, and nobody would find it."""
    place = Village(6, delay_s=(0.0005, 0.002))
    residents = [place.add(n, lan="l") for n in range(6)]
    place.run_until(60.0)
    envelope = Envelope(KEYRING, random.Random(2))
    real = {resident.core.me.node_id for resident in residents}
    heard_bytes = 0
    for resident in residents:
        resident.datagram_bytes = 0
    for number in range(120):
        beacon = invented(number, "", envelope)
        source = Address(f"10.9.{number % 20}.1", PORT + number)
        heard_bytes += len(beacon)
        for node in residents:
            place.do(node, node.core.on_datagram(beacon, source, place.now_s, multicast=True))
        place.run_until(place.now_s + 0.02)
    place.run_until(place.now_s + 10.0)
    assert sum(resident.datagram_bytes for resident in residents) <= 60 * heard_bytes, (
        "each is asked for, asked after and given up, once"
    )
    for resident in residents:
        assert real - {resident.core.me.node_id} <= {peer.node_id for peer in resident.core.peers()}
    news = manifest(1)
    place.do(residents[3], residents[3].core.publish(news, place.now_s))
    soon_s = place.now_s + 5.0
    assert place.run_until(soon_s, lambda: all(n.store.get("manifest", b"stable") for n in residents))
    late = place.add(50, lan="l")
    met_s = place.now_s + 300.0
    assert place.run_until(met_s, lambda: real <= {peer.node_id for peer in late.core.peers()})
