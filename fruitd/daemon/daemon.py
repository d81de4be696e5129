"""The daemon: carries out what the node core asks for, on trio. It waits, reads and writes; it decides nothing of the domain.

Effects are carried out by one task, in order (docs/adr/0001-cores-and-shells.md). The journal is saved before anything else
sees what stands behind it (`JournaledCore`). Long work runs beside (`jobs`) and comes back as events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import trio

from fruitd.api.changes import Changes
from fruitd.api.server import serve_api
from fruitd.boot.file_backend import EXIT_RESTART
from fruitd.daemon.assembly import Assembly
from fruitd.daemon.health import HealthCheck, counts
from fruitd.daemon.jobs import Jobs
from fruitd.daemon.journaled_core import JournaledCore
from fruitd.daemon.last_update import LastUpdate
from fruitd.daemon.restart import run_restart_command
from fruitd.daemon.sd_notify import Notifier
from fruitd.daemon.view import View
from fruitd.errors import FruitError, RetryError
from fruitd.logs import get_logger
from fruitd.node.effects import (
    CheckSlot,
    FillSlot,
    KeepShare,
    KeepTorrent,
    MakeLeaves,
    NodeEffect,
    OfferPeers,
    StartFetch,
    StartSeed,
    StopJob,
    StopSeed,
)
from fruitd.updater import events as update_events
from fruitd.updater.effects import ArmSlot, CommitSlot, Note, RestartNode, WatchHealth
from swarm.effects import RecordAccepted, RecordForgotten, Refused
from swarm.news.record import Record
from swarm.shell import SwarmShell
from swarm.trust.manifest import Manifest

CLOCK_LOOK_S = 60.0
"""How often the system clock is looked at: NTP may set it at any time. Shorter: more wake-ups when idle; longer: times shown
to people stay wrong for longer after a boot without a clock."""
STATE_FLUSH_S = 300.0
"""Status records, history and refusals are written to disk together, this often at least. Shorter wears the card; longer loses
more of them when the power goes."""
HEARD_META = "peers were heard"
PROGRESS_S = 0.5
"""While bytes move, watchers are told this often."""
log = get_logger(room="daemon")


class Daemon:
    """One running node."""

    def __init__(self, assembly: Assembly, notifier: Notifier) -> None:
        self.config = assembly.config
        self.state = assembly.state
        self.time = assembly.time
        self.identity = assembly.identity
        self.trusted = assembly.trusted
        self.software = assembly.software
        self.core = assembly.core
        self.transfer = assembly.transfer
        self.boot = assembly.boot
        self.boot_facts = assembly.boot.facts() if assembly.boot is not None else None
        self.began_s = self.time.now_s()
        self.changes = Changes()
        self.view = View(self)
        self.jobs = Jobs(self)
        self.last_update = LastUpdate(self)
        self._journaled = JournaledCore(self.core, self.state.save_journal, self.time.now_s)
        self.shell = SwarmShell(
            self._journaled,
            self._handle,
            assembly.sockets,
            clock=self.time.now_s,
            set_contacts=self._journaled.set_contacts,
        )
        self._notifier = notifier
        self._nursery: trio.Nursery | None = None
        self._health_scope: trio.CancelScope | None = None
        self._exit_code = 0

    async def run(self) -> int:
        """Run until cancelled or until the node must restart; the exit code."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self.jobs.nursery = nursery
            await nursery.start(serve_api, self.view, self.config.api.socket, self.config.api.mode)
            await nursery.start(self.shell.run)
            self.submit(self._journaled.started(self.boot_facts, self.time.now_s()))
            nursery.start_soon(self._take_transfer_events)
            nursery.start_soon(self._tell_progress)
            nursery.start_soon(self._keep_clock)
            nursery.start_soon(self._notifier.keep_alive)
            self._notifier.ready("looking for peers")
            log.info(
                "ready", node=self.identity.node_id.hex(), name=self.config.node.name, software=self.software
            )
        return self._exit_code

    def close(self) -> None:
        """What must be on disk when the daemon ends in order; a daemon that is killed does without."""
        self._notifier.stopping()
        self.transfer.close()
        self.state.close()

    def submit(self, effects: Sequence[NodeEffect]) -> None:
        """Queue what a call into the core returned."""
        self.shell.submit(effects)
        self.changes.bump()

    async def tell_updater(self, event: update_events.Event) -> Sequence[NodeEffect]:
        """An operator's wish, or the answer to an effect; what it led to, which is queued and not yet carried out."""
        effects = self._journaled.update_event(event, self.time.now_s())
        self.submit(effects)
        await trio.lowlevel.checkpoint()
        return effects

    def publish(self, manifest: Record, torrent: bytes, image: str | None) -> None:
        """Take a verified release from a maintainer; raises swarm's RefusedError."""
        self.submit(self._journaled.publish(manifest, torrent, image, self.time.now_s()))

    @property
    def journaled(self) -> JournaledCore:
        """The core, with its journal saved at every call: what jobs report to."""
        return self._journaled

    def restart(self, why: str) -> None:
        """End the daemon so that the machine boots anew."""
        log.info("restarting the node", why=why)
        self._exit_code = EXIT_RESTART
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    # ------------------------------------------------------------------ effects

    async def _handle(self, effects: list[Any]) -> None:
        for effect in effects:
            await self._carry_out(effect)
        self.changes.bump()

    async def _carry_out(self, effect: NodeEffect) -> None:
        match effect:
            case RecordAccepted(record=record):
                await self._keep_record(record)
            case RecordForgotten(kind=kind, key=key):
                self.state.forget_record(kind, key)
            case Refused(what=what, why=why, source=source):
                self.refuse(what, why, source)
            case Note():
                self._note(effect)
            case KeepTorrent(sha256=sha256, raw=raw):
                await self.on_disk(self.state.keep_torrent, sha256, raw)
            case KeepShare(infohash=infohash, torrent_sha256=sha256, path=path):
                await self.on_disk(self.state.keep_share, infohash, sha256, path)
            case ArmSlot() | CommitSlot() | RestartNode() | WatchHealth():
                await self._boot_effect(effect)
            case FillSlot() | StartFetch() | CheckSlot() | StopJob() | OfferPeers():
                self.jobs.carry_out(effect)
            case StartSeed() | StopSeed() | MakeLeaves():
                self.jobs.carry_out(effect)
            case _:
                log.error("an effect nobody carries out", effect=type(effect).__name__)

    async def on_disk(self, write: Callable[..., object], *arguments: Any) -> None:
        """Write in a worker thread; a write that fails is told and counted, and the node goes on without it."""
        try:
            await trio.to_thread.run_sync(write, *arguments)
        except RetryError as error:
            self.refuse("disk", str(error), "state")

    async def _keep_record(self, record: Record) -> None:
        await self.on_disk(self.state.save_records, [record])
        if record.kind == "manifest":
            manifest = Manifest.decode(record.body)
            self.time.saw_signed_time(float(manifest.issued_at_s))
            log.info("manifest accepted", channel=manifest.channel, sequence=record.sequence)

    def refuse(self, what: str, why: str, source: str) -> None:
        """Count something that was not believed or could not be done; its first time is logged."""
        if self.state.add_refusal(what, why, source, self.time.wall_s()):
            log.warning("refused", what=what, why=why, source=source)

    def _note(self, note: Note) -> None:
        log.info(note.what, why=note.why, release=note.release, version=note.version)
        self.state.add_history(self.time.wall_s(), note.what, note.why, note.release, note.version)
        self._notifier.status(f"{note.what}: {note.why}")

    async def _boot_effect(self, effect: NodeEffect) -> None:
        if self.boot is None:
            return
        try:
            match effect:
                case ArmSlot(slot=slot, infohash=infohash):
                    await trio.to_thread.run_sync(self.boot.arm, slot)
                    await self.tell_updater(update_events.SlotArmed(infohash))
                case CommitSlot(slot=slot):
                    await trio.to_thread.run_sync(self.boot.commit, slot)
                    await self.tell_updater(update_events.SlotCommitted(slot))
                case WatchHealth(on=on):
                    self._watch_health(on)
                case RestartNode(why=why):
                    await self._restart_machine(why)
        except FruitError as error:
            target = self.core.updater.journal.target if self.core.updater is not None else None
            self.refuse("boot", str(error), "boot backend")
            await self.tell_updater(update_events.StepFailed(target.infohash if target else "", str(error)))

    async def _restart_machine(self, why: str) -> None:
        await self.on_disk(self.state.set_meta, HEARD_META, b"1" if self.core.swarm.peers() else b"0")
        configured = self.config.boot.restart_command if self.config.boot is not None else ()
        command = configured or (self.boot.restart_command() if self.boot is not None else None)
        if command is None:
            self.restart(why)
            return
        log.info("restarting the machine", why=why)
        await run_restart_command(command)

    # ------------------------------------------------------------------ what goes on beside

    def _watch_health(self, on: bool) -> None:
        if self._health_scope is not None:
            self._health_scope.cancel()
            self._health_scope = None
        if on and self._nursery is not None and self.config.slots is not None and self.boot_facts is not None:
            self._health_scope = trio.CancelScope()
            self._nursery.start_soon(self._sample_health, self._health_scope)

    async def _sample_health(self, scope: trio.CancelScope) -> None:
        slots, facts = self.config.slots, self.boot_facts
        if slots is None or facts is None:
            return
        path = slots.a if facts.active == "a" else slots.b
        health = self.config.health
        check = HealthCheck(health.command, health.timeout_s, facts.active, str(path))
        heard_before = self.state.meta(HEARD_META) == b"1"
        with scope:
            while True:
                sample = await check.sample()
                if counts(sample, heard_before=heard_before, peers=len(self.core.swarm.peers())):
                    await self.tell_updater(update_events.Health(sample.ok, sample.why))
                await trio.sleep(health.interval_s)

    async def _take_transfer_events(self) -> None:
        while True:
            await self.transfer.wait()
            for event in self.transfer.events():
                self.jobs.take_transfer_event(event)

    async def _tell_progress(self) -> None:
        while True:
            await self.jobs.wait_busy()
            self.changes.bump()
            await trio.sleep(PROGRESS_S)

    async def _keep_clock(self) -> None:
        flushed_s = self.time.now_s()
        while True:
            await trio.sleep(CLOCK_LOOK_S)
            if self.time.adjust():
                self.core.wall_offset_s = self.time.wall_offset_s
                log.info("the system clock was set", ahead_s=round(self.time.wall_offset_s, 1))
            floor_s = self.time.to_persist()
            if floor_s is not None:
                await self.on_disk(self.state.save_floor, floor_s)
            if self.time.now_s() - flushed_s >= STATE_FLUSH_S:
                flushed_s = self.time.now_s()
                await self.on_disk(self.state.flush)
