"""The daemon's part in a trial: takes the baseline before it, looks at health during it, and holds the watchdog meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import evolve

from fruitd.errors import RefusedError, RetryError
from fruitd.health import readings
from fruitd.health.baseline import Baseline, checks_before
from fruitd.health.hearing import Hearing, judge_hearing
from fruitd.health.panel import Panel, Wanted
from fruitd.health.verdict import Result, judge
from fruitd.health.watchdog import Watchdog, WatchdogDevice
from fruitd.logs import get_logger
from fruitd.updater import events as update_events
from fruitd.updater.journal import State
from swarm.status import NodeStatus

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

BASELINE_META = "health before the update"
BASELINE_LOOKS = 3
"""Looks in a row before a check counts as bad before the update. Fewer: a hiccup then excuses a fault now."""
SETTLED_S = 120.0
"""After a start, what mates tell may still be what they heard before; from then on it is news of now."""
CONDEMNED_S = 60.0
"""So long the watchdog is still petted after a trial has failed, for an orderly restart. Longer: a node whose shutdown hangs
stays away longer. Shorter: a slow one is cut off."""
log = get_logger(room="trial")


class TrialWatch:
    """One for each daemon that has slots."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._scope: trio.CancelScope | None = None
        self._petting: trio.CancelScope | None = None
        self._machine = readings.Machine()
        self._statuses: dict[bytes, int] | None = None
        self._best = Hearing()
        self._silent_since_s: float | None = None
        self.watchdog = _watchdog(daemon)
        self.last: tuple[Result, ...] = ()
        """What the last look said."""

    # ------------------------------------------------------------------ before the trial

    async def take_baseline(self, infohash: str) -> None:
        """Look at everything, and keep it: what fails now is not the fault of what comes. Raises `RetryError`."""
        looks = [await self.panel().look()]
        while not all(result.ok for result in looks[-1]) and len(looks) < BASELINE_LOOKS:
            looks.append(await self.panel().look())
        heard = self._heard()
        hearing, clock_s = _both(self._reference(), heard), self._daemon.time.system_s
        baseline = Baseline(infohash, checks_before(looks), hearing, clock_s)
        await trio.to_thread.run_sync(self._daemon.state.set_meta, BASELINE_META, baseline.encode())

    async def before_arming(self, infohash: str) -> None:
        """Raise `RetryError` while a trial could not be judged: nobody is heard of those that used to be.

        Not for ever: after the longest outage, being alone is how it is now.
        """
        daemon, heard, reference = self._daemon, self._heard(), self._reference()
        now_s = daemon.time.now_s()
        verdict = judge_hearing(reference, heard)
        if verdict.ok is not True:
            self._silent_since_s = now_s if self._silent_since_s is None else self._silent_since_s
            if now_s - self._silent_since_s < daemon.config.health.outage_s:
                raise RetryError(f"{verdict.why}; the trial waits, as it could not be judged")
            self._best = heard
        else:
            self._silent_since_s = None
        known = self._baseline()
        if known is None or known.infohash != infohash:
            await self.take_baseline(infohash)
        elif verdict.ok is not True:
            kept = evolve(known, hearing=heard).encode()
            await trio.to_thread.run_sync(daemon.state.set_meta, BASELINE_META, kept)

    def remember_hearing(self) -> None:
        """Called now and then: who is heard while no update is under way is who should be heard after one."""
        self._best = _both(self._best, self._heard())

    def _reference(self) -> Hearing:
        before = self._baseline()
        return _both(before.hearing if before is not None else Hearing(), self._best)

    def _baseline(self) -> Baseline | None:
        data = self._daemon.state.meta(BASELINE_META)
        if data is None:
            return None
        try:
            return Baseline.decode(data)
        except RefusedError as error:
            self._daemon.refuse("state", str(error), "disk")
            return None

    # ------------------------------------------------------------------ during the trial

    def watch(self, nursery: trio.Nursery | None, *, on: bool) -> None:
        """Begin or end looking. At the end the watchdog is stopped only if the release is kept."""
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None
        if nursery is None or self._daemon.boot_facts is None:
            return
        if on:
            self._scope = trio.CancelScope()
            self.watchdog.hold()
            log.info("watchdog", found=self.watchdog.words)
            nursery.start_soon(self._look_again_and_again, self._scope)
            if self._petting is None:
                self._petting = trio.CancelScope()
                nursery.start_soon(self._pet, self._petting)
        elif self._kept():
            self.watchdog.stop()
            self._end_petting()
        else:
            nursery.start_soon(self._condemned)

    def _kept(self) -> bool:
        updater = self._daemon.core.updater
        return updater is not None and updater.journal.state not in (State.ROLLED_BACK, State.TRIAL)

    def _end_petting(self) -> None:
        if self._petting is not None:
            self._petting.cancel()
            self._petting = None

    async def _condemned(self) -> None:
        """From here on only a restart leads out. Should it not come by itself, the watchdog makes it come."""
        await trio.sleep(CONDEMNED_S)
        if not self._kept():
            self._end_petting()

    async def _pet(self, scope: trio.CancelScope) -> None:
        """On the daemon's own event loop: what stops the loop stops the petting."""
        with scope:
            while True:
                self.watchdog.hold()  # again, where something that started earlier still had it
                self.watchdog.pet()
                await trio.sleep(self.watchdog.every_s)

    async def _look_again_and_again(self, scope: trio.CancelScope) -> None:
        daemon = self._daemon
        before = self._baseline()
        journal = daemon.core.updater.journal if daemon.core.updater is not None else None
        if (
            before is None
            or journal is None
            or journal.target is None
            or before.infohash != journal.target.infohash
        ):
            before = Baseline()  # nothing is known to excuse anything
        panel = self.panel(before.clock_s)
        with scope:
            while True:
                self.last = await panel.look()
                hearing = judge_hearing(before.hearing, await self._looked_around())
                verdict = judge(self.last, before.checks, hearing)
                await daemon.tell_updater(update_events.Health(verdict.ok, verdict.why, verdict.excused))
                await trio.sleep(daemon.config.health.interval_s)

    # ------------------------------------------------------------------ what is seen

    def panel(self, clock_s: float = float("inf")) -> Panel:
        """Every check of this node. A system clock that has not gone back behind `clock_s` is not at fault, whatever has been
        signed since: one fact from the future, or a clock that is slow by a minute, would condemn a release everywhere."""
        daemon, config = self._daemon, self._daemon.config
        active = daemon.boot_facts.active if daemon.boot_facts is not None else ""
        wanted = Wanted(
            config.health.command,
            config.health.checks_dir,
            config.health.units,
            config.health.timeout_s,
            config.node.state_dir,
        )
        path = str(daemon.slot_paths.get(active, ""))

        def clock_ok() -> bool:
            return daemon.time.clock_ok or daemon.time.system_s >= clock_s

        return Panel(wanted, active, path, clock_ok, self._state_trouble, self._machine)

    def _state_trouble(self) -> str | None:
        """Why the state cannot be written now; what once failed is tried again first."""
        state = self._daemon.state
        if state.trouble:
            state.flush()
        return state.trouble

    def _heard(self) -> Hearing:
        peers = self._daemon.core.swarm.peers()
        near = sum(peer.same_site for peer in peers)
        return Hearing(mates=near > 0, far=near < len(peers))

    async def _looked_around(self) -> Hearing:
        """Who is heard; and where that is not everybody, what there is to find out about the reason."""
        heard = self._heard()
        if heard.far:
            return heard
        machine = self._machine
        interface = await trio.to_thread.run_sync(readings.has_interface, machine)
        gateway = await trio.to_thread.run_sync(readings.gateway_answers, machine)
        return evolve(heard, news=heard.mates and self._news(), interface=interface, gateway=gateway)

    def _news(self) -> bool:
        """Has any node of another site said something new since the first look? Then somebody here hears the outside."""
        daemon = self._daemon
        near = frozenset(peer.node_id for peer in daemon.core.swarm.peers() if peer.same_site)
        if daemon.time.now_s() - daemon.began_s < SETTLED_S:
            return False
        sequences = {}
        for entry in daemon.core.store.entries("status"):
            record = entry.record
            if record is None or record.key in near or record.key == daemon.identity.node_id:
                continue
            if NodeStatus.decode(record.body).site != daemon.config.node.site:
                sequences[record.key] = record.sequence
        if self._statuses is None:
            self._statuses = sequences
        return any(sequence > self._statuses.get(key, -1) for key, sequence in sequences.items())


def _both(one: Hearing, other: Hearing) -> Hearing:
    return Hearing(mates=one.mates or other.mates, far=one.far or other.far)


def _watchdog(daemon: Daemon) -> Watchdog:
    health = daemon.config.health
    boot = daemon.config.boot
    # A daemon that restarts by ending is a program among others on this machine: its trials are nobody's reason for a reset.
    simulated = boot is None or (boot.backend == "file" and not boot.restart_command)
    path = Path("/dev/watchdog") if health.watchdog == "auto" and not simulated else None
    if health.watchdog.startswith("/"):
        path = Path(health.watchdog)
    port = WatchdogDevice(path) if path is not None else None
    return Watchdog(port, str(path), round(health.watchdog_s))
