"""The daemon: carries out what the node core asks for, on trio. It waits, reads and writes; it decides nothing of the domain.

Effects are carried out by one task, in order (docs/adr/0001-cores-and-shells.md). The journal is saved before anything else
sees what stands behind it (`JournaledCore`). Long work runs beside (`jobs`) and comes back as events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from fruitd.api.changes import Changes
from fruitd.api.server import serve_api
from fruitd.boot.file_backend import EXIT_RESTART
from fruitd.daemon.assembly import Assembly, uplink_rules
from fruitd.daemon.dht import Dht
from fruitd.daemon.journaled_core import JournaledCore
from fruitd.daemon.moving.byte_account import ByteAccount
from fruitd.daemon.moving.dialling import Dialling
from fruitd.daemon.moving.jobs import Jobs
from fruitd.daemon.power.heartbeat import HeartbeatTask
from fruitd.daemon.power.power_assembly import ENERGY_META, POWER_META
from fruitd.daemon.power.supply import supply
from fruitd.daemon.sd_notify import Notifier
from fruitd.daemon.shown.last_update import LastUpdate
from fruitd.daemon.shown.view import View
from fruitd.daemon.trial_watch import TrialWatch
from fruitd.errors import FruitError, RetryError
from fruitd.keeper.port import SlotKeeper
from fruitd.logs import get_logger
from fruitd.node.core import REVIEWED
from fruitd.node.effects import (
    CheckSlot,
    DropParcel,
    FetchParcel,
    FillSlot,
    HurryParcel,
    KeepNear,
    KeepShare,
    KeepTorrent,
    MakeLeaves,
    MakeSegment,
    NodeEffect,
    OfferPeers,
    OpenParcel,
    ReadParcelHead,
    RelayImage,
    StartFetch,
    StartSeed,
    StopJob,
    StopSeed,
)
from fruitd.node.offer import PublishedParcel
from fruitd.node.powering import PowerCall
from fruitd.node.standing import without_a_clock_s
from fruitd.power.effects import KeepEnergy, KeepPower, PauseHeartbeat, SwitchBay, UpdateUsed
from fruitd.updater import events as update_events
from fruitd.updater.effects import ArmSlot, CommitSlot, Note, RestartNode, WatchHealth
from swarm.address import Address
from swarm.discovery.reach import Reach
from swarm.effects import DialWanted, RecordAccepted, RecordForgotten, Refused, TableHeard
from swarm.errors import Reason
from swarm.news.record import Record
from swarm.shell import SwarmShell
from swarm.trust.root import ROOT_KIND

if TYPE_CHECKING:  # loaded only where a bus is configured
    from fruitd.daemon.power.stack_bus import StackBus

CLOCK_LOOK_S = 60.0
"""How often the system clock is looked at: NTP may set it at any time. Shorter: more wake-ups when idle; longer: times shown
to people stay wrong for longer after a boot without a clock."""
STATE_FLUSH_S = 300.0
"""Status records, history and refusals are written to disk together, this often at least. Shorter wears the card; longer loses
more of them when the power goes."""
PROGRESS_S = 0.5
"""While bytes move, watchers are told this often."""
UPLINK_BUSY_S = 2.0
UPLINK_IDLE_S = 30.0
"""How often it is looked at what crossed the uplink and whether more may: while this node fetches, and otherwise. Longer passes a
quota by more; shorter wakes an idle node up."""
LONG_WORK = (
    FillSlot, StartFetch, CheckSlot, StopJob, OfferPeers, StartSeed, StopSeed, MakeLeaves, KeepNear,
    OpenParcel, FetchParcel, HurryParcel, ReadParcelHead, MakeSegment, DropParcel, RelayImage,
)  # fmt: skip
"""Effects that `Jobs` carries out."""
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
        self.keeper = assembly.keeper
        self.slot_paths = dict(assembly.keeper.paths()) if assembly.keeper is not None else {}
        self.boot_facts = assembly.keeper.facts() if assembly.keeper is not None else None
        self.began_s = self.time.now_s()
        self.changes = Changes()
        self.view = View(self)
        self.jobs = Jobs(self)
        self.last_update = LastUpdate(self)
        self.bytes = ByteAccount(self, uplink_rules(self.config.transfer))
        self.trial_watch = TrialWatch(self)
        self.reach = Reach(self.config.dht.open, self.transfer.mappings.lets_in)
        self.power = assembly.power
        self.heartbeat = HeartbeatTask(self, assembly.lines)
        self.stack_bus = self._stack_bus()
        self._journaled = JournaledCore(self.core, self.state.save_journal, self.time.now_s)
        self.shell = SwarmShell(
            self._journaled,
            self._handle,
            assembly.sockets,
            clock=self.time.now_s,
            set_contacts=self._set_contacts,
            lan_came=self._journaled.lan_came,
            reach=self.reach,
            knows=self.core.swarm.knows,
        )
        self.dht = Dht(self)
        self.dialling = Dialling(self)
        self._notifier = notifier
        self._nursery: trio.Nursery | None = None
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
            nursery.start_soon(self.dht.run)
            nursery.start_soon(self._watch_uplink)
            nursery.start_soon(self._notifier.keep_alive)
            nursery.start_soon(self.heartbeat.look_again_and_again)
            nursery.start_soon(self.heartbeat.beat)
            if self.stack_bus is not None:
                nursery.start_soon(self.stack_bus.run)
            self._notifier.ready("looking for peers")
            log.info(
                "ready", node=self.identity.node_id.hex(), name=self.config.node.name, software=self.software
            )
        return self._exit_code

    def close(self) -> None:
        """What must be on disk when the daemon ends in order; a daemon that is killed does without."""
        self._notifier.stopping()
        if self.stack_bus is not None:
            self.stack_bus.figures.save_at_end()
        self.bytes.save_at_end()
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

    def submit_power(self, call: PowerCall) -> None:
        """Tell the power part, and queue what follows."""
        self.submit(self._journaled.tell_power(call, self.time.now_s()))

    def publish(
        self, manifest: Record, torrent: bytes, image: str | None, parcels: Sequence[PublishedParcel] = ()
    ) -> None:
        """Take a verified release from a maintainer; raises swarm's RefusedError."""
        self.submit(self._journaled.publish(manifest, torrent, image, self.time.now_s(), parcels))

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
                self._look_at_clock(kind)
            case DialWanted():
                self.dialling.wanted(effect)
            case TableHeard():
                self.dht.heard(effect)
            case Refused(what=what, why=why, source=source, reason=reason):
                self.refuse(what, why, source, reason)
            case Note():
                self.note(effect)
            case KeepPower() | KeepEnergy() | UpdateUsed() | PauseHeartbeat() | SwitchBay():
                await self._power_effect(effect)
            case KeepTorrent(sha256=sha256, raw=raw):
                await self.on_disk(self.state.keep_torrent, sha256, raw)
            case KeepShare(infohash=infohash, torrent_sha256=sha256, path=path, parcel=parcel):
                await self.on_disk(self.state.keep_share, infohash, sha256, path, parcel)
            case ArmSlot() | CommitSlot() | RestartNode() | WatchHealth():
                await self._boot_effect(effect)
            case _ if isinstance(effect, LONG_WORK):
                self.jobs.carry_out(effect)
            case _:
                log.error("an effect nobody carries out", effect=type(effect).__name__)

    def _set_contacts(self, contacts: Sequence[Address], now_s: float) -> Sequence[NodeEffect]:
        self.dht.set_contacts(contacts)
        return self._journaled.set_contacts(contacts, now_s)

    async def on_disk(self, write: Callable[..., object], *arguments: Any) -> None:
        """Write in a worker thread; a write that fails is told and counted, and the node goes on without it."""
        try:
            await trio.to_thread.run_sync(write, *arguments)
        except RetryError as error:
            self.refuse("disk", str(error), "state")

    async def _keep_record(self, record: Record) -> None:
        await self.on_disk(self.state.save_records, [record])
        if record.kind == ROOT_KIND:
            await self.on_disk(self.state.save_followed_root, self.trusted.root.encode())
        if record.kind in REVIEWED:
            log.info(f"{record.kind} accepted", sequence=record.sequence)
        self._look_at_clock(record.kind)

    def _look_at_clock(self, kind: str | None = None) -> None:
        """Follow the system clock and, where a record of this kind has come or gone, the newest signed time."""
        if kind is not None and kind not in REVIEWED:
            return
        self.time.signed_time(self.core.signed_time_s(), without_a_clock_s(self.trusted))
        if self.time.adjust():
            log.info("calendar time was set", ahead_s=round(self.time.wall_offset_s, 1))
            self.submit(self._journaled.clock_set(self.time.wall_offset_s, self.time.now_s()))

    def refuse(self, what: str, why: str, source: str, reason: Reason = Reason.OTHER) -> None:
        """Count something that was not believed or could not be done; its first time is logged."""
        if self.state.add_refusal(what, why, source, self.time.wall_s(), str(reason)):
            log.warning("refused", what=what, why=why, source=source, reason=str(reason))

    async def _power_effect(
        self, effect: KeepPower | KeepEnergy | UpdateUsed | PauseHeartbeat | SwitchBay
    ) -> None:
        match effect:
            case KeepPower(document=document):
                await self._keep_power(document)
            case KeepEnergy(document=document):
                await self.on_disk(self.state.set_meta, ENERGY_META, document)
            case UpdateUsed(used=used):
                await self.last_update.over(used)
            case PauseHeartbeat(for_s=for_s):
                self.heartbeat.pause(for_s)
            case SwitchBay() if self.stack_bus is not None:
                self.stack_bus.switch(effect)

    async def _keep_power(self, document: bytes) -> None:
        """What is being done to a bay is durable before it is done; where it cannot be, it is not done."""
        why = ""
        try:
            await trio.to_thread.run_sync(self.state.set_meta, POWER_META, document)
        except RetryError as error:
            why = str(error)
            self.refuse("disk", why, "state")
        else:
            self.power.kept(document)
        if self.stack_bus is not None:
            self.stack_bus.forbidden = why

    def _stack_bus(self) -> StackBus | None:
        if not self.config.stack.port:
            return None
        from fruitd.daemon.power.stack_bus import StackBus

        return StackBus(self)

    def note(self, note: Note) -> None:
        """Something happened to this node: into its history, its log, and the service manager's view."""
        log.info(note.what, why=note.why, release=note.release, version=note.version)
        self.state.add_history(self.time.wall_s(), note.what, note.why, note.release, note.version)
        self._notifier.status(f"{note.what}: {note.why}")

    async def _boot_effect(self, effect: NodeEffect) -> None:
        if self.keeper is None:
            return
        try:
            match effect:
                case ArmSlot(slot=slot, infohash=infohash):
                    await self.trial_watch.before_arming(infohash)
                    await trio.to_thread.run_sync(self.keeper.arm, slot, bytes.fromhex(infohash))
                    await self.tell_updater(update_events.SlotArmed(infohash))
                case CommitSlot(slot=slot):
                    await trio.to_thread.run_sync(self.keeper.commit, slot)
                    await self.tell_updater(update_events.SlotCommitted(slot))
                case WatchHealth(on=on):
                    self.trial_watch.watch(self._nursery, on=on)
                case RestartNode(why=why):
                    await self._restart_machine(self.keeper, why)
        except FruitError as error:
            target = self.core.updater.journal.target if self.core.updater is not None else None
            self.refuse("boot", str(error), "boot backend")
            await self.tell_updater(update_events.StepFailed(target.infohash if target else "", str(error)))

    async def _restart_machine(self, keeper: SlotKeeper, why: str) -> None:
        log.info("restarting the machine", why=why)
        if not await trio.to_thread.run_sync(keeper.restart):
            self.restart(why)

    # ------------------------------------------------------------------ what goes on beside

    async def _take_transfer_events(self) -> None:
        while True:
            await self.transfer.wait()
            for event in self.transfer.events():
                self.jobs.take_transfer_event(event)

    async def _tell_progress(self) -> None:
        while True:
            await self.jobs.wait_busy()
            self.jobs.tell_progress()
            self.changes.bump()
            await trio.sleep(PROGRESS_S)

    async def _watch_uplink(self) -> None:
        while True:
            self.bytes.look()
            self.submit(self._journaled.set_able(self.bytes.why_not(supply()), self.time.now_s()))
            await self.bytes.save_when_due()
            with trio.move_on_after(UPLINK_IDLE_S):
                await self.jobs.wait_busy()
                await trio.sleep(UPLINK_BUSY_S)

    async def _keep_clock(self) -> None:
        flushed_s = self.time.now_s()
        while True:
            await trio.sleep(CLOCK_LOOK_S)
            self.trial_watch.remember_hearing()
            self._look_at_clock()
            self.transfer.rest()
            floor_s = self.time.to_persist()
            if floor_s is not None:
                await self.on_disk(self.state.save_floor, floor_s)
            if self.time.now_s() - flushed_s >= STATE_FLUSH_S:
                flushed_s = self.time.now_s()
                await self.on_disk(self.state.flush)
