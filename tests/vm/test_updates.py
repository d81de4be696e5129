"""A real boot loader, kernel, init and disk go through an update, and through what goes wrong with one.

Uses the real clock: machines are watched from outside until something has happened. What a machine runs is told by its root file
system, through the door, and not by fruitd. Machine `one` has its power cut; at the same time the others get bad releases.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from attrs import frozen

from tests.vm.fleet import PATIENCE_S, Workshop, spares
from tests.vm.power_cuts import PHASES, Copies, PowerCuts, gave_up

pytestmark = pytest.mark.vm

BAD = {3, 4, 5}
"""Releases that go wrong, see conftest.py."""
CUTS_OF_ONE, CUTS_OF_TWO = ("reusing", "verifying", "starting", "committed"), ("fetching",)
"""In the short form: every phase but the trial itself, since a release whose trials are cut off twice may be given up."""
CUTS_LONG = 3 * (*PHASES,)
COPIES_LONG = 84
"""A copy costs a third of the time of a cut, and its disk is the same."""
AT_ONCE = max(2, os.cpu_count() or 2)
"""Copies that are started at the same time. More only make each of them slower, and the machines beside them."""


@frozen
class Going:
    """Power cuts of machine `one`, which go on while machine `two` is looked at."""

    cuts: PowerCuts
    copies: Copies | None
    end: Future[str]


@pytest.fixture(scope="module")
def going(workshop: Workshop, *, long: bool, seed: int) -> Iterator[Going]:
    """What is under way beside the other tests: all bad releases are out."""
    for release in sorted(BAD & workshop.releases.keys()):
        workshop.publish(release)
    rng, machine = random.Random(seed), workshop.machines["one"]
    copies = Copies(machine, rng, AT_ONCE) if long else None
    cuts = PowerCuts(workshop, machine, rng, [2, *spares(long=long)], copies)
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(cuts.run, CUTS_LONG if long else CUTS_OF_ONE, COPIES_LONG if long else 0)
        yield Going(cuts, copies, end)


@pytest.mark.parametrize("release", sorted(BAD), ids=["kernel-panics", "init-hangs", "fruitd-unwell"])
def test_a_bad_release_is_left_without_a_hand(workshop: Workshop, going: Going, release: int) -> None:
    """A node far away would stand still until somebody drives there."""
    if release not in workshop.releases:
        pytest.skip("only in the long form")
    machine = workshop.machines[workshop.releases[release].removeprefix("vm,")]
    machine.wait(f"release {release} is given up", lambda s: gave_up(s, release), timeout_s=PATIENCE_S)
    assert (machine.release(), machine.slot()) == ("1", "a")
    console = machine.console.read_bytes()
    assert b"fruit: starting slot b" in console, "it was never tried"
    assert (b"Kernel panic" in console) == (release == 3), "it went wrong in another way than was meant"
    told = machine.get("/v1/history")
    assert told is not None
    for entry in told["events"]:
        if entry["release"] == release:
            print(f"  {entry['what']}: {entry['why']}")
    if machine.name not in ("one", "two"):
        machine.cut_power()  # its part is over, and the others have the processor


def test_after_bad_releases_a_good_one_is_taken_through_power_cuts(
    workshop: Workshop, going: Going, seed: int
) -> None:
    """One bad release would be the last that the node ever takes."""
    machine = workshop.machines["two"]
    slot = machine.slot()
    cuts = PowerCuts(workshop, machine, random.Random(seed + 1), [6])
    assert cuts.run(CUTS_OF_TWO) == "6"
    assert machine.slot() != slot
    print(f"{cuts.found.total()} power cuts, 0 bricked, now on release 6: {dict(cuts.found)}")


def test_power_may_fail_at_any_moment(going: Going) -> None:
    """A node whose power fails in the middle of an update would not start again, or never finish."""
    release = going.end.result()
    print(
        f"{going.cuts.found.total()} power cuts, 0 bricked, now on release {release}: {dict(going.cuts.found)}"
    )
    if going.copies is not None:
        going.copies.close()
        print(f"{going.copies.taken} copies of the disk started, 0 bricked: {dict(going.copies.found)}")
