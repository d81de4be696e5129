"""The long work of an update: filling a slot, fetching into it, reading it back, hashing leaves, serving images.

One image is worked on at a time. Work on the disk runs in a worker thread and is cancelled between chunks; what comes of it
goes to the core as an event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from fruitd.daemon.moving.origins import Origins
from fruitd.daemon.moving.parcel_jobs import ParcelJobs
from fruitd.daemon.moving.relay_jobs import RelayJobs
from fruitd.errors import FruitError, SlotError
from fruitd.heap import give_back
from fruitd.keeper.port import Proof, SlotKeeper
from fruitd.logs import get_logger
from fruitd.node.effects import (
    CheckSlot,
    FillSlot,
    KeepNear,
    MakeLeaves,
    NodeEffect,
    OfferPeers,
    RelayImage,
    StartFetch,
    StartSeed,
    StopJob,
    StopSeed,
)
from fruitd.slots import read_back, reuse
from fruitd.slots.in_place import LITTLE, is_kept
from fruitd.slots.memo import SlotMemos
from fruitd.updater import events as update_events
from fruitd.updater.journal import Target, other_slot
from swarm.transfer.port import (
    ImageFetched,
    ImageJob,
    PieceRejected,
    Progress,
    Source,
    TransferEvent,
    TransferStopped,
    by_way,
)
from swarm.trust.root import ROOT_KIND

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

log = get_logger(room="jobs")

GIVE_BACK_LEAVES_BYTES = 1024 * 1024
"""Looking into the slot for an image of so many leaves, 512 MiB, leaves memory behind that is worth a moment's stand-still. Less:
the first byte of a small image waits for that, too (0.1 s where 24 nodes share two processors). More: as much of it is kept."""


class Jobs:
    """Carries out the effects that take long, for one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.nursery: trio.Nursery | None = None
        self.seeding: dict[str, str] = {}
        """Infohash -> path of what is served."""
        self._daemon = daemon
        self._scopes: dict[str, trio.CancelScope] = {}
        self._step_done: float | None = None
        self.origins: Origins | None = None
        """Of the image that is put together, or was last."""
        self.parcels = ParcelJobs(daemon, self)
        self.relaying = RelayJobs(daemon, self)
        self._memos = SlotMemos(daemon.config.node.state_dir)
        self._fetching: str | None = None
        self._healing = False
        self._busy = trio.Event()
        self.slot_work = trio.Lock()
        """One worker thread on the slots at a time: work that was cancelled ends only with the chunk it is at."""

    @property
    def moving(self) -> list[str]:
        """Infohashes of what is served or fetched."""
        return [
            *self.seeding,
            *(name for name in (self._fetching, self.relaying.fetching) if name is not None),
        ]

    # ------------------------------------------------------------------ effects

    def carry_out(self, effect: NodeEffect) -> None:
        """Begin what the effect asks for; never waits."""
        match effect:
            case FillSlot(target=target):
                self.begin(target.infohash, self._fill, effect)
            case StartFetch():
                self._fetch(effect)
            case CheckSlot(target=target):
                self.begin(target.infohash, self._check, effect)
            case StopJob(infohash=infohash):
                self._stop(infohash)
            case OfferPeers():
                name = bytes.fromhex(effect.infohash)
                self._daemon.transfer.keep_near(name, effect.mates, near_only=not effect.out)
                self._daemon.dialling.offer(name, effect.peers)
            case KeepNear(mates=mates):
                self._daemon.transfer.keep_near(b"", mates, near_only=False)
            case StartSeed():
                self._seed(effect)
            case StopSeed(infohash=infohash):
                self.seeding.pop(infohash, None)
                self.parcels.stop(infohash)
                self.relaying.stop(infohash)
                self._daemon.transfer.stop(bytes.fromhex(infohash))
            case MakeLeaves(pieces_root=root):
                self.begin(f"leaves {root.hex()}", self._make_leaves, effect)
            case RelayImage():
                self.relaying.carry_out(effect)
            case _:
                self.parcels.carry_out(effect)

    def take_transfer_event(self, event: TransferEvent) -> None:
        """Something happened to an image that is fetched or served."""
        if self.parcels.take_transfer_event(event) or self.relaying.take_transfer_event(event):
            return
        daemon, infohash, now_s = self._daemon, event.infohash.hex(), self._daemon.time.now_s()
        match event:
            case ImageFetched():
                log.info("image fetched", infohash=infohash[:16])
                self._end_fetch(infohash)
                daemon.submit(daemon.journaled.update_event(update_events.ImageArrived(infohash), now_s))
            case TransferStopped(why=why) if self._fetching == infohash:
                self._end_fetch(infohash)
                daemon.submit(daemon.journaled.step_failed(infohash, why, now_s))
            case TransferStopped(why=why):
                # An image that was only served: others have to do without, the update goes on.
                self.seeding.pop(infohash, None)
                daemon.refuse("seed", why, "disk")
            case PieceRejected(source=source):
                # Not which piece: all of them are one line with a count, not thousands that push out everything else.
                why = f"a piece of image {infohash[:16]} does not match its signed hash"
                daemon.refuse("piece", why, source)

    # ------------------------------------------------------------------ what people see

    def progress(self, target: Target) -> dict[str, Any] | None:
        """How far the work on this image is; None while none is under way."""
        busy = self._fetching == target.infohash or target.infohash in self._scopes
        if not busy and self.parcels.fetching is None:
            return None
        origins = self._origins_of(target) or Origins(target.infohash, 0.0)
        moving = self._moving()
        have = origins.own_disk_bytes + origins.made_bytes + origins.image_bytes + origins.healed_bytes
        left = target.length_bytes - have
        if moving is not None and self._fetching:
            have = max(have, moving.have_bytes)
            left = target.length_bytes - have
        elif moving is not None:
            left = self.parcels.length_bytes - moving.have_bytes
        rate = moving.receive_rate_bytes_per_s if moving else 0.0
        return {
            "image_bytes": target.length_bytes,
            "reused_bytes": origins.own_disk_bytes,
            "have_bytes": have,
            "fetched_bytes": origins.fetched_bytes + (moving.received_bytes if moving else 0),
            "by_origin": self._so_far(origins, moving),
            "wasted_bytes": moving.wasted_bytes if moving else 0,
            "rate_bytes_per_s": round(rate),
            "eta_s": round(left / rate, 1) if rate > 0 else None,
            "step_done": None if self._step_done is None else round(self._step_done, 3),
        }

    def tell_progress(self) -> None:
        """Let the core know how much of what is being fetched came from the site: it decides whether to go on waiting for it."""
        daemon, infohash, moving = self._daemon, self._fetching or self.parcels.fetching, self._moving()
        if infohash is not None and moving is not None:
            near, far = by_way(moving.sources)
            daemon.submit(daemon.journaled.fetch_progress(infohash, near, far, daemon.time.now_s()))

    def sources(self, target: Target) -> tuple[Source, ...]:
        """Who has given what of this image, in whatever shape."""
        origins, moving = self._origins_of(target), self._moving()
        if moving is not None and moving.sources:
            return moving.sources
        return tuple(origins.sources.values()) if origins is not None else ()

    def _origins_of(self, target: Target) -> Origins | None:
        return self.origins if self.origins is not None and self.origins.infohash == target.infohash else None

    def _moving(self) -> Progress | None:
        """The transfer that is under way, of the image or of a parcel."""
        if self._fetching is not None:
            return self._daemon.transfer.progress(bytes.fromhex(self._fetching))
        return self.parcels.progress()

    def _so_far(self, origins: Origins, moving: Progress | None) -> dict[str, int]:
        """The account, with what is on its way now."""
        account = origins.as_json()
        if moving is not None:
            shape = (
                "parcel_bytes" if not self._fetching else "healed_bytes" if self._healing else "image_bytes"
            )
            account[shape] += moving.received_bytes
        return account

    def moving_sources(self) -> tuple[Source, ...]:
        """Who has given what of the image, or of the parcel, that is being fetched."""
        moving = self._moving()
        return moving.sources if moving is not None else ()

    async def wait_busy(self) -> None:
        """Return while something is under way."""
        while not (self._fetching or self.parcels.fetching or self.relaying.fetching or self._scopes):
            if self._busy.is_set():  # an event that somebody waits for is never replaced: two wait here
                self._busy = trio.Event()
            await self._busy.wait()

    def is_busy(self) -> None:
        """Something that takes a while has begun."""
        self._busy.set()

    # ------------------------------------------------------------------ the jobs

    def begin(self, name: str, work: Callable[[Any], Awaitable[None]], effect: object) -> None:
        if self.nursery is None or name in self._scopes:
            return
        scope = trio.CancelScope()
        self._scopes[name] = scope
        self._busy.set()
        self.nursery.start_soon(self._run, name, scope, work, effect)

    async def _run(
        self, name: str, scope: trio.CancelScope, work: Callable[[Any], Awaitable[None]], effect: object
    ) -> None:
        try:
            with scope:
                await work(effect)
        finally:
            self._step_done = None
            if self._scopes.get(name) is scope:
                del self._scopes[name]

    def _keeper(self) -> SlotKeeper:
        keeper = self._daemon.keeper
        if keeper is None:
            raise SlotError("this node has no slots")
        return keeper

    def _proof(self, target: Target) -> Proof:
        """Why this image may boot: the manifest that names it, if it is still the one that counts, and its torrent."""
        core = self._daemon.core
        metainfo = core.library.torrent_with(target.infohash, target.torrent_sha256)
        found = core.manifest()
        infohash = bytes.fromhex(target.infohash)
        named = found is not None and any(r.infohash == infohash for r in found[1].releases)
        return Proof(
            infohash,
            torrent=metainfo.raw if metainfo is not None else b"",
            manifest=found[0].encode() if found is not None and named else b"",
            roots=tuple(entry.records[0].encode() for entry in core.store.entries(ROOT_KIND)),
        )

    def paths(self, name: str) -> tuple[Path, Path]:
        """Path of the slot of that name, and of the other one."""
        paths = self._daemon.slot_paths
        if not paths:
            raise SlotError("this node has no slots")
        return paths[name], paths[other_slot(name)]

    async def _fill(self, effect: FillSlot) -> None:
        daemon, target = self._daemon, effect.target
        began_s = daemon.time.now_s()
        try:
            path, active = self.paths(effect.slot)
            await daemon.transfer.settled()
            await trio.to_thread.run_sync(self._keeper().lend, effect.slot, target.length_bytes)
            sources = [*([active] if effect.search else []), *map(Path, effect.sources)]
            async with self.slot_work:
                await self.parcels.tidy()
                memo = await trio.to_thread.run_sync(self._memos.take, effect.slot, target.length_bytes)
                overlook = 0 if sources else LITTLE
                filled = await reuse.fill(
                    path, sources, effect.leaves, target.length_bytes, self._tell, memo, overlook=overlook
                )
                runs_as_kept = not effect.search and await trio.to_thread.run_sync(
                    self._is_kept, other_slot(effect.slot)
                )
                if len(effect.leaves) >= GIVE_BACK_LEAVES_BYTES:
                    await trio.to_thread.run_sync(give_back)
        except FruitError as error:
            self.failed(target, error)
            return
        daemon.bytes.reused(filled.reused_bytes)
        self.origins = self._origins_of(target) or Origins(target.infohash, began_s)
        self.origins.filled(filled.reused_bytes, filled.written_bytes)
        self.done(target)
        daemon.submit(
            daemon.journaled.slot_prepared(
                target.infohash,
                filled.reused_bytes,
                filled.missing_bytes,
                filled.present,
                daemon.time.now_s(),
                runs_as_kept=runs_as_kept,
            )
        )

    def _is_kept(self, slot: str) -> bool:
        """Is this slot, at a glance, what was read back once?"""
        kept = self._memos.look(slot)
        return kept is not None and is_kept(self.paths(slot)[0], *kept)

    def _fetch(self, effect: StartFetch) -> None:
        daemon, target = self._daemon, effect.target
        self.begin("tidy", self._tidy, None)
        path, _ = self.paths(effect.slot)
        self.seeding.pop(target.infohash, None)
        self._fetching = target.infohash
        self._healing = effect.healing
        self._busy.set()
        job = ImageJob(effect.torrent, bytes.fromhex(target.infohash), str(path), target.length_bytes)
        daemon.transfer.fetch(job, effect.blocks_present)

    async def _tidy(self, _: object) -> None:
        async with self.slot_work:
            await self.parcels.tidy()

    def _end_fetch(self, infohash: str) -> None:
        if self._fetching != infohash:
            return
        progress = self._daemon.transfer.progress(bytes.fromhex(infohash))
        self._fetching = None
        if progress is not None:
            self._daemon.bytes.fetched(progress.sources)
            if self.origins is not None:
                self.origins.image_ended(progress, healing=self._healing)

    async def _check(self, effect: CheckSlot) -> None:
        daemon, target = self._daemon, effect.target
        try:
            async with self.slot_work:
                await self.parcels.tidy()
                bad = await trio.to_thread.run_sync(
                    self._keeper().check,
                    effect.slot,
                    self._proof(target),
                    effect.leaves,
                    target.length_bytes,
                    self._tell,
                    trio.from_thread.check_cancelled,
                )
            if not bad:
                await trio.to_thread.run_sync(
                    self._memos.keep, effect.slot, effect.leaves, target.length_bytes
                )
                await daemon.trial_watch.take_baseline(target.infohash)
        except FruitError as error:
            self.failed(target, error)
            return
        if not bad:
            await daemon.last_update.whole(target)
        self.parcels.let_go()
        event: update_events.Event = update_events.ReadBackPassed(target.infohash)
        if bad:
            event = update_events.ReadBackFailed(target.infohash, len(bad))
        self.done(target)
        daemon.submit(daemon.journaled.update_event(event, daemon.time.now_s()))

    async def _make_leaves(self, effect: MakeLeaves) -> None:
        daemon = self._daemon
        try:
            path = self.paths(effect.slot)[0] if effect.slot else Path(effect.path or "")
            leaves = await read_back.leaves_of(path, effect.length_bytes)
        except FruitError as error:
            daemon.refuse("leaves", str(error), "disk")
            leaves = b""
        daemon.submit(daemon.journaled.leaves_made(effect.pieces_root, leaves, daemon.time.now_s()))

    def _seed(self, effect: StartSeed) -> None:
        path = self.paths(effect.slot)[0] if effect.slot else Path(effect.path or "")
        self.seeding[effect.infohash] = str(path)
        infohash = bytes.fromhex(effect.infohash)
        self._daemon.transfer.seed(ImageJob(effect.torrent, infohash, str(path), effect.length_bytes))

    # ------------------------------------------------------------------ small things

    def _stop(self, infohash: str) -> None:
        self.cancel(infohash)
        self.parcels.let_go()
        if self._fetching == infohash:
            self._end_fetch(infohash)
            self._daemon.transfer.stop(bytes.fromhex(infohash))

    def cancel(self, name: str) -> None:
        """End what was begun under this name; its name is free again."""
        scope = self._scopes.pop(name, None)
        if scope is not None:
            scope.cancel()

    def done(self, target: Target) -> None:
        """The job's own name is free again before its event leads to the next job."""
        self._scopes.pop(target.infohash, None)

    def failed(self, target: Target, error: FruitError) -> None:
        daemon = self._daemon
        self.done(target)
        self.parcels.let_go()
        final = isinstance(error, SlotError) and error.final
        daemon.submit(
            daemon.journaled.step_failed(target.infohash, str(error), daemon.time.now_s(), final=final)
        )

    def _tell(self, done: float) -> None:
        """Called from the worker thread: how far the step is, 0 to 1."""
        self._step_done = done
