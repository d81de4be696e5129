"""A small model of one node's machine: two slots, a boot environment, a disk, and whatever carries out the updater's effects.

It checks the list of what must never happen (design 6) at every effect, against what is physically in the slots and not
against what the updater believes. `violation` is raised, so that a test sees where.
"""

from __future__ import annotations

import random
import re
from collections import Counter

from attrs import define, field, frozen

from fruitd.boot_facts import BootFacts
from fruitd.updater import effects as do
from fruitd.updater import events as on
from fruitd.updater.journal import SLOTS, Journal, State, Target, other_slot
from fruitd.updater.machine import Updater
from fruitd.updater.settings import UpdateSettings
from fruitd.updater.situation import BOOT_STATES

SETTINGS = UpdateSettings(
    retry_min_s=1.0,
    retry_max_s=60.0,
    health_interval_s=1.0,
    health_sustain_s=4.0,
    health_samples=5,  # five samples a second apart are four seconds, whatever the clock says
    health_fail_after=2,
    trial_deadline_s=30.0,
    restart_patience_s=20.0,
)
FACTORY = "factory"
TORN = "torn"


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class ViolationError(AssertionError):
    """Something happened that must never happen."""


FIRST_KEY = "66" * 32
"""Signs releases until it is rotated out."""


def target(release: int, mark: int = 0, signer: str = FIRST_KEY) -> Target:
    """A release; `mark` tells apart those that use one number twice."""
    infohash = f"{release:060x}{mark:04x}"
    return Target(
        "org.example/rootfs",
        release,
        f"{release}.{mark}",
        ("pi",),
        1_000_000,
        infohash,
        "55" * 32,
        900,
        signer,
    )


@frozen
class Behaviour:
    """How a release behaves once it is in a slot."""

    boots: bool = True
    healthy: bool = True


