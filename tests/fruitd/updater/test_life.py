"""If one of these failed, an update would take another course than docs/states.md says."""

from __future__ import annotations

import itertools
import random

import pytest
from attrs import evolve

from fruitd.boot_facts import BootFacts
from fruitd.errors import BugError
from fruitd.updater import effects as do
from fruitd.updater import events as on
from fruitd.updater.journal import Journal, State, Target
from fruitd.updater.machine import Updater
from tests.fruitd.updater.machine_model import SETTINGS, Behaviour, Machine, fresh, target, with_release

R1, R2, R3 = target(1), target(2), target(3)
SICK = Behaviour(healthy=False)


class Driver:
    """One updater, told events by hand."""

    def __init__(
        self, journal: Journal | None = None, active: str = "a", boot: BootFacts | None = None
    ) -> None:
        self.updater = Updater(journal or Journal(), SETTINGS, random.Random(5), strict=True)
        self.now_s = 100.0
        self.effects = self.tell(on.Started(boot or BootFacts("1", active, active, None)))

    def tell(self, *events: on.Event) -> list[do.Effect]:
        """The effects of the last of these events."""
        for event in events:
            self.now_s += 1.0
            self.effects = self.updater.handle(event, self.now_s)
        return self.effects

    def wait(self) -> list[do.Effect]:
        """Let time pass to the next wakeup."""
        due_s = self.updater.next_wakeup_s(self.now_s)
        assert due_s is not None
        self.now_s = due_s - 1.0
        return self.tell(on.Wakeup())

    def to(self, state: State, release: Target = R2) -> Driver:
        """Tell what leads a release there."""
        steps: list[on.Event] = [
            on.Offered(release),
            on.TorrentReady(release.infohash),
            on.SlotPrepared(release.infohash, 1, 2),
            on.ImageArrived(release.infohash),
            on.ReadBackPassed(release.infohash),
            on.SlotArmed(release.infohash),
        ]
        while self.state is not state:
            self.tell(steps.pop(0))
        return self

    @property
    def journal(self) -> Journal:
        return self.updater.journal

    @property
    def state(self) -> State:
        return self.updater.journal.state

    def kinds(self) -> list[type]:
        """The last effects, notes and seeds left out."""
        return [type(e) for e in self.effects if not isinstance(e, do.Note | do.Seed)]


def _of(machine: Machine, what: str) -> list[str]:
    return [note.why for note in machine.notes if note.what == what]


def test_a_good_release_goes_all_the_way_and_is_served_from_its_slot() -> None:
    """No node would ever be updated."""
    machine = with_release(fresh(), R1)
    assert machine.runs(R1)
    assert machine.seeding == (R1, "b")
    assert [n.what for n in machine.notes] == [
        "offered",
        "reused",
        "verified",
        "restarting",
        "trial",
        "committed",
    ]
    assert machine.journal.highest_release == 1
    with_release(machine, R2)
    assert machine.runs(R2)
    assert machine.active == "a"


def test_an_unhealthy_release_is_left_quarantined_and_superseded() -> None:
    """A bad release would stay, come back, or block the one that mends it."""
    machine = with_release(with_release(fresh(), R1), R2, SICK)
    assert machine.runs(R1)
    assert machine.journal.state is State.QUARANTINED
    assert "bad health samples in a row" in machine.journal.why
    assert machine.seeding == (R1, "b")
    with_release(machine, R2, SICK)
    assert machine.trial_boots[R2.infohash] == 1
    assert with_release(machine, R3).runs(R3)


def test_every_state_change_is_saved_before_the_effect_that_relies_on_it() -> None:
    """A power cut would find a slot half written that the journal still calls whole."""
    driver = Driver()
    for event in (
        on.Offered(R2),
        on.TorrentReady(R2.infohash),
        on.SlotPrepared(R2.infohash, 1, 2),
        on.ImageArrived(R2.infohash),
        on.ReadBackPassed(R2.infohash),
        on.SlotArmed(R2.infohash),
    ):
        driver.tell(event)
        saves = [i for i, e in enumerate(driver.effects) if isinstance(e, do.SaveJournal)]
        works = [
            i for i, e in enumerate(driver.effects) if not isinstance(e, do.SaveJournal | do.Note | do.Seed)
        ]
        assert saves
        assert works
        assert max(saves) < min(works)
        last = driver.effects[saves[-1]]
        assert isinstance(last, do.SaveJournal)
        assert last.journal == driver.journal


