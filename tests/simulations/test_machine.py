"""If a virtual power cut were harmless, the journal's promises would never have been tried."""

from __future__ import annotations

import random

from simulations.world.images import BLANK, TORN
from simulations.world.machine import Machine


def _machine(seed: int = 1) -> Machine:
    machine = Machine(64, random.Random(seed))
    machine.boot(machine.choose_slot())
    return machine


def test_a_power_cut_keeps_loses_or_tears_what_was_not_flushed() -> None:
    """Arming without reading back would look safe."""
    machine = _machine()
    for place in range(64):
        machine.write("b", place, 1000 + place)
    machine.power_off(cut=True)
    blocks = machine.slots["b"].blocks
    fates = {"kept": 0, "lost": 0, "torn": 0}
    for place, block in enumerate(blocks):
        fates["kept" if block == 1000 + place else "torn" if block == TORN else "lost"] += 1
        assert block in (1000 + place, BLANK, TORN)
    assert min(fates.values()) > 5
    assert machine.active is None


def test_what_was_flushed_survives_a_power_cut() -> None:
    """A verified slot would rot in the world and not on a card, and the cores would be blamed."""
    machine = _machine()
    for place in range(64):
        machine.write("b", place, 1000 + place)
    machine.flush("b")
    machine.power_off(cut=True)
    assert machine.holds("b", range(1000, 1064))


def test_an_orderly_restart_loses_nothing() -> None:
    """Every restart would look like a power cut."""
    machine = _machine()
    machine.write("b", 0, 7)
    machine.power_off(cut=False)
    assert machine.slots["b"].blocks[0] == 7


def test_unflushed_blocks_are_seen_by_programs_but_not_on_the_medium() -> None:
    """A read-back that does not flush would pass."""
    machine = _machine()
    machine.write("b", 3, 7)
    assert machine.slots["b"].read(3) == 7
    assert machine.slots["b"].content()[3] == 7
    assert not machine.holds("b", (BLANK, BLANK, BLANK, 7))


def test_an_armed_slot_is_tried_once() -> None:
    """A release that hangs would be booted for ever."""
    machine = _machine()
    machine.arm("b")
    first_boot = machine.boot_id
    assert machine.choose_slot() == "b"
    assert machine.choose_slot() == "a"
    assert machine.boot_id != first_boot


def test_a_commit_makes_the_slot_the_default() -> None:
    """A good release would be left again at the next restart."""
    machine = _machine()
    machine.arm("b")
    machine.boot(machine.choose_slot())
    machine.commit("b")
    machine.power_off(cut=True)
    assert machine.choose_slot() == "b"
