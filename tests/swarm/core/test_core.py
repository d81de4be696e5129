"""One core among others: what it learns, what it refuses, and that it is quiet when there is nothing to
say."""

from __future__ import annotations

import hashlib
import random

import pytest
from attrs import evolve

from swarm.address import Address
from swarm.core import SwarmSettings
from swarm.discovery.elsewhere import BURST_S
from swarm.effects import (
    BlobFetched,
    Equivocation,
    OpenStream,
    PeersChanged,
    RecordAccepted,
    RecordForgotten,
    Refused,
    SendDatagram,
    SwarmEffect,
)
from swarm.envelope import Envelope
from swarm.errors import RefusedError
from swarm.me import Hello
from swarm.news.record import Record
from swarm.wire import DATAGRAM_BYTES_MAX, Have, Push
from tests.swarm.core.village import FORGED, KEYRING, Resident, Village, manifest, node_id, status

LAN_DELAY_S = (0.0005, 0.002)


def lan(
    count: int, seed: int = 1, loss: float = 0.0, settings: SwarmSettings | None = None
) -> tuple[Village, list[Resident]]:
    place = Village(seed, loss, LAN_DELAY_S)
    residents = [place.add(n, lan="l") for n in range(count)]
    place.run_until(15.0)
    return place, residents


def publish(place: Village, resident: Resident, record: Record) -> None:
    place.do(resident, resident.core.publish(record, place.now_s))


def all_have(residents: list[Resident], record: Record) -> bool:
    def has(resident: Resident) -> bool:
        entry = resident.store.get(record.kind, record.key)
        return entry is not None and entry.record == record

    return all(has(r) for r in residents)


def test_a_lan_finds_itself_and_news_reaches_all_at_once() -> None:
    """Nodes on one LAN would need a server to find each other."""
    place, residents = lan(20)
    for resident in residents:
        assert len(resident.core.peers()) == 19
        assert all(peer.same_site for peer in resident.core.peers())
    news = manifest(1)
    began_s = place.now_s
    publish(place, residents[7], news)
    assert place.run_until(began_s + 2.0, lambda: all_have(residents, news))
    assert [e.record for e in residents[3].said(RecordAccepted)] == [news]


@pytest.mark.parametrize("loss", [0.2, 0.5])
def test_a_lan_that_loses_much_still_agrees(loss: float) -> None:
    """Nodes at the edge of the Wi-Fi would never hear of a release."""
    place, residents = lan(12, loss=loss)
    news = manifest(1)
    began_s = place.now_s
    publish(place, residents[0], news)
    assert place.run_until(began_s + 90.0, lambda: all_have(residents, news))


def test_all_nodes_of_a_site_meet_where_there_is_no_multicast() -> None:
    """Two that do not speak for their site would never meet: each asked its contacts only as long as it spoke for it."""
    for seed in range(20):
        place = Village(seed)
        nodes = [place.add(0, SwarmSettings(beacon=False), site="lab")]
        known = SwarmSettings(beacon=False, contacts=(nodes[0].address,))
        nodes += [place.add(number, known, site="lab") for number in (1, 2, 3)]
        for number, node in enumerate(nodes):
            publish(place, node, status(node_id(number), 1))  # peers are told of where stores differ
        place.run_until(60.0)
        assert [len(node.core.peers()) for node in nodes] == [3, 3, 3, 3], seed


def test_contacts_and_hearsay_replace_multicast() -> None:
    """Nodes on networks that drop multicast would stay alone, or know one contact only."""
    place = Village(3)
    first = place.add(0)
    others = [place.add(n, SwarmSettings(beacon=False, contacts=(first.address,))) for n in range(1, 9)]
    news = manifest(1)
    publish(place, first, news)
    assert place.run_until(30.0, lambda: all_have([first, *others], news))
    place.run_until(120.0)
    assert min(len(r.core.peers()) for r in others) >= 3