def test_the_slot_counts_as_empty_before_its_first_byte_is_written() -> None:
    """A half-written slot would be taken for the release that it held before."""
    machine = with_release(with_release(fresh(), R1), R2)
    driver = Driver(machine.journal, active=machine.active).to(State.REUSING, R3)
    save = next(e for e in driver.effects if isinstance(e, do.SaveJournal))
    assert save.journal.slots["b"] is None
    assert save.journal.slots["a"] is not None


def test_the_running_release_is_up_to_date() -> None:
    """A node would install for ever what it runs already."""
    machine = with_release(fresh(), R1)
    boots = machine.boots
    with_release(machine, R1)
    assert (machine.boots, machine.journal.state) == (boots, State.COMMITTED)
    machine.power_cut()
    machine.run()
    with_release(machine, R1)
    assert machine.journal.state is State.COMMITTED


@pytest.mark.parametrize("state", [State.OFFERED, State.REUSING, State.FETCHING, State.VERIFYING])
def test_a_newer_release_supersedes_work(state: State) -> None:
    """A node would finish an old release first, and fetch two."""
    driver = Driver().to(state)
    driver.tell(on.Offered(R3))
    assert driver.kinds() == [do.StopWork, do.SaveJournal, do.FetchTorrent]
    assert driver.journal.target == R3


@pytest.mark.parametrize("state", [State.ARMED, State.REBOOTING])
def test_a_newer_release_waits_for_the_end_of_a_trial(state: State) -> None:
    """A node would write the slot that is about to be booted."""
    driver = Driver().to(state)
    driver.tell(on.Offered(R3))
    assert driver.kinds() == [do.SaveJournal]
    assert (driver.journal.target, driver.journal.pending) == (R2, R3)


def test_what_waited_for_the_end_of_a_trial_is_installed_then() -> None:
    """A release that came during a trial would be forgotten."""
    machine = fresh()
    machine.behaviours[R2.infohash] = SICK
    machine.feed(on.Offered(R2))
    while machine.active == "a":
        assert machine.step() or machine.tick()
    machine.feed(on.Offered(R3))
    machine.run()
    assert machine.runs(R3)
    assert machine.journal.quarantine_of(R2.infohash) is not None


def test_answers_about_what_was_given_up_are_ignored() -> None:
    """The torrent of an old release would lead the new one into the slot unchecked."""
    driver = Driver().to(State.OFFERED)
    driver.tell(on.Offered(R3))
    for event in (
        on.TorrentReady(R2.infohash),
        on.TorrentRefused(R2.infohash, "x"),
        on.StepFailed(R2.infohash, "x", final=True),
    ):
        assert driver.tell(event) == []
    assert driver.state is State.OFFERED


def test_pauses_grow_to_their_bound_and_say_when_they_end() -> None:
    """A full disk would be tried at once again and again, or the node would never come back to it."""
    driver = Driver().to(State.OFFERED)
    pauses = []
    for _ in range(12):
        driver.tell(on.StepFailed(R2.infohash, "no space left"))
        assert driver.state is State.WAITING
        assert "no space left; trying again after" in driver.updater.describe()
        pauses.append(driver.journal.retry_at_s - driver.now_s)
        driver.wait()
        assert driver.kinds() == [do.SaveJournal, do.FetchTorrent]
    assert pauses[0] <= SETTINGS.retry_min_s
    assert all(p <= SETTINGS.retry_max_s for p in pauses)
    assert pauses[-1] >= SETTINGS.retry_max_s / 2