@define
class Machine:
    """One node. `crash_at` counts carried-out effects down to a crash of kind `crash`."""

    rng: random.Random
    settings: UpdateSettings = SETTINGS
    behaviours: dict[str, Behaviour] = field(factory=dict)
    true_s: float = 0.0
    clock_ahead_s: float = 1_000.0
    """What the clock shows, less the time that has really passed."""
    # durable
    journal: Journal = field(factory=Journal)
    content: dict[str, str] = field(factory=lambda: {"a": FACTORY, "b": TORN})
    default: str = "a"
    armed: str | None = None
    # volatile
    boots: int = 0
    keys: int = 0
    """Times the release key was rotated."""
    active: str = "a"
    updater: Updater = field(init=False)
    todo: list[do.Effect] = field(factory=list)
    answers: list[on.Event] = field(factory=list)
    watching: bool = False
    seeding: tuple[Target | None, str | None] = (None, None)
    up: bool = False
    # faults
    disk_full: bool = False
    env_broken: bool = False
    step_fault: float = 0.0
    rot: float = 0.0
    rotted: str | None = None
    refuse: float = 0.0
    way_lost: float = 0.0
    # what is true, for the checks
    read_back: dict[str, str | None] = field(factory=lambda: dict.fromkeys(SLOTS))
    passed: dict[str, bool] = field(factory=lambda: {"a": True, "b": False})
    good_streak: list[float] = field(factory=list)
    ran_since_read_back: dict[str, bool] = field(factory=lambda: dict.fromkeys(SLOTS, False))
    succeeded: set[str] = field(factory=set)
    """Images that were committed, as far as the journal can know."""
    silence: bool = False
    """The network is down for everybody: health can say neither."""
    trial_boots: Counter[str] = field(factory=Counter)
    restarts: int = 0
    carried_out: int = 0
    notes: list[do.Note] = field(factory=list)
    effects_seen: list[str] = field(factory=list)

    def violation(self, text: str) -> None:
        """Stop the test, with the last effects."""
        raise ViolationError(f"{text}; state {self.journal.state}, last effects {self.effects_seen[-12:]}")

    @property
    def now_s(self) -> float:
        """What the node's clock shows."""
        return self.true_s + self.clock_ahead_s

    # -- power and processes ------------------------------------------------------------------------------------

    def bootable(self, slot: str) -> bool:
        """What a kernel would find."""
        held = self.content[slot]
        return held == FACTORY or (held != TORN and self.behaviours.get(held, Behaviour()).boots)

    def boot(self) -> None:
        """Firmware: the armed slot once, the try used up first; otherwise, and after a panic, the default."""
        self.boots += 1
        slot, self.armed = self.armed or self.default, None
        if slot != self.default and not self.passed[slot]:
            self.trial_boots[self.content[slot]] += 1
            if self.trial_boots[self.content[slot]] > self.trial_boots_max(self.content[slot]):
                self.violation(
                    f"{self.content[slot]} was booted {self.trial_boots[self.content[slot]]} times"
                )
        if slot != self.default:
            self.ran_since_read_back[slot] = True
        if not self.bootable(slot):
            slot = self.default
        if not self.bootable(slot) and self.rotted:
            slot = other_slot(slot)
        if not self.bootable(slot):
            self.violation(f"bricked: default slot {slot} holds {self.content[slot]}")
        self.active = slot
        self.start_daemon()

    def trial_boots_max(self, held: str) -> int:
        """How often a release may be tried: one that is never well gets the least."""
        behaviour, s = self.behaviours.get(held, Behaviour()), self.settings
        good = behaviour.boots and behaviour.healthy
        return s.max_attempts - 1 + s.cut_offs_max if good else s.max_attempts

    def start_daemon(self) -> None:
        """The daemon begins, with nothing but what is durable."""
        self.todo, self.answers, self.watching, self.seeding = [], [], False, (None, None)
        self.good_streak = []
        self.updater = Updater(self.journal, self.settings, random.Random(self.rng.random()), strict=True)
        self.up = True
        self.feed(on.Started(BootFacts(str(self.boots), self.active, self.default, self.armed)))
        self.feed(on.ReleaseKeys(frozenset({self.key})))

    def rotate(self) -> None:
        """The release key was abused: the trust root names another, and nothing signed before is believed."""
        self.keys += 1
        self.feed(on.ReleaseKeys(frozenset({self.key})))
        self.feed(on.Withdrawn("no manifest that is believed names it"))

    @property
    def key(self) -> str:
        """What signs releases now, hex."""
        return f"{0x66 + self.keys:02x}" * 32

    def lose_state(self) -> None:
        """The data partition is lost; the slots and the boot environment are not. What was tried is forgotten with it."""
        if self.rotted:
            return  # with the good slot forgotten and the other one dead, only an operator can help
        self.journal = Journal()
        self.succeeded.clear()
        self.power_cut()
        self.trial_boots.clear()

    def rot_default(self) -> None:
        """The default slot decays while the other one is still good."""
        other = other_slot(self.default)
        known = self.journal.known_good(other) and self.passed[other] and self.bootable(other)
        one_fault_at_a_time = not self.disk_full and not self.env_broken
        under_way = self.armed is not None or self.journal.state in BOOT_STATES
        if known and one_fault_at_a_time and self.active == self.default and not under_way:
            self.rotted = self.default
            self.content[self.default], self.passed[self.default] = TORN, False
            self.power_cut()

    def kill(self) -> None:
        """`kill -9` of the daemon; init starts it again."""
        self.start_daemon()

    def power_cut(self) -> None:
        """Everything volatile is lost."""
        self.boot()

    # -- events and effects -------------------------------------------------------------------------------------

    def feed(self, event: on.Event) -> None:
        """Tell the updater; what it asks for is queued behind what it asked for before."""
        if isinstance(event, on.Health):
            self.good_streak = [*self.good_streak, self.true_s] if event.ok else []
        self.todo += self.updater.handle(event, self.now_s)

    def carry_out_next(self) -> None:
        """One effect."""
        effect = self.todo.pop(0)
        self.carried_out += 1
        self.effects_seen.append(type(effect).__name__)
        getattr(self, f"_do_{_snake(type(effect).__name__)}")(effect)

    def _do_save_journal(self, effect: do.SaveJournal) -> None:
        if self.disk_full:
            self.todo = self.updater.journal_not_saved(effect.journal, "disk full", self.now_s)
            return
        before = self.journal
        if effect.journal.highest_release < before.highest_release and before.highest_signer in (
            "",
            self.key,
        ):
            self.violation("the highest release went back")
        for entry in effect.journal.quarantined:
            if entry.infohash in self.succeeded and not entry.why.startswith("rolled back by the operator"):
                self.violation(f"{entry.infohash} was quarantined, though it was committed before")
        if effect.journal.trial_passed and not self.journal.trial_passed:
            if not self._sustained() or effect.journal.target_slot != self.active:
                self.violation("a trial was called passed without sustained health")
            self.passed[self.active] = True
        self.journal = effect.journal

    def _sustained(self) -> bool:
        streak = self.good_streak
        return (
            len(streak) >= self.settings.health_samples
            and streak[-1] - streak[0] >= self.settings.health_sustain_s
        )

    def _answer(self, event: on.Event, infohash: str) -> None:
        if self.rng.random() < self.step_fault:
            event = on.StepFailed(infohash, "a fault of the moment", final=False)
        elif self.rng.random() < self.refuse:
            event = on.StepFailed(infohash, "does not fit here", final=True)
            if self.rng.random() < 0.5:
                event = on.TorrentRefused(infohash, "forged")
        self.answers.append(event)

    def _do_fetch_torrent(self, effect: do.FetchTorrent) -> None:
        self._answer(on.TorrentReady(effect.target.infohash), effect.target.infohash)

    def _write(self, slot: str, held: str) -> None:
        if slot == self.active:
            self.violation("the active slot was written")
        if slot == self.default:
            self.violation("the default slot was written")
        if self.armed == slot:
            self.violation("a slot was written while it was armed")
        if self.journal.slots[slot] is not None or self.journal.factory_slot == slot:
            self.violation("the journal still says that the slot holds something, and it is being written")
        if self.seeding[1] == slot:
            self.violation("a slot was written while it was being served")
        self.content[slot] = held
        if self.rotted == slot:
            self.rotted = None
        self.read_back[slot], self.passed[slot] = None, False

    def _do_prepare_slot(self, effect: do.PrepareSlot) -> None:
        self._write(effect.slot, TORN)
        self._answer(on.SlotPrepared(effect.target.infohash, 10, 20), effect.target.infohash)

    def _do_fetch_image(self, effect: do.FetchImage) -> None:
        if self.way_lost and self.rng.random() < self.way_lost:
            self._write(effect.slot, TORN)
            self._answer(
                on.WayLost(effect.target.infohash, "the parcel led no further"), effect.target.infohash
            )
            return
        rotten = self.rng.random() < self.rot
        self._write(effect.slot, TORN if rotten else effect.target.infohash)
        self._answer(on.ImageArrived(effect.target.infohash), effect.target.infohash)

    def _do_read_back(self, effect: do.ReadBack) -> None:
        if self.content[effect.slot] == effect.target.infohash:
            self.read_back[effect.slot] = effect.target.infohash
            self.ran_since_read_back[effect.slot] = False
            self._answer(on.ReadBackPassed(effect.target.infohash), effect.target.infohash)
        else:
            self._answer(on.ReadBackFailed(effect.target.infohash, 3), effect.target.infohash)

    def _do_stop_work(self, effect: do.StopWork) -> None:
        work = (
            on.TorrentReady,
            on.TorrentRefused,
            on.SlotPrepared,
            on.WayLost,
            on.ImageArrived,
            on.ReadBackPassed,
            on.ReadBackFailed,
            on.StepFailed,
        )
        self.answers = [
            a for a in self.answers if not (isinstance(a, work) and a.infohash == effect.infohash)
        ]

    def _do_arm_slot(self, effect: do.ArmSlot) -> None:
        j = self.journal
        if effect.slot == self.active:
            self.violation("the active slot was armed")
        decayed = effect.slot == self.rotted  # since it was read back: the trial boot will tell
        if self.read_back[effect.slot] != effect.infohash or (
            self.content[effect.slot] != effect.infohash and not decayed
        ):
            self.violation("a slot was armed that was not read back whole")
        if self.ran_since_read_back[effect.slot]:
            self.violation("a slot was armed again that was not read back since it ran")
        if j.target is None or j.target.infohash != effect.infohash or j.state is not State.ARMED:
            self.violation("a slot was armed that the journal does not speak of")
        if j.quarantine_of(effect.infohash) is not None:
            self.violation("a quarantined release was armed")
        if j.target is not None and j.target.release < j.highest_release and not j.rollback:
            self.violation("an older release was armed")
        if self.env_broken:
            self.answers.append(on.StepFailed(effect.infohash, "boot environment cannot be written"))
            return
        self.armed = effect.slot
        self.answers.append(on.SlotArmed(effect.infohash))

    def _do_commit_slot(self, effect: do.CommitSlot) -> None:
        if effect.slot != self.default and not self.passed[effect.slot]:
            self.violation(f"slot {effect.slot} was committed without a trial and sustained health")
        if self.env_broken:
            target = self.journal.target
            self.answers.append(
                on.StepFailed(target.infohash if target else "", "boot environment cannot be written")
            )
            return
        self.ran_since_read_back[effect.slot] = False  # it runs, and is to stay
        if effect.slot != self.default:
            self.succeeded.add(self.content[effect.slot])
            self.trial_boots.pop(self.content[effect.slot], None)  # it has proved itself
        self.default, self.armed = effect.slot, None
        self.answers.append(on.SlotCommitted(effect.slot))

    def _do_restart_node(self, _effect: do.RestartNode) -> None:
        self.restarts += 1
        self.boot()

    def _do_watch_health(self, effect: do.WatchHealth) -> None:
        self.watching = effect.on

    def _do_seed(self, effect: do.Seed) -> None:
        held = self.content[effect.slot] if effect.slot is not None and effect.slot != self.rotted else None
        if effect.target is not None and held is not None and held != effect.target.infohash:
            self.violation(f"slot {effect.slot} is served as {effect.target.version} and does not hold it")
        self.seeding = (effect.target, effect.slot)

    def _do_note(self, effect: do.Note) -> None:
        if effect.what == "bug":
            self.violation(effect.why)
        self.notes.append(effect)

    # -- running ------------------------------------------------------------------------------------------------

    @property
    def healthy(self) -> bool:
        """How the running release feels."""
        return self.behaviours.get(self.content[self.active], Behaviour()).healthy

    def step(self) -> bool:
        """The next thing that is due without time passing; False if there is none."""
        if self.todo:
            self.carry_out_next()
        elif self.answers:
            self.feed(self.answers.pop(0))
        else:
            return False
        return True

    def tick(self) -> bool:
        """Let time pass to what is due next; False if nothing is."""
        due_s = self.updater.next_wakeup_s(self.now_s)
        if self.watching:
            self.true_s += self.settings.health_interval_s
            if self.silence and self.healthy:
                self.feed(on.Health(None, "nobody is heard", excused=True))
            else:
                self.feed(on.Health(self.healthy, "well" if self.healthy else "unwell"))
        if due_s is not None:
            self.true_s += max(due_s - self.now_s, 0.0) + 0.001
            self.feed(on.Wakeup())
        return self.watching or due_s is not None

    def run(self, steps_max: int = 3_000) -> None:
        """Until nothing is due any more."""
        for _ in range(steps_max):
            if not self.step() and not self.tick():
                return
        self.violation(f"not at rest after {steps_max} steps: {self.updater.describe()}")

    def runs(self, release: Target) -> bool:
        """True if this release runs, is the default and is committed in the journal."""
        known = self.journal.slots[self.active]
        return (
            self.content[self.active] == release.infohash
            and self.default == self.active
            and self.armed is None
            and known is not None
            and known.committed
            and known.target == release
        )


def fresh(seed: int = 1, **behaviours: Behaviour) -> Machine:
    """A machine as it leaves the factory, booted."""
    machine = Machine(random.Random(seed))
    machine.boot()
    machine.run()
    return machine


def with_release(machine: Machine, release: Target, behaviour: Behaviour | None = None) -> Machine:
    """Offer a release, and let it run to its end."""
    machine.behaviours[release.infohash] = behaviour or Behaviour()
    machine.feed(on.Offered(release))
    machine.run()
    return machine


__all__ = ["Behaviour", "Machine", "ViolationError", "fresh", "other_slot", "target", "with_release"]
