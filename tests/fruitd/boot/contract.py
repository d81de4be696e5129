"""What every boot backend must keep. A backend's test module subclasses `BootContract` and gives it a bench.

If one of these failed for a backend, nodes with that loader could brick, or try a slot twice.
"""

from __future__ import annotations

from typing import Protocol

import pytest

from fruitd.boot.port import BootBackend
from fruitd.errors import SlotError


class BootBench(Protocol):
    """One machine with its loader, real or emulated. It begins running slot "a", the default, with nothing armed."""

    def backend(self) -> BootBackend:
        """A backend for the boot that runs now; a new object each time, as after a restart of the daemon."""
        ...

    def restart(self, bootable: str = "ab") -> None:
        """Restart as `restart_command` of the backend says; slots not in `bootable` panic, and the machine starts anew."""
        ...

    def power_cycle(self, bootable: str = "ab") -> None:
        """Power off and on; slots not in `bootable` panic."""
        ...

    def tear(self) -> None:
        """Let the power go in the middle of the next write to the boot environment, then power cycle."""
        ...


class BootContract:
    """Subclass it, with a fixture named `bench`."""

    def test_a_machine_begins_in_its_default_slot(self, bench: BootBench) -> None:
        """The node would not know which slot it must not write."""
        facts = bench.backend().facts()
        assert (facts.active, facts.default, facts.armed) == ("a", "a", None)

    def test_the_boot_id_is_one_for_a_boot_and_another_for_the_next(self, bench: BootBench) -> None:
        """A restart of the daemon would be taken for one of the machine, and a trial be counted twice or never."""
        first = bench.backend().facts().boot_id
        assert bench.backend().facts().boot_id == first
        bench.power_cycle()
        assert bench.backend().facts().boot_id != first

    def test_arming_changes_nothing_until_the_next_boot(self, bench: BootBench) -> None:
        """The node would think that it runs the new release."""
        bench.backend().arm("b")
        facts = bench.backend().facts()
        assert (facts.active, facts.default, facts.armed) == ("a", "a", "b")

    def test_an_armed_slot_is_tried_once(self, bench: BootBench) -> None:
        """A release that hangs would be booted for ever."""
        bench.backend().arm("b")
        bench.restart()
        facts = bench.backend().facts()
        assert (facts.active, facts.default, facts.armed) == ("b", "a", None)
        bench.power_cycle()
        facts = bench.backend().facts()
        assert (facts.active, facts.default, facts.armed) == ("a", "a", None)

    def test_a_restart_during_the_trial_ends_it(self, bench: BootBench) -> None:
        """A trial that was given up would begin again."""
        bench.backend().arm("b")
        bench.restart()
        bench.restart()
        facts = bench.backend().facts()
        assert (facts.active, facts.default, facts.armed) == ("a", "a", None)

    def test_a_power_cut_after_arming_is_the_trial_or_the_old_system(self, bench: BootBench) -> None:
        """A flag that the firmware forgets must not be taken for one that is set."""
        bench.backend().arm("b")
        bench.power_cycle()
        facts = bench.backend().facts()
        assert facts.active in ("a", "b")
        assert (facts.default, facts.armed) == ("a", None)
        bench.power_cycle()
        assert bench.backend().facts().active == "a"

    def test_an_armed_slot_that_panics_leads_back_to_the_default(self, bench: BootBench) -> None:
        """A release that does not boot would brick the node."""
        bench.backend().arm("b")
        bench.restart(bootable="a")
        facts = bench.backend().facts()
        assert (facts.active, facts.default, facts.armed) == ("a", "a", None)

    def test_a_committed_slot_is_the_default_from_then_on(self, bench: BootBench) -> None:
        """An update would be lost at the next restart."""
        bench.backend().arm("b")
        bench.restart()
        bench.backend().commit("b")
        facts = bench.backend().facts()
        assert (facts.active, facts.default, facts.armed) == ("b", "b", None)
        bench.power_cycle()
        assert bench.backend().facts().active == "b"

    def test_the_second_update_goes_the_other_way(self, bench: BootBench) -> None:
        """A node could be updated once."""
        for old, new in ("ab", "ba", "ab"):
            bench.backend().arm(new)
            bench.restart()
            assert bench.backend().facts().active == new
            bench.power_cycle()
            assert bench.backend().facts().active == old
            bench.backend().arm(new)
            bench.restart()
            bench.backend().commit(new)
            bench.restart()
            facts = bench.backend().facts()
            assert (facts.active, facts.default, facts.armed) == (new, new, None)

    def test_mending_changes_nothing(self, bench: BootBench) -> None:
        """A start of the daemon would take back what was armed, or use up the try."""
        bench.backend().mend()
        assert bench.backend().facts().armed is None
        bench.backend().arm("b")
        bench.backend().mend()
        assert bench.backend().facts().armed == "b"
        bench.restart()
        bench.backend().mend()
        facts = bench.backend().facts()
        assert (facts.active, facts.default, facts.armed) == ("b", "a", None)

    def test_only_the_two_slots_can_be_armed_or_committed(self, bench: BootBench) -> None:
        """A slot that does not exist would be written into the environment, which then names none."""
        for change in (bench.backend().arm, bench.backend().commit):
            for slot in ("c", "", "ab"):
                with pytest.raises(SlotError):
                    change(slot)
        assert bench.backend().facts().default == "a"

    def test_a_commit_takes_back_what_was_armed(self, bench: BootBench) -> None:
        """A release that was given up would be booted after all."""
        bench.backend().arm("b")
        bench.backend().commit("a")
        assert bench.backend().facts().armed is None
        bench.restart()
        assert bench.backend().facts().active == "a"

    def test_everything_may_be_asked_for_twice(self, bench: BootBench) -> None:
        """A daemon that is killed between asking and noting would find an error where there is none."""
        bench.backend().arm("b")
        bench.backend().arm("b")
        bench.restart()
        bench.backend().commit("b")
        bench.backend().commit("b")
        facts = bench.backend().facts()
        assert (facts.active, facts.default, facts.armed) == ("b", "b", None)

    def test_a_torn_write_leaves_the_old_word_or_the_new_one(self, bench: BootBench) -> None:
        """A power cut while arming or committing would brick the node."""
        bench.tear()
        backend = bench.backend()
        assert backend.facts().active in "ab"
        backend.commit(backend.facts().active)
        bench.power_cycle()
        facts = bench.backend().facts()
        assert facts.active == facts.default