def test_a_clock_that_goes_back_does_not_stretch_a_pause() -> None:
    """A node whose clock was years ahead for a minute would wait for years."""
    driver = Driver().to(State.OFFERED)
    driver.tell(on.StepFailed(R2.infohash, "nobody has it"))
    driver.now_s -= 1e8
    driver.tell(on.Wakeup())
    assert driver.state is State.OFFERED


def test_a_final_failure_is_refused_until_something_else_is_offered() -> None:
    """An image that is larger than the slot would be fetched again and again."""
    driver = Driver().to(State.REUSING)
    driver.tell(on.StepFailed(R2.infohash, "the image is larger than slot b", final=True))
    assert (driver.state, driver.journal.why) == (State.REFUSED, "the image is larger than slot b")
    assert driver.tell(on.Offered(R2)) == []
    driver.tell(on.Offered(evolve(R2, signer="77" * 32)))
    assert driver.state is State.OFFERED


def test_a_refused_torrent_is_refused_in_words() -> None:
    """A forged torrent would be retried for ever, and nobody would know."""
    driver = Driver().to(State.OFFERED)
    driver.tell(on.TorrentRefused(R2.infohash, "its signature is wrong"))
    assert driver.state is State.REFUSED
    assert "its signature is wrong" in driver.journal.why


def test_a_slot_that_reads_back_wrong_is_repaired_a_few_times_and_then_rested() -> None:
    """A dying card would be armed, or worn to its end."""
    driver = Driver().to(State.VERIFYING)
    for _ in range(SETTINGS.read_back_tries - 1):
        driver.tell(on.ReadBackFailed(R2.infohash, 4))
        assert driver.state is State.REUSING
        driver.tell(on.SlotPrepared(R2.infohash, 1, 2), on.ImageArrived(R2.infohash))
    driver.tell(on.ReadBackFailed(R2.infohash, 4))
    assert driver.state is State.WAITING
    assert "4 bad blocks" in driver.journal.why


def test_a_way_that_is_lost_leads_back_to_what_the_slot_holds() -> None:
    """A node whose parcel leads no further would wait for ever, or begin with an empty slot."""
    driver = Driver().to(State.FETCHING)
    driver.tell(on.WayLost(R2.infohash, "slot a is not bit for bit release 1"))
    assert driver.state is State.REUSING
    assert driver.kinds() == [do.StopWork, do.SaveJournal, do.PrepareSlot]
    assert "slot a is not bit for bit release 1" in driver.journal.why
    driver.tell(on.SlotPrepared(R2.infohash, 1, 2, "2 bytes another way"), on.ImageArrived(R2.infohash))
    assert driver.state is State.VERIFYING


def test_a_hold_lets_the_fetch_finish_and_stops_before_arming() -> None:
    """An operator's hold would be passed over, or would throw away what was fetched."""
    driver = Driver().to(State.FETCHING)
    driver.tell(on.Hold("a demonstration today"))
    assert driver.kinds() == [do.SaveJournal]
    driver.tell(on.ImageArrived(R2.infohash), on.ReadBackPassed(R2.infohash))
    assert driver.state is State.WAITING
    assert "a demonstration today" in driver.updater.describe()
    assert driver.updater.next_wakeup_s(driver.now_s) is None
    again = Driver(driver.journal)
    assert again.state is State.WAITING
    again.tell(on.Resume())
    assert again.kinds() == [do.SaveJournal, do.ArmSlot]


def test_a_hold_begins_nothing_new() -> None:
    """A held node would write a slot and restart."""
    driver = Driver()
    driver.tell(on.Hold("no"), on.Offered(R2))
    assert (driver.state, driver.kinds()) == (State.WAITING, [do.SaveJournal])
    driver.tell(on.Offered(R3))
    assert driver.kinds() == [do.StopWork, do.SaveJournal]
    driver.tell(on.Resume())
    assert driver.kinds() == [do.SaveJournal, do.FetchTorrent]
    assert driver.journal.target == R3


