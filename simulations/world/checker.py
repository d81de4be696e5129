"""What must never happen on any node, looked at from outside: the checker sees the machine, not what the node says of itself.

One rule for each line of design 6 "What never happens", and the first promise: whatever is cut, the default slot boots.
Each rule has a test which plants its violation (tests/simulations/test_checker.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum

from attrs import Factory, define, frozen

from fruitd.updater.journal import Journal, State
from simulations.world.heap import Heap
from simulations.world.images import Behaviour
from simulations.world.machine import Machine
from simulations.world.maintainer import Published
from swarm.news.record import Record
from swarm.switching import Action

SOUND_S = 30.0
"""A heart that beats for so long has been seen to beat, on a noisy bus too."""


class Rule(StrEnum):
    """What a violation broke."""

    BOOTABLE = "the default slot boots"
    ACTIVE_SLOT = "the active slot is never written"
    JOURNAL_FIRST = "a slot is written only after the journal says that it holds nothing"
    READ_BACK = "a slot is armed only after it was read back whole, and again after it ran"
    SIGNED = "only what the maintainers signed for this hardware is armed"
    OLDER = "nothing older than the highest release committed is armed"
    ATTEMPTS = "a release is tried no more often than its bound"
    QUARANTINED = "a quarantined release is never armed again, and never forgotten"
    TRIAL = "a commit follows a trial boot of that very slot and sustained health"
    NEWS = "no record enters a store that its signer did not make"
    LEGAL = "no pair of state and event happens that the updater's table names illegal"
    RESTLESS = "a core that was woken lets time pass"
    OWN_BAY = "the node that has the bus never switches its own bay off"
    BOTH_BAYS = "never is power taken from both bays of a board, but by an operator"
    SOUND = "no bay whose node beats is switched off, but by an operator"
    WRITING = "no bay is switched off while its node writes its boot environment"
    TURNS = "the two nodes of a board never update at the same time"
    MONOTONE = "the highest release accepted never goes back"


@frozen
class Violation:
    """A rule that was broken, where and when."""

    at_s: float
    node: int
    rule: Rule
    detail: str

    def __str__(self) -> str:
        return f"{self.at_s:.3f} s, node {self.node}: broken: {self.rule} ({self.detail})"


@frozen
class Bounds:
    """What the nodes were configured to keep."""

    attempts_max: int
    """Trial boots of a release that is never well."""
    cut_offs_max: int
    """Trial boots of one that was well, and was cut off."""
    health_sustain_s: float
    health_samples: int


@define
class _Watched:
    """What the checker remembers of one node. It survives everything that happens to the node."""

    machine: Machine
    hardware: frozenset[str]
    read_back: dict[str, tuple[int, ...] | None] = Factory(dict)
    trials: dict[bytes, int] = Factory(dict)
    hiccups: set[bytes] = Factory(set)
    """Releases of which the node saw a bad health sample."""
    quarantined: set[str] = Factory(set)
    highest_committed: int = 0
    committed_signer: bytes = b""
    highest_accepted: int = 0
    accepted_signer: str = ""
    healthy_since_s: float | None = None
    healthy_samples: int = 0
    mate: int | None = None
    """The node in the other bay of its board."""
    writing: bool = False
    """Its boot environment is being written."""
    dark: bool = False
    """Power was taken from its bay, and no operator wants it to stay so."""
    ordered: Action | None = None
    """What an operator may still have done to its bay, until `ordered_until_s`."""
    ordered_until_s: float = float("-inf")


UPDATING = frozenset(
    {
        State.REUSING,
        State.FETCHING,
        State.VERIFYING,
        State.ARMED,
        State.REBOOTING,
        State.TRIAL,
        State.ROLLED_BACK,
    }
)
"""From the first byte written into a slot until the machine runs what it is to run."""


class Checker:
    """Hears of everything that happens to machines and stores; collects violations."""

    def __init__(self, heap: Heap, bounds: Bounds) -> None:
        self.violations: list[Violation] = []
        self._heap = heap
        self._bounds = bounds
        self._published: dict[tuple[int, ...], Published] = {}
        self._bootable: set[tuple[int, ...]] = set()
        self._genuine: set[bytes] = set()
        self._nodes: dict[int, _Watched] = {}
        self._rotated_out: set[bytes] = set()

    # what the world tells in advance

    def add_node(self, node: int, machine: Machine, hardware: frozenset[str]) -> None:
        """Watch this machine from now on."""
        self._nodes[node] = _Watched(machine, hardware)
        machine.watch = lambda what, slot: self.machine_did(node, what, slot)

    def add_factory_image(self, blocks: Sequence[int]) -> None:
        """An image that cards come with: it boots, and nobody signed it."""
        self._bootable.add(tuple(blocks))

    def add_release(self, published: Published) -> None:
        """An image that maintainers have signed, good or bad."""
        blocks = published.image.blocks
        self._published[blocks] = published
        if published.image.behaviour in (Behaviour.GOOD, Behaviour.UNHEALTHY):
            self._bootable.add(blocks)

    def add_genuine(self, record: Record) -> None:
        """A record made by whoever it is signed by."""
        self._genuine.add(record.content_hash)

    def rotated_out(self, keys: set[bytes]) -> None:
        """Whatever these keys signed counts for nothing any more, as soon as a node knows it."""
        self._rotated_out |= keys

    def add_genuine_message(self, signed_bytes: bytes) -> None:
        """Bytes of a record that its signer is about to sign."""
        self._genuine.add(hashlib.sha256(signed_bytes).digest())

    # what is asked

    def has_violations(self) -> bool:
        """Has anything happened that never may?"""
        return bool(self.violations)

    def trial_was_hurt(self, node: int, infohash: bytes) -> bool:
        """Did the node see bad health of this release, or use up its tries? Then it may have given up a good one."""
        watched = self._nodes[node]
        return infohash in watched.hiccups or watched.trials.get(infohash, 0) >= self._bounds.attempts_max

    # what happens

    def machine_did(self, node: int, what: str, slot: str) -> None:
        """A machine wrote, armed, committed, booted, or lost its power."""
        watched = self._nodes[node]
        match what:
            case "write":
                self._written(node, watched, slot)
            case "arm":
                self._armed(node, watched, slot)
            case "commit":
                self._committed(node, watched, slot)
            case "boot":
                self._booted(node, watched, slot)
            case "trial":
                self._tried(node, watched, slot)

    def read_back_passed(self, node: int, slot: str) -> None:
        """The node was told that the slot holds what was signed; what it holds now is what was read."""
        watched = self._nodes[node]
        watched.read_back[slot] = self._medium(watched, slot)

    def health(self, node: int, ok: bool) -> None:
        """The node saw one health sample of the boot that runs."""
        watched = self._nodes[node]
        if not ok:
            watched.healthy_since_s, watched.healthy_samples = None, 0
            published = self._published.get(self._medium(watched, watched.machine.active or ""))
            if published is not None:
                watched.hiccups.add(published.infohash)
            return
        if watched.healthy_since_s is None:
            watched.healthy_since_s = self._heap.now_s
        watched.healthy_samples += 1

    def journal_saved(self, node: int, journal: Journal) -> None:
        """A journal became durable."""
        watched = self._nodes[node]
        fell = journal.highest_release < watched.highest_accepted
        if fell and bytes.fromhex(watched.accepted_signer) not in self._rotated_out:
            self._broken(node, Rule.MONOTONE, f"{watched.highest_accepted} -> {journal.highest_release}")
        watched.highest_accepted, watched.accepted_signer = journal.highest_release, journal.highest_signer
        listed = {q.infohash for q in journal.quarantined}
        for infohash in sorted(watched.quarantined - listed):
            self._broken(node, Rule.QUARANTINED, f"{infohash[:16]} was forgotten")
        watched.quarantined |= listed
        mate = self._nodes[watched.mate] if watched.mate is not None else None
        if mate is not None and journal.state in UPDATING and self._updates(mate):
            state = mate.machine.disk.journal.state if mate.machine.disk.journal is not None else None
            self._broken(node, Rule.TURNS, f"{journal.state}, and node {watched.mate} is {state}")

    @staticmethod
    def _updates(watched: _Watched) -> bool:
        """What has been made the default is installed, also where the disk was too full to write that down."""
        journal, machine = watched.machine.disk.journal, watched.machine
        kept = journal is not None and journal.state is State.TRIAL and machine.default == journal.target_slot
        return journal is not None and journal.state in UPDATING and not kept

    def share_a_board(self, one: int, other: int) -> None:
        """These two sit on one board."""
        self._nodes[one].mate, self._nodes[other].mate = other, one

    def environment(self, node: int, *, writing: bool) -> None:
        """The node begins to write its boot environment, or has written it, or has lost the daemon that did."""
        self._nodes[node].writing = writing

    def bay_ordered(self, node: int, action: Action, until_s: float) -> None:
        """An operator signed that this is to be done to this node's bay; it may be done until then."""
        self._nodes[node].ordered, self._nodes[node].ordered_until_s = action, until_s

    def bay_switched(self, node: int, owner: int, beats_for_s: float) -> None:
        """The node that has the bus has the power taken from this node's bay; for how long its heart has beaten."""
        watched = self._nodes[node]
        if node == owner:
            self._broken(node, Rule.OWN_BAY, "its bay")
        if watched.writing:
            self._broken(node, Rule.WRITING, "its bay")
        if beats_for_s >= SOUND_S and self._ordered(watched) in (None, Action.ON):
            self._broken(node, Rule.SOUND, f"it beats for {beats_for_s:.0f} s")

    def bay_power(self, node: int, *, on: bool, by_supply: bool = False) -> None:
        """The bay of this node got power, or lost it: because it was switched, or because the supply of its board failed."""
        watched = self._nodes[node]
        if on:
            watched.dark = False
        elif not by_supply:
            watched.dark = self._ordered(watched) is not Action.OFF
            if watched.mate is not None and self._nodes[watched.mate].dark:
                self._broken(node, Rule.BOTH_BAYS, f"it and node {watched.mate}")

    def _ordered(self, watched: _Watched) -> Action | None:
        return watched.ordered if self._heap.now_s <= watched.ordered_until_s else None

    def record_accepted(self, node: int, record: Record) -> None:
        """A store took a record in."""
        if record.content_hash not in self._genuine:
            self._broken(node, Rule.NEWS, f"{record.kind} {record.key.hex()[:16]} sequence {record.sequence}")

    def noted(self, node: int, what: str, why: str) -> None:
        """A node wrote a line into its history."""
        if what == "bug":
            self._broken(node, Rule.LEGAL, why)

    def restless(self, node: int) -> None:
        """A core asked again and again to be woken at once."""
        self._broken(node, Rule.RESTLESS, "over and over at one moment")

    def power_lost(self, node: int) -> None:
        """The power is gone and the medium is what it is now."""
        self._check_default(node, self._nodes[node])

    # rules

    def _written(self, node: int, watched: _Watched, slot: str) -> None:
        machine = watched.machine
        watched.read_back[slot] = None
        if slot == machine.active:
            self._broken(node, Rule.ACTIVE_SLOT, f"slot {slot} runs and was written")
        if slot == machine.default:
            self._broken(node, Rule.BOOTABLE, f"slot {slot} is the default and was written")
        journal = machine.disk.journal
        if journal is None or journal.slots.get(slot) is not None:
            self._broken(node, Rule.JOURNAL_FIRST, f"slot {slot} was written while the journal relies on it")

    def _armed(self, node: int, watched: _Watched, slot: str) -> None:
        content = self._medium(watched, slot)
        if watched.machine.slots[slot].pending or watched.read_back.get(slot) != content:
            self._broken(node, Rule.READ_BACK, f"slot {slot}")
        published = self._published.get(content)
        if published is None or not watched.hardware & set(published.compatible):
            self._broken(node, Rule.SIGNED, f"slot {slot}")
            return
        may_fall = watched.committed_signer in self._rotated_out
        if published.release < watched.highest_committed and not may_fall:
            self._broken(node, Rule.OLDER, f"release {published.release} after {watched.highest_committed}")
        if published.infohash.hex() in watched.quarantined:
            self._broken(node, Rule.QUARANTINED, f"release {published.release} was armed")

    def _committed(self, node: int, watched: _Watched, slot: str) -> None:
        if slot == watched.machine.default:
            return  # said again after a restart: changes nothing
        since_s, samples = watched.healthy_since_s, watched.healthy_samples
        sustained = since_s is not None and self._heap.now_s - since_s >= self._bounds.health_sustain_s - 1e-6
        if watched.machine.active != slot:
            self._broken(node, Rule.TRIAL, f"slot {slot} was committed while {watched.machine.active} runs")
        elif not sustained or samples < self._bounds.health_samples:
            self._broken(
                node, Rule.TRIAL, f"slot {slot} was committed after {samples} good samples since {since_s}"
            )
        published = self._published.get(self._medium(watched, slot))
        gone = watched.committed_signer in self._rotated_out
        if published is not None and (gone or published.release > watched.highest_committed):
            watched.highest_committed, watched.committed_signer = published.release, published.signer

    def _tried(self, node: int, watched: _Watched, slot: str) -> None:
        """The firmware began to boot a slot that is not the default; it may never come up."""
        published = self._published.get(self._medium(watched, slot))
        if published is None:
            self._broken(node, Rule.SIGNED, f"slot {slot} was booted")
            return
        tries = watched.trials.get(published.infohash, 0) + 1
        watched.trials[published.infohash] = tries
        watched.read_back[slot] = None  # it runs now, and may write
        good = published.image.behaviour is Behaviour.GOOD
        if tries > self._bounds.attempts_max + (self._bounds.cut_offs_max - 1 if good else 0):
            self._broken(node, Rule.ATTEMPTS, f"release {published.release}: trial boot {tries}")

    def _booted(self, node: int, watched: _Watched, slot: str) -> None:
        watched.healthy_since_s, watched.healthy_samples = None, 0
        self._check_default(node, watched)

    def _check_default(self, node: int, watched: _Watched) -> None:
        default = watched.machine.default
        if self._medium(watched, default) not in self._bootable:
            self._broken(node, Rule.BOOTABLE, f"slot {default} does not")

    def _medium(self, watched: _Watched, slot: str) -> tuple[int, ...]:
        return tuple(watched.machine.slots[slot].blocks) if slot else ()

    def _broken(self, node: int, rule: Rule, detail: str) -> None:
        self.violations.append(Violation(self._heap.now_s, node, rule, detail))
