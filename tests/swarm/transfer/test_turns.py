"""After a ban that may have hit the wrong one, holders are asked one at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarm.address import Address
from swarm.transfer.port import TransferPeer
from swarm.transfer.turns import GUILTY_MAX, Turn, Turns

STALL_S, PIECE_S = 10.0, 120.0


def holder(number: int) -> TransferPeer:
    """All behind one address, as behind a NAT."""
    return TransferPeer(bytes([number]) * 20, Address("192.0.2.1", 1000 + number), True)


A, B, C = holder(1), holder(2), holder(3)


def test_all_are_asked_while_nobody_is_banned() -> None:
    """Fetching would be as slow as one peer, or begin again because a site's line is down."""
    turns = Turns(STALL_S, PIECE_S)
    for at_s in (0.0, 5.0, 100.0, 1000.0):
        assert turns.whom([A, B], 0, 0, at_s) == Turn([A, B])


def test_a_ban_alone_changes_nothing() -> None:
    """One liar would slow a node down that gets all it needs from the others."""
    turns = Turns(STALL_S, PIECE_S)
    turns.whom([A, B], 0, 0, 0.0)
    turns.banned(A.address)
    for step in range(1, 50):
        assert turns.whom([A, B], step // 9, step * 1000, step * 5.0) == Turn([A, B])


def test_after_a_ban_and_silence_each_has_its_turn() -> None:
    """An honest node that was banned for a liar's block would never be asked again."""
    turns = Turns(STALL_S, PIECE_S)
    turns.whom([A, B, C], 0, 100, 0.0)
    turns.banned(B.address)
    assert turns.whom([A, B, C], 0, 100, 9.0) == Turn([A, B, C])
    assert turns.whom([A, B, C], 0, 100, 10.0) == Turn([A], again=True)
    assert turns.whom([A, B, C], 0, 100, 15.0) == Turn([A])
    assert turns.whom([A, B, C], 0, 200, 19.0) == Turn([A])
    assert turns.whom([A, B, C], 0, 200, 28.0) == Turn([A])
    assert turns.whom([A, B, C], 0, 200, 29.0) == Turn([B], again=True), "A has gone silent"
    assert turns.whom([A, B, C], 0, 300, 30.0) == Turn([B]), "whoever gives keeps its turn"
    assert turns.whom([A, B, C], 0, 300, 40.0) == Turn([C], again=True)
    assert turns.whom([A, B, C], 0, 300, 50.0) == Turn([A], again=True)


def test_a_liar_that_trickles_loses_its_turn() -> None:
    """A byte every few seconds, and never a whole piece, would keep a node from everybody else."""
    turns = Turns(STALL_S, PIECE_S)
    turns.whom([A, B], 0, 0, 0.0)
    turns.banned(B.address)
    turn = turns.whom([A, B], 0, 0, 10.0)
    for step in range(1, 24):
        assert turns.whom([A, B], 0, step, 10.0 + step * 5.0) == Turn([A]), step
    assert turn == Turn([A], again=True)
    assert turns.whom([A, B], 0, 24, 130.0) == Turn([B], again=True)


def test_whoever_is_banned_in_its_own_turn_is_a_liar() -> None:
    """The liar would have its turn again and again."""
    turns = Turns(STALL_S, PIECE_S)
    turns.whom([A, B], 0, 0, 0.0)
    turns.banned(A.address)
    turns.banned(B.address)
    assert turns.whom([A, B], 0, 0, 10.0) == Turn([A], again=True)
    turns.banned(A.address)
    assert turns.whom([A, B], 0, 0, 11.0) == Turn([B], again=True), "at once: nobody is left to wait for"
    turns.whom([A, B], 0, 1, 12.0)
    assert turns.whom([A, B], 0, 1, 22.0) == Turn([B], again=True)


def test_where_all_are_liars_they_are_tried_again() -> None:
    """A node whose own memory flips bits would blame everybody, and never ask anybody again."""
    turns = Turns(STALL_S, PIECE_S)
    turns.whom([A, B], 0, 0, 0.0)
    turns.banned(A.address)
    asked = []
    for step in range(1, 9):
        turn = turns.whom([A, B], 0, 0, step * 10.0)
        asked.append(turn.peers[0])
        turns.banned(turn.peers[0].address)
    assert set(asked) == {A, B}
    assert turns.whom([], 0, 0, 200.0) == Turn([])


@given(st.lists(st.tuples(st.integers(1, 90), st.booleans(), st.integers(0, 3)), max_size=400))
def test_only_one_at_a_time_and_never_too_much_memory(steps: list[tuple[int, bool, int]]) -> None:
    """Two givers of one piece would be the old doubt again."""
    turns = Turns(STALL_S, PIECE_S)
    now_s, have, alone = 0.0, 0, False
    for number, banned, grown in steps:
        now_s += 4.0
        have += grown
        if banned:
            turns.banned(holder(number).address)
        turn = turns.whom([holder(n) for n in range(1, number + 1)], 0, have, now_s)
        alone = alone or turn.again
        assert len(turn.peers) == 1 if alone else len(turn.peers) == number
        assert len(turns._guilty) <= GUILTY_MAX