def test_what_is_held_back_by_power_begins_nothing_and_goes_on_where_it_stood() -> None:
    """A release would be tried while the supply breaks down or the other Pi of the board updates; or never again after that."""
    driver = Driver()
    driver.updater.begin_held_back("not its turn")
    driver.tell(on.Offered(R2))
    assert (driver.state, driver.kinds()) == (State.WAITING, [do.SaveJournal])
    assert "not its turn" in driver.updater.describe()
    assert driver.updater.next_wakeup_s(driver.now_s) is None
    driver.tell(on.HeldBack("undervoltage"))
    assert "undervoltage" in driver.updater.describe()
    driver.tell(on.FreeAgain())
    assert driver.kinds() == [do.SaveJournal, do.FetchTorrent]
    driver.tell(on.HeldBack("undervoltage"))
    assert driver.kinds() == [do.StopWork, do.SaveJournal]
    driver.tell(on.FreeAgain())
    assert driver.state is State.OFFERED


def test_a_fetch_that_is_held_back_ends_before_arming() -> None:
    """The machine would restart into a trial with a supply that fails."""
    driver = Driver().to(State.FETCHING)
    driver.tell(on.HeldBack("undervoltage"), on.ImageArrived(R2.infohash), on.ReadBackPassed(R2.infohash))
    assert driver.state is State.WAITING
    driver.tell(on.FreeAgain())
    assert driver.kinds() == [do.SaveJournal, do.ArmSlot]


def test_contradicting_manifests_stop_the_work_until_a_new_one_settles_it() -> None:
    """A node would install one of two releases that a stolen key made."""
    driver = Driver().to(State.FETCHING)
    driver.tell(on.Disputed("manifest 7 exists twice"))
    assert driver.kinds() == [do.StopWork, do.SaveJournal]
    again = Driver(driver.journal)
    assert "manifest 7 exists twice" in again.updater.describe()
    again.tell(on.Offered(R2))
    assert (again.state, again.journal.disputed_why) == (State.OFFERED, None)


def test_a_withdrawn_release_is_given_up() -> None:
    """The maintainers would take a release back, and nodes would go on installing it."""
    machine = with_release(fresh(), R1)
    driver = Driver(machine.journal, active=machine.active).to(State.FETCHING)
    driver.tell(on.Offered(R1))
    assert driver.kinds() == [do.StopWork, do.SaveJournal]
    assert driver.state is State.IDLE
    assert "withdrawn" in driver.journal.why


def test_a_rollback_gives_the_other_slot_a_trial_and_quarantines_what_ran() -> None:
    """An operator could not undo an update that turned out bad after its commit."""
    machine = with_release(with_release(fresh(), R1), R2)
    machine.feed(on.Rollback("the camera is dead"))
    machine.run()
    assert machine.runs(R1)
    quarantine = machine.journal.quarantine_of(R2.infohash)
    assert quarantine is not None
    assert "the camera is dead" in quarantine.why
    assert machine.journal.highest_release == 2
    with_release(machine, R2)
    assert machine.runs(R1)
    assert with_release(machine, R3).runs(R3)


def test_a_hold_does_not_stop_a_rollback() -> None:
    """An operator who held a node first could not roll it back."""
    machine = with_release(with_release(fresh(), R1), R2)
    machine.feed(on.Hold("something is wrong"))
    machine.feed(on.Rollback("release 2 is wrong"))
    machine.run()
    assert machine.runs(R1)
    assert machine.journal.held_why == "something is wrong"


def test_a_rollback_to_nothing_is_refused_with_its_reason() -> None:
    """A node would restart into a slot that was never proved."""
    machine = with_release(fresh(), R1)
    machine.feed(on.Rollback("why not"))
    machine.run()
    assert machine.runs(R1)
    assert "was ever committed" in _of(machine, "rollback refused")[0]


def test_an_operator_can_end_a_trial() -> None:
    """An operator who sees that a trial is bad would have to wait for the node to see it too."""
    machine = fresh()
    machine.feed(on.Offered(R2))
    while not machine.watching:
        assert machine.step() or machine.tick()
    machine.feed(on.Rollback("smoke"))
    machine.run()
    assert machine.active == "a"
    assert "smoke" in machine.journal.why


