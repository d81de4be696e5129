"""Nodes behind translators are brought together by a peer that both know."""

from __future__ import annotations

import random

import pytest

from simulations.world.network import MAPPING_S
from swarm.address import Address
from swarm.discovery.meeting import ANSWER_GAP_S, INTRODUCED_MAX, Go, Matchmaker, Meet
from tests.swarm.core.sites import Town
from tests.swarm.core.village import manifest


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_nodes_behind_translators_meet_by_a_peer_that_knows_both(loss: float) -> None:
    """Each site would know the helper alone, and all news and all knowledge of who holds what would hang on it."""
    for seed in range(3):
        town = Town(seed, 4, loss)
        town.run_until(60.0)
        assert all(a.knows(b) for a in town.nodes for b in town.nodes if a is not b)


def test_news_passes_between_them_when_the_helper_is_gone() -> None:
    """The helper would be somebody in charge."""
    town = Town(1, 3, 0.0)
    town.run_until(60.0)
    town.network.set_sides({0: (9,)})
    first = town.nodes[0]
    first.do(first.core.publish(manifest(7), town.heap.now_s))
    town.run_until(65.0)
    held = [node.store.get("manifest", b"stable") for node in town.nodes]
    assert all(entry is not None and entry.sequence == 7 for entry in held)


def test_nobody_is_brought_together_for_a_stranger() -> None:
    """Somebody with a made-up source would have eight nodes knock at a victim."""
    town = Town(1, 3, 0.0)
    town.run_until(30.0)
    helper, victim = town.helper, Address("203.0.113.9", 4)
    sealed = helper.core.say(Meet(), victim).data
    assert helper.core.on_datagram(sealed, victim, town.heap.now_s) == []
    told = helper.core.say(Go((victim,)), victim).data
    node = town.nodes[0]
    assert node.core.on_datagram(told, victim, town.heap.now_s) == []


def test_a_peer_that_asks_without_end_is_answered_once_in_a_while() -> None:
    """One node could have everybody knock at everybody all the time."""
    matchmaker = Matchmaker(random.Random(1))
    asker = Address("192.0.2.1", 1)
    others = [Address(f"198.51.100.{n}", 1) for n in range(30)] + [Address("192.0.2.1", 2)]
    told = matchmaker.introduce(asker, others, 0.0)
    assert told[0] == (asker, Go(tuple(whom for whom, _ in told[1:])))
    assert len(told) == 1 + INTRODUCED_MAX
    assert all(go == Go((asker,)) for _, go in told[1:])
    assert all(whom.host != asker.host for whom, _ in told[1:])
    assert matchmaker.introduce(asker, others, ANSWER_GAP_S / 2) == []
    assert matchmaker.introduce(asker, others, ANSWER_GAP_S * 1.5)
    assert MAPPING_S > ANSWER_GAP_S
