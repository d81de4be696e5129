"""Turns: if one of these failed, both Pis of a board would be in the middle of an update at once, or one never get to it."""

from __future__ import annotations

import random

from fruitd.power.document import PowerDocument
from fruitd.power.turns import TURN_S_MAX, Turns
from swarm.power import Place
from tests.fruitd.power.bench import PLACES, A, B, C, Rig


def test_one_node_of_a_board_at_a_time() -> None:
    """Two Pis that back each other up would both be on trial."""
    turns = Turns()
    assert turns.step({A: 1, B: 2, C: 3}, PLACES.get, 0.0)[0] == [A, C]
    assert (turns.of(A), turns.of(B), turns.of(C)) == (1, 0, 3)
    assert turns.step({A: 0, B: 2, C: 3}, PLACES.get, 10.0) == ([B], [A])


def test_a_node_that_falls_silent_keeps_its_turn() -> None:
    """A node that hangs in its trial would be joined there by its mate."""
    turns = Turns()
    turns.step({A: 1, B: 2}, PLACES.get, 0.0)
    for now_s in range(0, 3600, 60):
        turns.step({B: 2}, PLACES.get, float(now_s))
    assert (turns.of(A), turns.of(B)) == (1, 0)


def test_a_turn_that_is_never_given_back_ends() -> None:
    """A node that died with its turn would keep its mate from updates for ever."""
    turns = Turns()
    turns.step({A: 1, B: 2}, PLACES.get, 0.0)
    turns.step({A: 1, B: 2}, PLACES.get, TURN_S_MAX + 1)
    assert (turns.of(A), turns.of(B)) == (0, 2)


def test_a_node_that_may_sit_anywhere_shares_every_board() -> None:
    """Its board might be the one on which another updates."""
    turns = Turns()
    nowhere = {A: Place(0, 0)}.get
    assert turns.step({A: 1, B: 2}, nowhere, 0.0)[0] == [A]


def test_turns_survive_the_owners_restart() -> None:
    """The node with the bus updates too: after its own restart it would give the mate's turn away."""
    rig = Rig()
    rig.health(A, wish=7)
    rig.health(B, wish=8)
    rig.sweep()
    assert rig.shown(PLACES[A]).turn == 7
    again = Rig(PowerDocument.decode(rig.kept[-1]))
    del again.fellows[A]  # it says nothing: it hangs, or has not been heard yet
    again.health(B, wish=8)
    again.sweep()
    assert again.shown(PLACES[B]).turn == 0
    again.fellows[A] = rig.fellows[A]
    again.sweep()
    assert again.shown(PLACES[B]).turn == 0
    again.health(A, wish=0)
    again.sweep()
    assert again.shown(PLACES[B]).turn == 8


def test_a_turn_is_given_between_sweeps() -> None:
    """Every update would wait for the next sweep, twice."""
    rig = Rig()
    rig.sweep()
    rig.health(A, wish=7)
    said = rig.owner.heard(rig.fellows, rig.now_s + 1, rig.wall_s + 1)
    assert rig.said(said, PLACES[A]).turn == 7


def test_energy_of_an_update_is_told() -> None:
    """Nobody could say what an update costs."""
    rig = Rig()
    rig.sweep()
    rig.health(A, wish=7)
    rig.sweep()
    for _ in range(9):
        rig.sweep()
    rig.health(A, wish=0)
    rig.sweep()
    power = rig.shown(PLACES[A])
    assert (power.update_j, power.update_s) == (200, 100)  # 2 W
    assert any("took 200 J in 100 s" in note for note in rig.notes)


def test_random_wishes_never_meet_on_a_board() -> None:
    """Some order of wishes would give two turns."""
    nodes = {bytes([n]) * 20: Place(n // 2, n % 2) for n in range(8)}
    for seed in range(50):
        rng, turns, now_s = random.Random(seed), Turns(), 0.0
        wishes = dict.fromkeys(nodes, 0)
        for _ in range(200):
            now_s += rng.uniform(0, 100)
            wishes[rng.choice(list(nodes))] = rng.choice((0, rng.randrange(1, 100)))
            turns.step({n: w for n, w in wishes.items() if rng.random() < 0.8}, nodes.get, now_s)
            boards = [nodes[node_id].address for node_id in turns.held]
            assert len(boards) == len(set(boards))
