"""What must never happen on any node, looked at from outside: the checker sees the machine, not what the node says of itself.

One rule for each line of design 6 "What never happens", and the first promise: whatever is cut, the default slot boots.
Each rule has a test which plants its violation (tests/simulations/test_checker.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum

from attrs import Factory, define, frozen

from fruitd.updater.journal import Journal
from simulations.world.heap import Heap
from simulations.world.images import Behaviour
from simulations.world.machine import Machine
from simulations.world.maintainer import Published
from swarm.news.record import Record


class Rule(StrEnum):
    """What a violation broke."""

    BOOTABLE = "the default slot boots"
    ACTIVE_SLOT = "the active slot is never written"
    JOURNAL_FIRST = "a slot is written only after the journal says that it holds nothing"
    READ_BACK = "a slot is armed only after it was read back whole"
    SIGNED = "only what the maintainers signed for this hardware is armed"
    OLDER = "nothing older than the highest release committed is armed"
    ATTEMPTS = "a release is tried no more often than its bound"
    QUARANTINED = "a quarantined release is never armed again, and never forgotten"
    TRIAL = "a commit follows a trial boot of that very slot and sustained health"
    NEWS = "no record enters a store that its signer did not make"
    LEGAL = "no pair of state and event happens that the updater's table names illegal"
    RESTLESS = "a core that was woken lets time pass"
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
    highest_accepted: int = 0
    healthy_since_s: float | None = None
    healthy_samples: int = 0


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
        if journal.highest_release < watched.highest_accepted:
            self._broken(node, Rule.MONOTONE, f"{watched.highest_accepted} -> {journal.highest_release}")
        watched.highest_accepted = max(watched.highest_accepted, journal.highest_release)
        listed = {q.infohash for q in journal.quarantined}
        for infohash in sorted(watched.quarantined - listed):
            self._broken(node, Rule.QUARANTINED, f"{infohash[:16]} was forgotten")
        watched.quarantined |= listed

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
        if published.release < watched.highest_committed:
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
        if published is not None:
            watched.highest_committed = max(watched.highest_committed, published.release)

    def _tried(self, node: int, watched: _Watched, slot: str) -> None:
        """The firmware began to boot a slot that is not the default; it may never come up."""
        published = self._published.get(self._medium(watched, slot))
        if published is None:
            self._broken(node, Rule.SIGNED, f"slot {slot} was booted")
            return
        tries = watched.trials.get(published.infohash, 0) + 1
        watched.trials[published.infohash] = tries
        if tries > self._bounds.attempts_max:
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