def test_a_contact_that_comes_later_is_found() -> None:
    """The order in which nodes get power would decide whether they ever meet."""
    place = Village(3)
    late_address = Address("10.0.0.9", 47101)
    early = place.add(1, SwarmSettings(beacon=False, contacts=(late_address,)))
    place.run_until(300.0)
    assert early.core.peers() == []
    place.add(9)
    assert place.run_until(380.0, lambda: len(early.core.peers()) == 1)


def test_a_newcomer_hears_old_news_at_once() -> None:
    """A node that joins late would wait for the next release."""
    place, residents = lan(10)
    news = manifest(1)
    publish(place, residents[0], news)
    place.run_until(200.0)
    late = place.add(50, lan="l")
    assert place.run_until(202.0, lambda: all_have([late], news))
    assert late.core.peers()
    assert all(peer.same_site for peer in late.core.peers())


@pytest.mark.parametrize("count", [2, 40])
def test_a_node_that_was_restarted_knows_others_at_once(count: int) -> None:
    """A daemon that was killed would wait half a minute for somebody's next beacon; on trial it would seem cut off."""
    place, residents = lan(count)
    place.run_until(200.0)
    residents[0].alive = False
    again = place.add(0, lan="l")
    place.run_until(201.0)
    assert 1 <= len(again.core.peers()) <= 20, "nobody answers, or the whole site does"
    assert all(peer.same_site for peer in again.core.peers())


def test_idle_lan_is_near_silent() -> None:
    """Twenty idle nodes would wear the Wi-Fi, the batteries, and the owner's patience."""
    place, residents = lan(20)
    place.run_until(60.0)
    for resident in residents:
        resident.datagram_bytes = resident.wakeups = 0
        resident.effects.clear()
    place.run_until(660.0)
    assert max(resident.datagram_bytes for resident in residents) / 600 <= 200
    assert max(resident.wakeups for resident in residents) / 600 <= 0.1
    assert all(resident.effects == [] for resident in residents)


def test_the_dead_are_forgotten_and_come_back() -> None:
    """Status would show nodes that are long gone; or a node that restarts would not be seen."""
    place, residents = lan(4)
    gone = residents[3]
    gone.alive = False
    assert place.run_until(400.0, lambda: all(len(r.core.peers()) == 2 for r in residents[:3]))
    assert residents[0].said(PeersChanged)
    gone.alive = True
    place.do(gone, gone.core.on_wakeup(place.now_s))
    assert place.run_until(place.now_s + 45.0, lambda: all(len(r.core.peers()) == 3 for r in residents))


def test_a_failed_stream_finds_out_about_the_dead() -> None:
    """A fetching node would go on asking a dead peer for two minutes."""
    place, residents = lan(3)
    residents[2].alive = False
    for resident in residents[1:]:
        place.do(resident, resident.core.set_holdings([b"i" * 32], place.now_s))
    began_s = place.now_s
    place.do(residents[0], residents[0].core.fetch_blob("torrent", b"t" * 32, 5, b"i" * 32, began_s))
    assert place.run_until(began_s + 45.0, lambda: len(residents[0].core.peers()) == 1)


def test_announced_records_cannot_open_streams_without_end() -> None:
    """A member gone mad could make a node connect everywhere at once."""
    place, residents = lan(1)
    envelope = Envelope(KEYRING, random.Random(1))
    streams = 0
    for number in range(100):
        data = envelope.seal_datagram(Have("status", number.to_bytes(20, "big"), 5, bytes(8)))
        source = Address("10.9.9.9", 1 + number)
        effects = residents[0].core.on_datagram(data, source, place.now_s)
        streams += sum(isinstance(effect, OpenStream) for effect in effects)
    assert 1 <= streams <= 8


