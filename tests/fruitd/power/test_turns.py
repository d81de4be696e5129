"""Turns: if one of these failed, both Pis of a board would be in the middle of an update at once, or one never get to it."""

from __future__ import annotations

import random

import pytest
from attrs import evolve

from fruitd.errors import RefusedError
from fruitd.power.document import PowerDocument
from fruitd.power.energy import Account, Idle, Meter, decode, encode
from fruitd.power.seen import NOTHING
from fruitd.power.turns import TURN_S_MAX, Turns
from swarm.fields import packed
from swarm.power import Place
from tests.fruitd.power.bench import PLACES, A, B, C, Rig, figures


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


def test_a_word_of_before_the_owners_restart_ends_no_turn() -> None:
    """Records wait some minutes for the disk: an owner that was killed would find the node's word of before its turn, take it as
    given back, and have the other Pi of the board update at the same time."""
    rig = Rig()
    rig.health(A, wish=7)
    rig.sweep()
    assert rig.shown(PLACES[A]).turn == 7
    again = Rig(PowerDocument.decode(rig.kept[-1]))
    again.fellows[A] = evolve(again.fellows[A], of_before=True)  # no wish, as it said before the seventh
    again.health(B, wish=8)
    for _ in range(5):
        again.sweep()
        assert (again.shown(PLACES[A]).turn, again.shown(PLACES[B]).turn) == (7, 0)
    again.fellows[A] = evolve(again.fellows[A], of_before=False)
    again.sweep()
    assert (again.shown(PLACES[A]).turn, again.shown(PLACES[B]).turn) == (0, 8)


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
    assert any(note.endswith("took 200 J in 1 min 40 s") for note in rig.notes)


def test_between_sweeps_the_bay_is_taken_to_draw_what_it_drew_last() -> None:
    """What an update is said to draw would be off by a sweep at each end."""
    rig = Rig()
    rig.sweep()
    rig.health(A, wish=7)
    rig.owner.heard(rig.fellows, rig.now_s + 4, rig.wall_s + 4)
    for _ in range(9):
        rig.sweep()
    rig.health(A, wish=0)
    rig.owner.heard(rig.fellows, rig.now_s + 7, rig.wall_s + 7)
    power = rig.shown(PLACES[A])
    assert (power.update_j, power.update_s) == (186, 93)


def test_what_was_not_measured_of_an_update_is_neither_counted_nor_guessed() -> None:
    """Joules of two minutes would be told as those of ten."""
    rig = Rig()
    rig.health(A, wish=7)
    rig.sweep()
    for _ in range(3):
        rig.sweep()
    rig.bay(PLACES[A], figures=figures()[:2] + NOTHING[2:])
    for _ in range(50):
        rig.sweep()
    rig.bay(PLACES[A], figures=figures())
    for _ in range(4):
        rig.sweep()
    rig.health(A, wish=0)
    rig.sweep()
    power = rig.shown(PLACES[A])
    assert (power.update_j, power.update_s) == (140, 70)


def test_an_update_of_which_nothing_was_measured_is_not_told_as_the_one_before() -> None:
    """An update would be said to have drawn what another did."""
    rig = Rig()
    for measured in (True, False):
        rig.bay(PLACES[A], figures=figures() if measured else NOTHING)
        rig.health(A, wish=7)
        rig.sweep()
        rig.sweep()
        assert (rig.shown(PLACES[A]).update_j, len(rig.notes)) == (
            0 if measured else 40,
            0 if measured else 1,
        )
        rig.health(A, wish=0)
        rig.sweep()
    assert (rig.shown(PLACES[A]).update_j, rig.shown(PLACES[A]).update_s) == (0, 0)
    assert len(rig.notes) == 1


def test_more_than_idle_is_told_where_idle_was_seen_for_long_enough() -> None:
    """What a Pi draws anyway would be put down to its update; or two minutes after a boot be called idle."""
    for calm_sweeps, words in (
        (20, "took 400 J in 1 min 40 s"),
        (62, "400 J in 1 min 40 s, 200 J more than idle"),
    ):
        rig = Rig()
        for _ in range(calm_sweeps):
            rig.sweep()
        rig.health(A, wish=7)
        rig.bay(PLACES[A], figures=figures(bay_w=4.0))
        rig.sweep(0.0)
        for _ in range(10):
            rig.sweep()
        rig.health(A, wish=0)
        rig.sweep(0.0)
        assert rig.notes[-1].endswith(words)


def test_idle_is_what_it_was_of_late() -> None:
    """A summer would be compared with the winter before."""
    idle = Idle()
    for now_s in range(0, 100_000, 10):
        idle.read(2.0 if now_s < 80_000 else 3.0, float(now_s))
    assert idle.mean_w == pytest.approx(3.0, abs=0.01)


def test_an_account_outlives_its_owner_and_the_time_between_is_not_counted() -> None:
    """The node with the bus updates too: after its own restart its joules would be gone, or those of a boot be guessed."""
    rig = Rig()
    for _ in range(62):
        rig.sweep()
    rig.health(A, wish=7)
    for _ in range(11):
        rig.sweep()
    accounts = decode(encode(rig.accounts))
    again = Rig(PowerDocument.decode(rig.kept[-1]), accounts)
    again.health(A, wish=8)
    for _ in range(6):
        again.sweep(20.0)
    again.health(A, wish=0)
    again.sweep(0.0)
    assert again.notes[-1].endswith("took 400 J in 3 min 20 s, 0 J more than idle")
    assert accounts == {}


def test_an_account_of_an_update_that_is_over_is_not_that_of_the_next() -> None:
    """An update would be said to have drawn what two did: the node with the bus was killed, and had not kept the end of one."""
    rig = Rig(accounts={A: Account(2.0, Meter(1000.0, 500.0))})
    rig.health(A, wish=7)
    rig.sweep()
    rig.sweep()
    rig.health(A, wish=0)
    rig.sweep()
    assert rig.shown(PLACES[A]).update_j == 40


@pytest.mark.parametrize(
    "data",
    [
        b"",
        packed(2, [[]]),
        packed(1, [[[A, 1, 1]]]),
        packed(1, [[[b"a", 1, 1, 1]]]),
        packed(1, [[[A, -1, 1, 1]]]),
    ],
)
def test_what_was_kept_of_joules_is_not_believed_where_it_cannot_be(data: bytes) -> None:
    """A damaged state would keep the daemon from starting."""
    with pytest.raises(RefusedError):
        decode(data)


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