def test_a_restart_that_does_not_come_is_asked_for_again_ever_more_rarely() -> None:
    """A node whose restart command fails would wait for ever, or call it every second."""
    driver = Driver().to(State.REBOOTING)
    asked = []
    for _ in range(6):
        driver.wait()
        assert driver.kinds() == [do.RestartNode]
        asked.append(driver.now_s)
    gaps = [b - a for a, b in itertools.pairwise(asked)]
    assert gaps == sorted(gaps)
    assert gaps[-1] <= max(SETTINGS.retry_max_s, SETTINGS.restart_patience_s) + 1


def test_a_boot_environment_that_cannot_be_written_is_tried_again_without_spending_tries() -> None:
    """A full boot partition would quarantine a good release."""
    driver = Driver().to(State.ARMED)
    for _ in range(10):
        driver.tell(on.StepFailed(R2.infohash, "boot environment cannot be written"))
        driver.wait()
        assert driver.kinds() == [do.ArmSlot]
    assert driver.journal.attempts == 1
    driver.tell(on.SlotArmed(R2.infohash))
    assert driver.state is State.REBOOTING


def test_a_journal_that_cannot_be_saved_holds_everything_until_it_can() -> None:
    """On a full disk a node would write a slot that its journal still calls whole."""
    driver = Driver().to(State.OFFERED)
    before = driver.journal
    driver.tell(on.TorrentReady(R2.infohash))
    save = next(e for e in driver.effects if isinstance(e, do.SaveJournal))
    effects = driver.updater.journal_not_saved(save.journal, "disk full", driver.now_s)
    assert [type(e) for e in effects] == [do.Note]
    assert driver.journal == before
    driver.tell(on.SlotPrepared(R2.infohash, 1, 2))
    assert driver.journal == before
    driver.wait()
    assert do.FetchTorrent in driver.kinds()


def test_an_offer_that_could_not_be_saved_is_not_lost() -> None:
    """A release offered while the disk was full would be missed until the next one."""
    driver = Driver()
    driver.tell(on.Offered(R2))
    driver.updater.journal_not_saved(driver.journal, "disk full", driver.now_s)
    assert driver.state is State.IDLE
    driver.wait()
    assert driver.journal.target == R2


@pytest.mark.parametrize("state", [State.OFFERED, State.FETCHING, State.ARMED, State.REBOOTING])
def test_an_offer_that_came_while_nothing_could_be_saved_is_not_lost(state: State) -> None:
    """A release offered in those seconds would be missed until the next one."""
    driver = Driver().to(state)
    driver.tell(on.Hold("wait"))
    driver.updater.journal_not_saved(driver.journal, "disk full", driver.now_s)
    driver.tell(on.Offered(R3))
    assert R3 not in (driver.journal.target, driver.journal.pending)
    driver.wait()
    assert R3 in (driver.journal.target, driver.journal.pending)
    first = next(e.journal for e in driver.effects if isinstance(e, do.SaveJournal))
    driver.updater.journal_not_saved(first, "disk full", driver.now_s)
    assert R3 not in (driver.journal.target, driver.journal.pending)
    driver.wait()
    assert R3 in (driver.journal.target, driver.journal.pending)


def test_a_trial_whose_end_cannot_be_saved_is_left_all_the_same() -> None:
    """A bad release that also fills the disk could not be left."""
    machine = fresh()
    machine.behaviours[R2.infohash] = SICK
    machine.feed(on.Offered(R2))
    while not machine.watching:
        assert machine.step() or machine.tick()
    machine.disk_full = True
    for _ in range(200):
        if machine.active == "a":
            break
        assert machine.step() or machine.tick()
    assert machine.active == "a"


def test_a_default_that_does_not_come_up_gives_way_to_the_slot_that_does() -> None:
    """A node whose new slot decayed would run the old one, and never be updated again."""
    machine = with_release(with_release(fresh(), R1), R2)
    machine.rot_default()
    machine.run()
    assert machine.runs(R1)
    assert with_release(machine, R2).runs(R2)


