"""A checker that cannot fail would call every core safe: here each rule is broken on purpose, and must be found broken."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from attrs import evolve

from fruitd.updater.journal import Journal, Quarantine
from simulations.world.checker import Bounds, Checker, Rule
from simulations.world.heap import Dice, Heap
from simulations.world.images import Behaviour, Image, first_image, next_image
from simulations.world.machine import Machine
from simulations.world.maintainer import HARDWARE, OTHER_HARDWARE, Maintainer, Published, manifest_record
from swarm.trust.manifest import Manifest

NODE = 0
OF_STACKS = {Rule.OWN_BAY, Rule.BOTH_BAYS, Rule.WRITING, Rule.SOUND, Rule.TURNS}
"""Theirs are in test_stack.py, which has boards to break them on."""


class Bench:
    """One machine under watch, two signed releases, and the honest steps of an update."""

    def __init__(self) -> None:
        self.heap = Heap()
        self.checker = Checker(
            self.heap, Bounds(attempts_max=2, cut_offs_max=3, health_sustain_s=10.0, health_samples=3)
        )
        rng = random.Random(1)
        self.factory = first_image(rng, 8)
        self.maintainer = Maintainer(Dice(1))
        self.machine = Machine(8, rng)
        self.machine.slots["a"].blocks[:] = self.factory.blocks
        self.checker.add_node(NODE, self.machine, frozenset({HARDWARE}))
        self.checker.add_factory_image(self.factory.blocks)
        self.one = self.sign(1, next_image(rng, self.factory, 0.5, Behaviour.GOOD))
        self.two = self.sign(2, next_image(rng, self.one.image, 0.5, Behaviour.GOOD))
        self.bad = self.sign(3, next_image(rng, self.two.image, 0.5, Behaviour.UNBOOTABLE))
        self.save(Journal())
        self.machine.boot(self.machine.choose_slot())

    def sign(self, release: int, image: Image, hardware: str = HARDWARE) -> Published:
        published = self.maintainer.sign(release, image, (hardware,), 0.0)
        self.checker.add_release(published)
        return published

    def save(self, journal: Journal) -> None:
        self.machine.disk.journal = journal
        self.checker.journal_saved(NODE, journal)

    def fill(self, image: Image) -> str:
        slot = self.machine.inactive()
        for place, block in enumerate(image.blocks):
            self.machine.write(slot, place, block)
        return slot

    def read_back(self, slot: str) -> None:
        self.machine.flush(slot)
        self.checker.read_back_passed(NODE, slot)

    def restart(self) -> None:
        self.machine.power_off(cut=False)
        self.machine.boot(self.machine.choose_slot())

    def healthy(self, samples: int = 4, every_s: float = 5.0) -> None:
        for _ in range(samples):
            self.checker.health(NODE, True)
            self.heap.run_until(self.heap.now_s + every_s)

    def install(self, published: Published) -> None:
        slot = self.fill(published.image)
        self.read_back(slot)
        self.machine.arm(slot)
        self.restart()
        self.healthy()
        self.machine.commit(slot)

    def broken(self) -> set[Rule]:
        return {violation.rule for violation in self.checker.violations}


def test_an_honest_update_breaks_nothing() -> None:
    """A checker that cries wolf would be switched off."""
    bench = Bench()
    bench.install(bench.one)
    bench.install(bench.two)
    bench.machine.power_off(cut=True)
    bench.checker.power_lost(NODE)
    assert bench.checker.violations == []


def test_as_many_tries_as_are_allowed_break_nothing() -> None:
    """The checker would call a node bad that keeps its bounds."""
    bench = Bench()
    _try(bench, bench.one, 4)
    _try(bench, bench.bad, 2)
    assert Rule.ATTEMPTS not in bench.broken()


def _writes_the_running_slot(bench: Bench) -> None:
    bench.machine.write("a", 0, 1)


def _bricks_the_default_slot(bench: Bench) -> None:
    bench.fill(bench.bad.image)
    bench.machine.flush("b")
    bench.machine.default = "b"
    bench.checker.power_lost(NODE)


def _writes_the_old_default_during_a_trial(bench: Bench) -> None:
    slot = bench.fill(bench.one.image)
    bench.read_back(slot)
    bench.machine.arm(slot)
    bench.restart()
    bench.machine.write("a", 0, 1)


def _writes_what_the_journal_relies_on(bench: Bench) -> None:
    bench.machine.disk.journal = None
    bench.fill(bench.one.image)


def _arms_without_reading_back(bench: Bench) -> None:
    bench.machine.arm(bench.fill(bench.one.image))


def _arms_what_changed_after_reading_back(bench: Bench) -> None:
    slot = bench.fill(bench.one.image)
    bench.read_back(slot)
    bench.machine.slots[slot].blocks[3] ^= 1
    bench.machine.arm(slot)


def _arms_what_nobody_signed(bench: Bench) -> None:
    slot = bench.fill(next_image(random.Random(9), bench.factory, 0.5, Behaviour.GOOD))
    bench.read_back(slot)
    bench.machine.arm(slot)


def _arms_what_is_for_other_hardware(bench: Bench) -> None:
    image = next_image(random.Random(9), bench.factory, 0.5, Behaviour.GOOD)
    foreign = bench.sign(4, image, OTHER_HARDWARE)
    slot = bench.fill(foreign.image)
    bench.read_back(slot)
    bench.machine.arm(slot)


def _goes_back_to_an_older_release(bench: Bench) -> None:
    bench.install(bench.two)
    slot = bench.fill(bench.one.image)
    bench.read_back(slot)
    bench.machine.arm(slot)


def _tries_too_often(bench: Bench) -> None:
    _try(bench, bench.bad, 3)


def _tries_a_good_one_too_often(bench: Bench) -> None:
    _try(bench, bench.one, 5)


def _try(bench: Bench, published: Published, times: int) -> None:
    slot = bench.fill(published.image)
    for _ in range(times):
        bench.read_back(slot)
        bench.machine.arm(slot)
        bench.machine.choose_slot()


def _arms_what_ran_since_it_was_read_back(bench: Bench) -> None:
    _try(bench, bench.one, 1)
    bench.machine.arm("b")


def _forgets_a_quarantine(bench: Bench) -> None:
    listed = Quarantine(bench.bad.infohash.hex(), 3, "1.3", "did not boot", 0.0, 2)
    bench.save(evolve(Journal(), quarantined=(listed,)))
    bench.save(Journal())


def _arms_what_is_quarantined(bench: Bench) -> None:
    listed = Quarantine(bench.one.infohash.hex(), 1, "1.1", "was unhealthy", 0.0, 1)
    bench.save(evolve(Journal(), quarantined=(listed,)))
    slot = bench.fill(bench.one.image)
    bench.read_back(slot)
    bench.machine.arm(slot)


def _commits_without_a_trial(bench: Bench) -> None:
    slot = bench.fill(bench.one.image)
    bench.read_back(slot)
    bench.healthy()
    bench.machine.commit(slot)


def _commits_too_soon(bench: Bench) -> None:
    slot = bench.fill(bench.one.image)
    bench.read_back(slot)
    bench.machine.arm(slot)
    bench.restart()
    bench.healthy(samples=3, every_s=1.0)
    bench.machine.commit(slot)


def _commits_after_a_bad_sample(bench: Bench) -> None:
    slot = bench.fill(bench.one.image)
    bench.read_back(slot)
    bench.machine.arm(slot)
    bench.restart()
    bench.healthy()
    bench.checker.health(NODE, False)
    bench.machine.commit(slot)


def _believes_a_forger(bench: Bench) -> None:
    manifest = Manifest.decode(bench.two.manifest.body)
    bench.checker.record_accepted(NODE, manifest_record(manifest, 99, bench.maintainer.release_keys[:1]))


def _goes_back_in_releases_accepted(bench: Bench) -> None:
    bench.save(evolve(Journal(), highest_release=5))
    bench.save(evolve(Journal(), highest_release=4))


def _meets_an_illegal_pair(bench: Bench) -> None:
    bench.checker.noted(NODE, "bug", "Health in state idle")


def _spins(bench: Bench) -> None:
    bench.checker.restless(NODE)


CANARIES: list[tuple[Callable[[Bench], None], Rule]] = [
    (_writes_the_running_slot, Rule.ACTIVE_SLOT),
    (_bricks_the_default_slot, Rule.BOOTABLE),
    (_writes_the_old_default_during_a_trial, Rule.BOOTABLE),
    (_writes_what_the_journal_relies_on, Rule.JOURNAL_FIRST),
    (_arms_without_reading_back, Rule.READ_BACK),
    (_arms_what_changed_after_reading_back, Rule.READ_BACK),
    (_arms_what_nobody_signed, Rule.SIGNED),
    (_arms_what_is_for_other_hardware, Rule.SIGNED),
    (_goes_back_to_an_older_release, Rule.OLDER),
    (_tries_too_often, Rule.ATTEMPTS),
    (_tries_a_good_one_too_often, Rule.ATTEMPTS),
    (_arms_what_ran_since_it_was_read_back, Rule.READ_BACK),
    (_forgets_a_quarantine, Rule.QUARANTINED),
    (_arms_what_is_quarantined, Rule.QUARANTINED),
    (_commits_without_a_trial, Rule.TRIAL),
    (_commits_too_soon, Rule.TRIAL),
    (_commits_after_a_bad_sample, Rule.TRIAL),
    (_believes_a_forger, Rule.NEWS),
    (_goes_back_in_releases_accepted, Rule.MONOTONE),
    (_meets_an_illegal_pair, Rule.LEGAL),
    (_spins, Rule.RESTLESS),
]


@pytest.mark.parametrize(("crime", "rule"), CANARIES, ids=[crime.__name__[1:] for crime, _ in CANARIES])
def test_every_planted_violation_is_found(crime: Callable[[Bench], None], rule: Rule) -> None:
    """A core with this fault would pass the whole sweep."""
    bench = Bench()
    crime(bench)
    assert rule in bench.broken()
    assert str(rule) in str(bench.checker.violations[0]) or len(bench.broken()) > 1


def test_no_rule_is_without_a_canary() -> None:
    """A rule added without a way to fail would check nothing."""
    assert {rule for _, rule in CANARIES} | OF_STACKS == set(Rule)
