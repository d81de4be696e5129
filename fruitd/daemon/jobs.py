"""The long work of an update: filling a slot, fetching into it, reading it back, hashing leaves, serving images.

One image is worked on at a time. Work on the disk runs in a worker thread and is cancelled between chunks; what comes of it
goes to the core as an event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from fruitd.errors import FruitError, SlotError
from fruitd.node.effects import (
    CheckSlot,
    FillSlot,
    MakeLeaves,
    NodeEffect,
    OfferPeers,
    StartFetch,
    StartSeed,
    StopJob,
    StopSeed,
)
from fruitd.slots import read_back, reuse, slot
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
)

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon


class Jobs:
    """Carries out the effects that take long, for one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.nursery: trio.Nursery | None = None
        self.seeding: dict[str, str] = {}
        """Infohash -> path of what is served."""
        self._daemon = daemon
        self._scopes: dict[str, trio.CancelScope] = {}
        self._step_done: float | None = None
        self._reused_bytes = 0
        self._final: tuple[str, Progress] | None = None
        self._fetching: str | None = None
        self._busy = trio.Event()
        self._slot_work = trio.Lock()
        """One worker thread on the slots at a time: work that was cancelled ends only with the chunk it is at."""

    # ------------------------------------------------------------------ effects

    def carry_out(self, effect: NodeEffect) -> None:
        """Begin what the effect asks for; never waits."""
        match effect:
            case FillSlot(target=target):
                self._begin(target.infohash, self._fill, effect)
            case StartFetch():
                self._fetch(effect)
            case CheckSlot(target=target):
                self._begin(target.infohash, self._check, effect)
            case StopJob(infohash=infohash):
                self._stop(infohash)
            case OfferPeers(infohash=infohash, peers=peers):
                self._daemon.transfer.offer_peers(bytes.fromhex(infohash), peers)
            case StartSeed():
                self._seed(effect)
            case StopSeed(infohash=infohash):
                self.seeding.pop(infohash, None)
                self._daemon.transfer.stop(bytes.fromhex(infohash))
            case MakeLeaves(pieces_root=root):
                self._begin(f"leaves {root.hex()}", self._make_leaves, effect)

    def take_transfer_event(self, event: TransferEvent) -> None:
        """Something happened to an image that is fetched or served."""
        daemon, infohash, now_s = self._daemon, event.infohash.hex(), self._daemon.time.now_s()
        match event:
            case ImageFetched():
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
        if not busy:
            return None
        moving = self._daemon.transfer.progress(bytes.fromhex(target.infohash)) or self.final_progress(target)
        rate = moving.receive_rate_bytes_per_s if moving and self._fetching else 0.0
        have = moving.have_bytes if moving else self._reused_bytes
        left = target.length_bytes - have
        return {
            "image_bytes": target.length_bytes,
            "reused_bytes": self._reused_bytes,
            "have_bytes": have,
            "fetched_bytes": moving.received_bytes if moving else 0,
            "wasted_bytes": moving.wasted_bytes if moving else 0,
            "rate_bytes_per_s": round(rate),
            "eta_s": round(left / rate, 1) if rate > 0 else None,
            "step_done": None if self._step_done is None else round(self._step_done, 3),
        }

    def sources(self, target: Target) -> tuple[Source, ...]:
        """Who has given what of this image."""
        moving = self._daemon.transfer.progress(bytes.fromhex(target.infohash)) or self.final_progress(target)
        return moving.sources if moving else ()

    def final_progress(self, target: Target) -> Progress | None:
        """Where the fetch of this image stood when it ended."""
        return self._final[1] if self._final and self._final[0] == target.infohash else None

    async def wait_busy(self) -> None:
        """Return while something is under way."""
        while self._fetching is None and not self._scopes:
            self._busy = trio.Event()
            await self._busy.wait()

    def inspect_slot(self, path: Path, active: Path) -> int:
        """Size of a slot that could be written, in bytes; raises SlotError in words."""
        return slot.inspect(path, active=active, image_bytes=0).size_bytes

    # ------------------------------------------------------------------ the jobs

    def _begin(self, name: str, work: Callable[[Any], Awaitable[None]], effect: NodeEffect) -> None:
        if self.nursery is None or name in self._scopes:
            return
        scope = trio.CancelScope()
        self._scopes[name] = scope
        self._busy.set()
        self.nursery.start_soon(self._run, name, scope, work, effect)

    async def _run(
        self, name: str, scope: trio.CancelScope, work: Callable[[Any], Awaitable[None]], effect: NodeEffect
    ) -> None:
        try:
            with scope:
                await work(effect)
        finally:
            self._step_done = None
            if self._scopes.get(name) is scope:
                del self._scopes[name]

    def _paths(self, name: str) -> tuple[Path, Path]:
        """Path of the slot of that name, and of the other one."""
        slots = self._daemon.config.slots
        if slots is None:
            raise SlotError("this node has no slots")
        paths = {"a": slots.a, "b": slots.b}
        return paths[name], paths[other_slot(name)]

    async def _fill(self, effect: FillSlot) -> None:
        daemon, target = self._daemon, effect.target
        began_s = daemon.time.now_s()
        try:
            path, active = self._paths(effect.slot)
            slot.inspect(path, active=active, image_bytes=target.length_bytes)
            sources = [active, *(Path(source) for source in effect.sources)]
            async with self._slot_work:
                filled = await reuse.fill(path, sources, effect.leaves, target.length_bytes, self._tell)
        except FruitError as error:
            self._failed(target, error)
            return
        self._reused_bytes = filled.reused_bytes
        daemon.last_update.begun(filled.reused_bytes, filled.written_bytes, began_s)
        self._done(target)
        daemon.submit(
            daemon.journaled.slot_prepared(
                target.infohash,
                filled.reused_bytes,
                filled.missing_bytes,
                filled.present,
                daemon.time.now_s(),
            )
        )

    def _fetch(self, effect: StartFetch) -> None:
        daemon, target = self._daemon, effect.target
        path, _ = self._paths(effect.slot)
        self.seeding.pop(target.infohash, None)
        self._fetching = target.infohash
        self._final = None
        self._busy.set()
        job = ImageJob(effect.torrent, bytes.fromhex(target.infohash), str(path), target.length_bytes)
        daemon.transfer.fetch(job, effect.blocks_present)

    def _end_fetch(self, infohash: str) -> None:
        if self._fetching != infohash:
            return
        progress = self._daemon.transfer.progress(bytes.fromhex(infohash))
        self._fetching = None
        if progress is not None:
            self._final = (infohash, progress)

    async def _check(self, effect: CheckSlot) -> None:
        daemon, target = self._daemon, effect.target
        try:
            path, _ = self._paths(effect.slot)
            async with self._slot_work:
                bad = await read_back.check(path, effect.leaves, target.length_bytes, self._tell)
        except FruitError as error:
            self._failed(target, error)
            return
        if not bad:
            await daemon.last_update.whole(target)
        event: update_events.Event = update_events.ReadBackPassed(target.infohash)
        if bad:
            event = update_events.ReadBackFailed(target.infohash, len(bad))
        self._done(target)
        daemon.submit(daemon.journaled.update_event(event, daemon.time.now_s()))

    async def _make_leaves(self, effect: MakeLeaves) -> None:
        daemon = self._daemon
        try:
            path = self._paths(effect.slot)[0] if effect.slot else Path(effect.path or "")
            leaves = await read_back.leaves_of(path, effect.length_bytes)
        except FruitError as error:
            daemon.refuse("leaves", str(error), "disk")
            leaves = b""
        daemon.submit(daemon.journaled.leaves_made(effect.pieces_root, leaves, daemon.time.now_s()))

    def _seed(self, effect: StartSeed) -> None:
        path = self._paths(effect.slot)[0] if effect.slot else Path(effect.path or "")
        self.seeding[effect.infohash] = str(path)
        infohash = bytes.fromhex(effect.infohash)
        self._daemon.transfer.seed(ImageJob(effect.torrent, infohash, str(path), effect.length_bytes))

    # ------------------------------------------------------------------ small things

    def _stop(self, infohash: str) -> None:
        scope = self._scopes.pop(infohash, None)
        if scope is not None:
            scope.cancel()
        if self._fetching == infohash:
            self._end_fetch(infohash)
            self._daemon.transfer.stop(bytes.fromhex(infohash))

    def _done(self, target: Target) -> None:
        """The job's own name is free again before its event leads to the next job."""
        self._scopes.pop(target.infohash, None)

    def _failed(self, target: Target, error: FruitError) -> None:
        daemon = self._daemon
        self._done(target)
        final = isinstance(error, SlotError) and error.final
        daemon.submit(
            daemon.journaled.step_failed(target.infohash, str(error), daemon.time.now_s(), final=final)
        )

    def _tell(self, done: float) -> None:
        """Called from the worker thread: how far the step is, 0 to 1."""
        self._step_done = done