def test_a_swarm_cut_in_two_grows_together() -> None:
    """After an uplink failed for an hour, two halves would live on apart for ever."""
    place = Village(4)
    first = place.add(0)
    settings = SwarmSettings(beacon=False, contacts=(first.address,))
    nodes = [first] + [place.add(n, settings) for n in range(1, 8)]
    place.run_until(60.0)
    half = {resident.address for resident in nodes[:4]}
    place.cut = lambda a, b: (a in half) != (b in half)
    place.run_until(3600.0)
    assert all(peer.address in half for peer in nodes[1].core.peers())
    news = manifest(1)
    publish(place, nodes[7], news)
    place.run_until(3700.0)
    assert not all_have(nodes, news)
    place.cut = lambda a, b: False
    assert place.run_until(3700.0 + 700.0, lambda: all_have(nodes, news))


def test_forged_old_and_repeated_news_changes_nothing() -> None:
    """Somebody with the swarm key alone could publish a release."""
    place, residents = lan(3)
    good, forged = manifest(5), evolve(manifest(9, b"evil"), signatures=(FORGED,))
    publish(place, residents[0], good)
    place.run_until(20.0)
    with pytest.raises(RefusedError):
        residents[0].core.publish(forged, place.now_s)
    attacker = place.add(66, lan="l")
    attacker.store._verdict = lambda _record: None
    place.run_until(25.0)
    for record in (forged, manifest(4, b"old"), good, good):
        publish(place, attacker, record)
    place.run_until(60.0)
    assert all_have(residents, good)
    for resident in residents:
        assert [e.record for e in resident.said(RecordAccepted)] == [good]
        assert ("record", "signature does not verify") in {(r.what, r.why) for r in resident.said(Refused)}


def test_an_old_manifest_is_told_of_in_words_that_its_sender_cannot_vary() -> None:
    """An attempt to take a swarm back would go unseen, or fill every node's list of refusals."""
    place, residents = lan(2)
    publish(place, residents[0], manifest(50))
    place.run_until(20.0)
    recorder = Envelope(KEYRING, random.Random(1))
    for sequence in range(49):
        for news in (manifest(sequence), status(node_id(7), sequence)):
            data = recorder.seal_datagram(Push(news))
            place.do(residents[1], residents[1].core.on_datagram(data, Address("10.9.9.9", 1), place.now_s))
    said = [r.why for r in residents[1].said(Refused)]
    assert said == ["manifest of channel stable is older than manifest 50, which this node has"] * 49


def test_equivocation_reaches_everybody_as_proof() -> None:
    """Maintainers' keys in two hands could give two halves of the swarm two different releases."""
    place, residents = lan(6)
    publish(place, residents[0], manifest(5, b"one"))
    place.run_until(16.0)
    publish(place, residents[5], manifest(5, b"two"))
    place.run_until(40.0)
    for resident in residents:
        entry = resident.store.get("manifest", b"stable")
        assert entry is not None
        assert entry.disputed
        assert len(resident.said(Equivocation)) == 1


def test_records_too_large_for_a_datagram_arrive_too() -> None:
    """A manifest with many releases would reach nobody but its publisher's friends."""
    place, residents = lan(8)
    large = manifest(1, bytes(3500))
    began_s = place.now_s
    publish(place, residents[0], large)
    assert place.run_until(began_s + 5.0, lambda: all_have(residents, large))


def test_garbage_is_refused_in_few_words() -> None:
    """A stranger's datagrams could stop a node, or fill its log with a million different lines."""
    place, residents = lan(1)
    core, stranger = residents[0].core, Address("203.0.113.5", 9)
    said = set()
    for number in range(200):
        data = bytes([number % 3]) * (number * 9)
        effects = core.on_datagram(data, stranger, place.now_s, multicast=number % 2 == 0)
        said |= {(e.what, e.why) for e in effects if isinstance(e, Refused)}
        assert all(isinstance(e, Refused) for e in effects)
        reply, effects = core.answer(data, stranger, place.now_s)
        assert reply == b""
        assert all(isinstance(e, Refused) for e in effects)
    assert 1 <= len(said) <= 8
    assert core.on_stream_reply(12345, b"x", place.now_s) == []
    assert core.on_stream_failed(12345, "x", place.now_s) == []
    assert core.peers() == []