def test_a_lost_journal_in_a_trial_leads_back_to_the_default() -> None:
    """A node that lost its state in a trial would run an unproved release, and overwrite its only good one."""
    machine = with_release(fresh(), R1)
    machine.feed(on.Offered(R2))
    while not machine.watching:
        assert machine.step() or machine.tick()
    machine.journal = Journal()
    machine.kill()
    machine.run()
    assert (machine.active, machine.default) == ("b", "b")
    assert with_release(machine, R2).runs(R2)


def test_where_neither_slot_may_be_kept_the_node_stays_and_says_so() -> None:
    """A node would restart for ever between a slot that is dead and one that it must not keep."""
    machine = with_release(fresh(), R1)
    machine.behaviours[R2.infohash] = SICK
    machine.feed(on.Offered(R2))
    while not machine.watching:
        assert machine.step() or machine.tick()
    machine.content["b"], machine.rotted = "torn", "b"
    machine.run()
    assert machine.active == "a"
    assert machine.restarts <= 3 + SETTINGS.leave_restarts_max
    assert "nothing is installed" in machine.journal.why
    assert len(_of(machine, "stuck")) == 1
    boots = machine.boots
    machine.kill()
    machine.run()
    assert machine.boots == boots


def test_a_restarted_daemon_serves_its_slot_again() -> None:
    """After a restart of every daemon nobody would serve the release any more."""
    machine = with_release(fresh(), R1)
    machine.kill()
    machine.run()
    assert machine.seeding == (R1, "b")


def test_nothing_is_written_while_the_boot_environment_says_to_try_that_slot() -> None:
    """A power cut would boot a half-written slot."""
    driver = Driver(boot=BootFacts("1", "a", "a", "b"))
    assert do.CommitSlot("a") in driver.effects
    driver.tell(on.Offered(R2))
    assert driver.kinds() == [do.SaveJournal]
    assert driver.state is State.WAITING
    driver.tell(on.SlotCommitted("a"))
    assert driver.kinds() == [do.SaveJournal, do.FetchTorrent]


def test_a_commit_that_nobody_may_have_asked_for_is_a_bug() -> None:
    """A release would be kept that had not passed its trial."""
    journal = Driver().to(State.REBOOTING).journal
    driver = Driver(journal, boot=BootFacts("2", "b", "a", None))
    assert driver.state is State.TRIAL
    with pytest.raises(BugError):
        driver.tell(on.SlotCommitted("b"))
    with pytest.raises(BugError):
        driver.tell(on.SlotCommitted("a"))


def test_a_default_that_did_not_come_up_is_not_what_a_rollback_goes_to() -> None:
    """An operator's rollback would lead into a slot that is known to be dead."""
    machine = with_release(with_release(fresh(), R1), R2)
    machine.rot_default()
    machine.run()
    machine.feed(on.Rollback("the other way round"))
    machine.run()
    assert machine.runs(R1)
    assert "was ever committed" in _of(machine, "rollback refused")[-1]


def test_a_release_that_comes_back_is_read_back_anew() -> None:
    """What lay in the slot for a month would be booted without another look."""
    machine = with_release(fresh(), R1)
    driver = Driver(machine.journal, active=machine.active)
    driver.to(State.VERIFYING)
    driver.tell(on.Hold("not today"), on.ReadBackPassed(R2.infohash))
    assert driver.journal.holds_target()
    driver.tell(on.Offered(R1))
    assert driver.state is State.IDLE
    driver.tell(on.Resume(), on.Offered(R2))
    assert driver.kinds() == [do.SaveJournal, do.FetchTorrent]


def test_what_the_node_waits_for_is_said_in_one_line() -> None:
    """An operator would ask why a node is behind, and get a state's name for an answer."""
    for state in (
        State.OFFERED,
        State.REUSING,
        State.FETCHING,
        State.VERIFYING,
        State.ARMED,
        State.REBOOTING,
    ):
        words = Driver().to(state).updater.describe()
        assert words.startswith(f"{state}: ")
        assert "release 2" in words
        assert "\n" not in words
