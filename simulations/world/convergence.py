"""What must come true once the faults have stopped: everybody runs the newest good release, and everybody knows the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fruitd.updater.journal import Quarantine
from simulations.world.images import Behaviour
from simulations.world.maintainer import FAST_FORWARD, Published
from swarm.news.record import Record
from swarm.roll import MEMBERS_KINDS

if TYPE_CHECKING:
    from simulations.world.host import Host
    from simulations.world.world import World

FRESH_S = 120.0
"""News younger than this may still be on its way to somebody: four rounds of the slow pull. Judged no sooner than this after the
faults, so that everything said under them is judged."""


class Convergence:
    """Tells, in words, what is still lacking."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_id = {host.plan.node_id: host for host in world.hosts}
        self._newest: dict[tuple[str, bytes], tuple[int, float]] = {}
        """(kind, key) -> highest sequence any honest node accepted, and when that was first."""

    def record_accepted(self, node: int, record: Record) -> None:
        """Some node's store took a record in. What stolen keys signed need not reach everybody."""
        if record.kind == "manifest" and record.sequence > FAST_FORWARD:
            return
        name = (record.kind, record.key)
        if record.sequence > self._newest.get(name, (-1, 0.0))[0]:
            self._newest[name] = (record.sequence, self._world.heap.now_s)

    def lacking(self) -> list[str]:
        """Everything that has not come true yet; empty: converged."""
        lacking: list[str] = []
        if self._world.heap.now_s < self._world.scenario.faults_s + FRESH_S:
            lacking.append("the faults have only just stopped")
        for host in self._world.hosts:
            if not host.firmware.gone:
                lacking += self._of_host(host)
        if self._world.operator is not None:
            lacking += self._world.operator.lacking()
        return lacking

    def _of_host(self, host: Host) -> list[str]:
        who = f"node {host.number}"
        if host.node is None:
            return [f"{who} is not running"]
        lacking = [f"{who} lacks {what}" for what in self._news_missing(host)]
        wrong = self._release_wrong(host)
        return [*lacking, f"{who} {wrong}"] if wrong else lacking

    def _news_missing(self, host: Host) -> list[str]:
        assert host.node is not None
        missing = []
        for (kind, key), (sequence, since_s) in self._newest.items():
            if host.node.store.stays(kind) and not self._concerns(host, key):
                continue
            if kind in MEMBERS_KINDS and self._world.heap.now_s - since_s < FRESH_S:
                continue
            entry = host.node.store.get(kind, key)
            if entry is None or entry.sequence < sequence:
                missing.append(f"{kind} {key.hex()[:8]} sequence {sequence}")
        return missing

    def _concerns(self, host: Host, node_id: bytes) -> bool:
        """Must this host know what that node said of itself? In its own site, unless it has left, its last word with it."""
        speaker = self._by_id.get(node_id)
        return speaker is not None and speaker.plan.site == host.plan.site and not speaker.firmware.gone

    def _release_wrong(self, host: Host) -> str | None:
        machine = host.machine
        assert machine.active is not None
        if machine.active != machine.default or machine.armed is not None:
            return f"runs slot {machine.active}, its default is {machine.default}, armed is {machine.armed}"
        due = self._due(host)
        if due is None:
            return None
        if machine.holds(machine.active, due.image.blocks):
            return None
        journal = machine.disk.journal
        quarantined = () if journal is None else journal.quarantined
        mine = next((q for q in quarantined if q.infohash == due.infohash.hex()), None)
        if mine is not None and self._excused(host, due, mine):
            return None
        state = "no journal" if journal is None else f"{journal.state}: {journal.why}"
        return f"does not run release {due.release} ({due.image.behaviour}); it is {state}"

    def _due(self, host: Host) -> Published | None:
        """The newest release for this node's hardware."""
        fitting = [p for p in self._world.surroundings.published if host.plan.hardware & set(p.compatible)]
        return fitting[-1] if fitting else None

    def _excused(self, host: Host, due: Published, mine: Quarantine) -> bool:
        """Is it right that the node gave this release up? A good one only after faults used up its tries."""
        if due.image.behaviour is not Behaviour.GOOD:
            return True
        return self._world.checker.trial_was_hurt(host.number, due.infohash)