def test_a_replayed_hello_does_not_move_a_peer() -> None:
    """A stranger who recorded a beacon could send a node's traffic to another machine."""
    place, residents = lan(2)
    listener, speaker = residents
    recorded: list[bytes] = []

    def record(effect: SwarmEffect) -> None:
        multicast = effect.data if isinstance(effect, SendDatagram) and effect.destination is None else b""
        if multicast and isinstance(Envelope(KEYRING, random.Random(1)).open_datagram(multicast), Hello):
            recorded.append(multicast)

    place.watch = record
    listener.alive = False
    place.run_until(60.0)
    assert recorded
    elsewhere = Address("203.0.113.5", 47101)
    effects = listener.core.on_datagram(recorded[0], elsewhere, place.now_s, multicast=True)
    effects += listener.core.on_wakeup(place.now_s + 2 * BURST_S)
    assert [peer.address for peer in listener.core.peers()] == [speaker.address]
    assert {elsewhere, speaker.address} <= {e.destination for e in effects if isinstance(e, SendDatagram)}


def test_a_peer_that_really_moved_is_followed() -> None:
    """A node with a new DHCP lease would be lost to its site for minutes."""
    place, residents = lan(3)
    mover = residents[0]
    del place.residents[mover.address]
    mover.address = Address("10.0.9.9", 47101)
    place.residents[mover.address] = mover
    place.run_until(place.now_s + 45.0)
    for resident in residents[1:]:
        assert mover.address in {peer.address for peer in resident.core.peers()}


def test_its_own_words_do_not_make_it_a_peer() -> None:
    """A node that is its own contact would gossip with itself."""
    place = Village(1)
    own = Address("10.0.0.1", 47101)
    node = place.add(1, SwarmSettings(contacts=(own,)), lan="l")
    place.run_until(100.0)
    assert node.core.peers() == []
    assert node.core.next_wakeup_s() > 101.0 or node.wakeups < 20


def test_holdings_are_known_to_all_soon() -> None:
    """Peers would not know from whom to fetch a release until the next beacon."""
    image = b"i" * 32
    place, residents = lan(10)
    settings = SwarmSettings(beacon=False, contacts=(residents[0].address,))
    far = [place.add(100 + n, settings) for n in range(3)]
    place.run_until(60.0)
    place.do(residents[0], residents[0].core.set_holdings([image], place.now_s))
    place.run_until(62.0)
    for resident in [*residents[1:], *far]:
        assert [peer.name for peer in resident.core.holders(image)] == ["n0"]
        assert resident.core.holders(b"j" * 32) == []
    place.do(residents[0], residents[0].core.set_holdings([], place.now_s))
    place.run_until(70.0)
    assert all(resident.core.holders(image) == [] for resident in [*residents[1:], *far])


def test_a_fetching_node_finds_holders_it_was_not_told_of() -> None:
    """A node would fetch an image from one peer while twenty others hold it."""
    image = b"i" * 32
    place = Village(5)
    hub = place.add(0)
    nodes = [place.add(n, SwarmSettings(beacon=False, contacts=(hub.address,))) for n in range(1, 12)]
    place.run_until(100.0)
    place.loss = 1.0
    for node in nodes[1:]:
        place.do(node, node.core.set_holdings([image], place.now_s))
    place.run_until(101.0)
    place.loss = 0.0
    assert nodes[0].core.holders(image) == []
    for _ in range(3):
        place.do(nodes[0], nodes[0].core.seek_holders(image, place.now_s))
        place.run_until(place.now_s + 1.0)
    assert len(nodes[0].core.holders(image)) == len(nodes[0].core.peers()) - 1


