"""Looking things up in the table, on a virtual clock: with loss, with the dead, and among liars."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import trio
from attrs import evolve

from swarm.address import Address
from swarm.discovery.dht.lookup import LOOKUP_S_MAX, QUESTIONS_MAX
from swarm.discovery.dht.messages import Ask
from swarm.news.record import Record
from swarm.wire import DATAGRAM_BODY_BYTES_MAX
from tests.swarm.core.village import FORGED, manifest
from tests.swarm.dht.liars import Liar
from tests.swarm.dht.town import Town, found, in_town, place

NODES = 30


def test_one_working_contact_of_five_finds_the_newest_manifest_and_the_swarm_under_loss() -> None:
    """A node with an old card would stay alone although one of its contacts is alive."""

    async def story(town: Town) -> None:
        everyone = await found(town, NODES)
        for citizen in everyone:
            citizen.store.offer(manifest(7))
        new = town.add(9000, is_open=False)
        contacts = [place(90_001), place(90_002), everyone[11].address, place(90_003), place(90_004)]
        began_s = trio.current_time()
        finding = await new.newest(contacts)
        assert finding.sequence == 7
        assert "is the newest" in finding.words
        assert trio.current_time() - began_s < LOOKUP_S_MAX
        nodes, _ = await new.look_up(new.node_id, contacts)
        assert len(nodes) >= 8
        # It cannot be asked, so nobody may be told of it.
        assert not any(c.fence.router.contact(new.node_id) for c in everyone)

    for seed in range(2):
        in_town(story, seed=seed, loss=0.05)


def test_nearly_all_nearest_nodes_are_found() -> None:
    """Whoever looks at one place must come to the same nodes as everybody else: kademlia alone found half of them."""

    async def story(town: Town) -> float:
        everyone = await found(town, NODES)
        hits = 0
        for number in range(20):
            target = hashlib.sha256(b"%d" % number).digest()[:20]
            nodes, _ = await everyone[number].look_up(target)
            others = [c for c in everyone if c is not everyone[number]]
            nearest = sorted(others, key=lambda c: _distance(c.node_id, target))[:8]
            hits += len({n.id for n in nodes} & {c.node_id for c in nearest})
        return hits / (20 * 8)

    assert in_town(story, loss=0.02) > 0.95


def test_a_dead_contact_is_asked_again_and_then_dropped() -> None:
    """One lost datagram must not cost a contact, and the dead must not stay for ever."""

    async def story(town: Town) -> None:
        everyone = await found(town, 8)
        node, dead = everyone[0], everyone[3]
        beside = dead.node_id[:-1] + bytes([dead.node_id[-1] ^ 1])
        assert node.fence.router.contact(dead.node_id) is not None
        town.loss = 0.3
        for _ in range(10):
            await node.look_up(beside)
        assert node.fence.router.contact(dead.node_id) is not None
        town.loss = 0.0
        dead.alive = False
        await node.look_up(beside)
        assert node.fence.router.contact(dead.node_id) is not None
        await node.look_up(beside)
        assert node.fence.router.contact(dead.node_id) is None

    in_town(story)


@pytest.mark.parametrize("value", ["old", "forged", "none"])
def test_one_honest_voice_outweighs_any_number_of_liars(value: str) -> None:
    """A majority of stolen cards would keep everybody at an old manifest, or at a forged one."""

    async def story(town: Town) -> None:
        record = {"old": manifest(3), "forged": _forged(9), "none": None}[value]
        liars = [Liar(town, 100 + number, record) for number in range(12)]
        for liar in liars:
            liar.friends = tuple(other.contact for other in liars if other is not liar)[:8]
        honest = await found(town, 6)
        for citizen in honest:
            citizen.store.offer(manifest(7))
        new = town.add(9000, is_open=False)
        contacts = [*(liar.address for liar in liars[:4]), honest[2].address]
        finding = await new.newest(contacts)
        assert finding.sequence == 7, finding
        held = new.held()
        assert held is not None
        assert held.sequence == 7

    in_town(story, loss=0.05)


@pytest.mark.parametrize(("value", "words"), [("forged", "does not verify"), ("none", "keep it back")])
def test_a_node_whose_every_contact_lies_says_that_it_cannot_tell(value: str, words: str) -> None:
    """An eclipsed node that took silence for "nothing is published" would tell its operator that all is well."""

    async def story(town: Town) -> None:
        liars = [Liar(town, 100 + n, _forged(9) if value == "forged" else None) for n in range(5)]
        for liar in liars:
            liar.friends = tuple(other.contact for other in liars)
        new = town.add(9000)
        finding = await new.newest([liar.address for liar in liars])
        assert finding.sequence is None
        assert "cannot tell" in finding.words
        assert words in finding.words
        assert new.held() is None

    in_town(story)


def test_a_node_that_reaches_nobody_says_so() -> None:
    """A dead line must not look like a swarm without news."""

    async def story(town: Town) -> None:
        new = town.add(9000)
        finding = await new.newest([place(90_000 + n) for n in range(5)])
        assert finding.sequence is None
        assert "none of 5 nodes answered" in finding.words
        assert "nobody to ask" in (await new.newest()).words

    in_town(story)


def test_liars_without_end_cannot_make_a_lookup_endless() -> None:
    """Somebody who invents nearer and nearer nodes would keep a node asking for ever."""

    async def story(town: Town) -> None:
        liars = [Liar(town, 100 + n) for n in range(5)]
        honest = await found(town, 3)
        honest[0].store.offer(manifest(7))
        new = town.add(9000)
        before, began_s = town.carried, trio.current_time()
        contacts = [*(liar.address for liar in liars), honest[0].address]
        _, lookup = await new.look_up(bytes(20), contacts)
        assert lookup.asked <= QUESTIONS_MAX
        assert town.carried - before <= 2 * 3 * QUESTIONS_MAX
        assert trio.current_time() - began_s <= LOOKUP_S_MAX + 0.01
        # Nobody that does not exist has become a contact.
        assert all(town.citizens.get(_address(n)) for n in new.fence.router.contacts())

    in_town(story)


def test_an_answer_counts_only_from_where_the_question_went() -> None:
    """Somebody who guesses or overhears a question could answer for another."""

    async def story(town: Town) -> None:
        town.add(1)
        node = town.add(9000)
        liar = Liar(town, 100, manifest(9))
        seen = []
        carry = town.carry

        def overheard(source: object, destination: object, message: object) -> None:
            carry(source, destination, message)  # type: ignore[arg-type]
            if source == node.address and destination == place(1):
                seen.append(message)
                liar.receive(message, node.address)  # type: ignore[arg-type]

        town.carry = overheard  # type: ignore[method-assign]
        finding = await node.newest([place(1)])
        assert seen
        assert finding.answered == 1
        assert finding.sequence is None

    in_town(story)


def test_a_recorded_question_is_answered_a_few_times_only() -> None:
    """A stranger could replay one question for ever, in another's name, and drown that one in answers ten times as large."""

    async def story(town: Town) -> None:
        node = town.add(1)
        ask = Ask(bytes(8), b"\1" * 20, target=bytes(20))
        for _ in range(50):
            node.fence.on_ask(ask, place(77))
        assert node.sent <= 3

    in_town(story)


def test_every_datagram_of_the_table_fits_one_packet() -> None:
    """A datagram that is cut into fragments is lost where fragments are."""

    async def story(town: Town) -> int:
        everyone = await found(town, NODES)
        for citizen in everyone:
            citizen.store.offer(manifest(7, bytes(900)))
        await town.add(9000).newest([everyone[0].address])
        return town.bytes_max

    assert 900 < in_town(story) <= DATAGRAM_BODY_BYTES_MAX


def _forged(sequence: int) -> Record:
    return evolve(manifest(sequence), signatures=(FORGED,))


def _address(node: Any) -> Address:
    return Address(node.ip, node.port)


def _distance(one: bytes, other: bytes) -> int:
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
