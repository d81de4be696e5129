"""Every node's own part: its heart, its wish, and what holds it back."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fruitd.power.effects import HoldBack, PauseHeartbeat, PowerEffect, Say, UpdateUsed
from fruitd.power.heart import BAD_LOOKS, Heart
from fruitd.power.own import CLEAR_S, FRESH_S, PAUSE_EVERY_S, TURN_WORDS, OwnPower
from fruitd.power.settings import PowerSettings
from swarm.power import BayPower, Beat, NodeHealth, PauseAsked, Place, Supply

ME, OWNER = b"m" * 20, b"o" * 20
WALL_S = 1_800_000_000.0
GOOD, LOW = Supply(undervoltage=False), Supply(undervoltage=True)


def own(**settings: Any) -> OwnPower:
    return OwnPower(PowerSettings(**{"stack": "rack", "beats": True, **settings}), ME, random.Random(1), 0.0)


def hold(effects: list[PowerEffect]) -> list[str | None]:
    return [effect.why for effect in effects if isinstance(effect, HoldBack)]


def said(effects: list[PowerEffect]) -> NodeHealth:
    found = [e.said for e in effects if isinstance(e, Say) and isinstance(e.said, NodeHealth)]
    return found[-1]


def bay(**changes: Any) -> BayPower:
    return BayPower(int(WALL_S), "rack", Place(0, 1), node_id=ME, **changes)


def test_a_node_on_a_board_waits_for_its_turn_and_no_other_does() -> None:
    """Two Pis of a board would update at once; or one without a board would wait for nobody."""
    alone = own(stack="", beats=False)
    assert alone.hold_back is None
    assert hold(list(alone.looked(GOOD, "", 1.0))) == []
    node = own()
    assert node.hold_back == TURN_WORDS
    wish = said(list(node.updating(True, 1.0, WALL_S))).wish
    assert wish
    assert hold(list(node.told([bay(turn=wish - 1)], 0.0, 2.0))) == []  # yesterday's
    assert hold(list(node.told([bay(turn=wish)], 0.0, 3.0))) == [None]
    assert list(node.updating(False, 4.0, WALL_S + 3)) == []
    effects = list(node.on_time(node.due_s, WALL_S + 4))
    assert said(effects).wish == 0
    assert hold(effects) == [TURN_WORDS]
    assert said(list(node.updating(True, 5.0, WALL_S + 5))).wish != wish


def test_an_update_that_is_not_over_after_all_keeps_its_turn() -> None:
    """A full disk: its end could not be written down, the trial went on, and its mate had the turn already."""
    node = own()
    wish = said(list(node.updating(True, 1.0, WALL_S))).wish
    list(node.told([bay(turn=wish)], 0.0, 2.0))
    assert list(node.updating(False, 3.0, WALL_S + 2)) == []
    assert list(node.updating(True, 3.0, WALL_S + 2)) == []
    assert hold(list(node.on_time(5.0, WALL_S + 4))) == []
    assert node.health(5.0, WALL_S + 4).wish == wish


def used(effects: list[PowerEffect]) -> list[tuple[float, float]]:
    return [(e.used.joules, e.used.known_s) for e in effects if isinstance(e, UpdateUsed)]


@pytest.mark.parametrize("restarts", [False, True])
def test_what_the_owner_of_the_bus_says_of_an_update_that_is_over_is_told_once(restarts: bool) -> None:
    """A node would never know what its update drew, or tell the one before, or tell it with every word about its bay."""
    node = own()
    wish = said(list(node.updating(True, 1.0, WALL_S))).wish
    before, granted, after = bay(update_j=7, update_s=7), bay(turn=wish), bay(update_j=412, update_s=95)
    assert used(list(node.told([before], 0.0, 1.5))) == []
    assert used(list(node.told([granted], 0.0, 2.0))) == []
    if restarts:  # into the slot that it came from: nothing is under way any more
        node = own()
        assert used(list(node.told([granted], 0.0, 1.0))) == []
    else:
        list(node.updating(False, 90.0, WALL_S + 90))
        list(node.on_time(91.0, WALL_S + 91))
    assert used(list(node.told([], 0.0, 92.0))) == []
    assert used(list(node.told([after], 0.0, 93.0))) == [(412.0, 95.0)]
    assert used(list(node.told([after], 0.0, 94.0))) == []


def test_nothing_is_told_of_an_update_that_was_not_measured_or_goes_on() -> None:
    """0 J would be told where no board measures; or a turn that went to another be taken for the end of the update."""
    node = own()
    wish = said(list(node.updating(True, 1.0, WALL_S))).wish
    list(node.told([bay(turn=wish)], 0.0, 2.0))
    assert used(list(node.told([bay(update_j=5, update_s=5)], 0.0, 3.0))) == []
    list(node.told([bay(turn=wish)], 0.0, 4.0))
    list(node.updating(False, 90.0, WALL_S + 90))
    list(node.on_time(91.0, WALL_S + 91))
    assert used(list(node.told([bay()], 0.0, 93.0))) == []


def test_a_wish_that_nobody_grants_is_said_again() -> None:
    """A word lost on the way would keep a node from updates for half an hour."""
    node = own()
    list(node.updating(True, 1.0, WALL_S))
    assert node.due_s < 90
    assert said(list(node.on_time(node.due_s, WALL_S + 60))).wish


@pytest.mark.parametrize(("bay_number", "factor"), [(0, 1), (1, 2)])
def test_a_stack_whose_owner_died_updates_all_the_same_bay_1_later(bay_number: int, factor: int) -> None:
    """A whole rack would never update again because one node died; or both bays at once."""
    node = own(place=Place(0, bay_number), turn_wait_s=10_000.0)
    list(node.updating(True, 0.0, WALL_S))
    assert hold(list(node.told([], 10_000.0 * factor - 1, 10_000.0 * factor - 1))) == []
    assert hold(list(node.told([], 10_000.0 * factor + 1, 10_000.0 * factor + 1))) == [None]
    assert FRESH_S < 10_000.0


def test_undervoltage_holds_back_until_it_has_been_good_for_a_while() -> None:
    """A release would be tried while the supply breaks down, and be blamed for it."""
    node = own(stack="", beats=False)
    (why,) = hold(list(node.looked(LOW, "", 10.0)))
    assert why is not None
    assert "undervoltage" in why
    assert hold(list(node.looked(GOOD, "", 20.0))) == []
    assert hold(list(node.looked(GOOD, "", 10.0 + CLEAR_S))) == [None]


def test_what_the_board_measures_holds_back_too() -> None:
    """A Pi cannot measure its own supply: its board can."""
    node = own()
    (wish,) = [said(list(node.updating(True, 1.0, WALL_S))).wish]
    list(node.told([bay(turn=wish)], 0.0, 2.0))
    (why,) = hold(list(node.told([bay(turn=wish, supply_why="the bay gets 4.4 V")], 0.0, 3.0)))
    assert why is not None
    assert "4.4 V" in why


def test_a_pause_is_heeded_within_bounds_whoever_asks() -> None:
    """A liar could keep a heart silent until its node is power-cycled."""
    node = own()
    asked = PauseAsked(int(WALL_S), "rack", ME, 90)
    effects = list(node.pause_asked(asked, OWNER, 100.0, WALL_S))
    assert [e.for_s for e in effects if isinstance(e, PauseHeartbeat)] == [90.0]
    assert said(effects).beat is Beat.PAUSED
    total = 0.0
    for now_s in range(100, 3700, 10):
        again = list(
            node.pause_asked(
                PauseAsked(int(WALL_S) + now_s, "rack", ME, 90), OWNER, float(now_s), WALL_S + now_s
            )
        )
        total += sum(e.for_s for e in again if isinstance(e, PauseHeartbeat))
    assert total <= 90 * 3600 / PAUSE_EVERY_S


@pytest.mark.parametrize(
    ("asked", "settings"),
    [
        (PauseAsked(int(WALL_S) - 3600, "rack", ME, 45), {}),
        (PauseAsked(int(WALL_S), "rack", b"x" * 20, 45), {}),
        (PauseAsked(int(WALL_S), "other", ME, 45), {}),
        (PauseAsked(int(WALL_S), "rack", ME, 45), {"owners": frozenset({b"q" * 20})}),
        (PauseAsked(int(WALL_S), "rack", ME, 45), {"beats": False}),
    ],
)
def test_pauses_that_are_not_heeded(asked: PauseAsked, settings: dict[str, Any]) -> None:
    """Old requests, strangers' and others' would silence this heart."""
    effects = list(own(**settings).pause_asked(asked, OWNER, 1000.0, WALL_S))
    assert not [e for e in effects if isinstance(e, PauseHeartbeat)]


def test_a_heart_stops_for_what_a_power_cycle_may_mend_and_for_nothing_else() -> None:
    """A node that only waits for its clock would be power-cycled again and again; a sick one never."""
    heart = Heart()
    for _ in range(2 * BAD_LOOKS):
        heart.look(
            [("time", False, "not set"), ("temperature", False, "hot"), ("power", False, "low")],
            on_trial=False,
        )
    assert heart.why == ""
    for number in range(BAD_LOOKS):
        assert heart.why == ""
        heart.look([("memory", False, f"{number} MiB")], on_trial=False)
    assert heart.why.startswith("memory")
    heart.look([("memory", False, "0 MiB")], on_trial=True)  # the updater judges
    assert heart.why == ""


def test_an_unwell_heart_is_silent_and_says_why() -> None:
    """The owner of the bus would take it for sound, and leave it alone."""
    node = own()
    list(node.looked(GOOD, "memory: 3 MiB available", 1.0))
    health = said(list(node.on_time(node.due_s, WALL_S)))
    assert (health.beat, health.well, health.why) == (Beat.SILENT, False, "memory: 3 MiB available")