def test_a_blob_is_found_with_a_peer_nobody_mentioned() -> None:
    """The last holder of a release would be of no use to a node that has never met it."""
    blob = b"torrent"
    name = hashlib.sha256(blob).digest()
    place = Village(5)
    hub = place.add(0)
    settings = SwarmSettings(beacon=False, contacts=(hub.address,))
    seeker = place.add(1, settings)
    place.run_until(1200.0)
    holder = place.add(2, evolve(settings, far_peers_wanted=1))  # does not look for others by itself
    holder.blobs["torrent", name] = blob
    place.run_until(1220.0)
    # All stores are equal: nothing was compared; and a circle that did not grow is asked about ever more rarely.
    assert [peer.name for peer in seeker.core.peers()] == ["n0"]
    place.do(seeker, seeker.core.fetch_blob("torrent", name, len(blob), b"i" * 32, place.now_s))
    assert place.run_until(place.now_s + 60.0, lambda: bool(seeker.said(BlobFetched)))


def test_nodes_with_one_contact_get_to_know_each_other_without_any_news() -> None:
    """Without multicast, and as long as nothing is published, a node would know its contact and nobody else."""
    place = Village(5)
    hub = place.add(0)
    settings = SwarmSettings(beacon=False, contacts=(hub.address,))
    nodes = [place.add(number, settings) for number in range(1, 6)]
    assert place.run_until(200.0, lambda: all(len(node.core.peers()) == 5 for node in nodes))


def test_stores_that_cannot_agree_are_left_alone() -> None:
    """Two nodes, one of which refuses what the other holds, would compare stores for ever."""
    place, residents = lan(2)
    stubborn = residents[1]
    refused = evolve(manifest(3), signatures=(FORGED,))
    residents[0].store._verdict = lambda _record: None
    publish(place, residents[0], refused)
    place.run_until(100.0)
    streams = 0
    real = place.reply_filter

    def counting(peer: Resident, reply: bytes) -> bytes | None:
        nonlocal streams
        streams += 1
        return real(peer, reply)

    place.reply_filter = counting
    place.run_until(100.0 + 1800.0)
    assert stubborn.store.summary() == []
    assert streams <= 20


def test_a_peer_whose_streams_fail_is_tried_ever_more_rarely() -> None:
    """A peer behind a firewall that passes UDP only would cost a connection attempt every few seconds."""
    place, residents = lan(2)
    place.reply_filter = lambda _peer, _reply: None
    residents[0].store.offer(manifest(1))
    attempts: list[float] = []
    original = residents[1].core.on_stream_failed

    def counting(token: int, why: str, now_s: float) -> list[object]:
        attempts.append(now_s)
        return original(token, why, now_s)  # type: ignore[return-value]

    residents[1].core.on_stream_failed = counting  # type: ignore[method-assign, assignment]
    place.run_until(3600.0)
    assert 3 <= len(attempts) <= 30
    place.reply_filter = lambda _peer, reply: reply
    assert place.run_until(3600.0 + 400.0, lambda: all_have(residents, manifest(1)))


def test_expired_records_are_dropped_with_a_word_to_the_host() -> None:
    """The state on disk would keep every node that ever lived."""
    place, residents = lan(1)
    publish(place, residents[0], status(node_id(9), 1_000_000))
    effects = residents[0].core.prune(30 * 86_400.0)
    assert effects == [RecordForgotten("status", node_id(9))]


def test_what_it_sends_fits() -> None:
    """Datagrams would be cut into fragments on the way, and lost on lines that lose one fragment."""
    place = Village(8)
    nodes = [place.add(n, lan="l") for n in range(6)]
    sizes: list[int] = []
    place.watch = lambda effect: sizes.append(len(effect.data)) if isinstance(effect, SendDatagram) else None
    place.run_until(10.0)
    publish(place, nodes[0], manifest(1, bytes(1100)))
    publish(place, nodes[0], status(node_id(0), 1, 1000))
    publish(place, nodes[0], manifest(2, bytes(3900)))
    place.run_until(60.0)
    assert all_have(nodes, manifest(2, bytes(3900)))
    assert max(sizes) <= DATAGRAM_BYTES_MAX
