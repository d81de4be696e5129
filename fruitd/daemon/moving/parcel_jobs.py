"""The long work that parcels take: room in the cache, fetching, reading headers, making segments in the slot.

What is to be done, and what follows from what came of it, the core decides; here it is waited for.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from fruitd.errors import FruitError
from fruitd.heap import give_back
from fruitd.node.effects import (
    DropParcel,
    FetchParcel,
    HurryParcel,
    MakeSegment,
    NodeEffect,
    OpenParcel,
    ReadParcelHead,
)
from fruitd.slots.parcel_file import flush_parcel, open_parcel, read_part
from fruitd.slots.segment import make_segment
from fruitd.slots.workbench import Workbench
from fruitd.updater.journal import Target
from swarm.errors import RefusedError
from swarm.parcel.header import PREFIX_BYTES, decode_head, head_bytes_of
from swarm.transfer.port import (
    ImageFetched,
    ImageJob,
    PieceArrived,
    Progress,
    TransferEvent,
    TransferStopped,
)

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon
    from fruitd.daemon.moving.jobs import Jobs


class ParcelJobs:
    """Carries out the effects about parcels, for one daemon. One parcel is used at a time."""

    def __init__(self, daemon: Daemon, jobs: Jobs) -> None:
        self._daemon = daemon
        self._jobs = jobs
        self._bench = Workbench()
        self.fetching: str | None = None
        """Infohash of the parcel on its way."""
        self.length_bytes = 0
        """Of that parcel."""

    def carry_out(self, effect: NodeEffect) -> None:
        """Begin what the effect asks for; never waits."""
        match effect:
            case OpenParcel(infohash=infohash):
                self._jobs.begin(f"open {infohash}", self._open, effect)
            case FetchParcel():
                self._fetch(effect)
            case HurryParcel(infohash=infohash):
                self._daemon.transfer.hurry(bytes.fromhex(infohash))
            case ReadParcelHead(infohash=infohash):
                self._jobs.begin(f"head {infohash}", self._read_head, effect)
            case MakeSegment(target=target):
                self._jobs.begin(target.infohash, self._make, effect)
            case DropParcel(path=path):
                self._jobs.begin(f"drop {path}", self._drop, effect)

    def take_transfer_event(self, event: TransferEvent) -> bool:
        """What happened to the parcel that is fetched; False where the event is about something else."""
        infohash = event.infohash.hex()
        if infohash != self.fetching:
            return False
        daemon, now_s = self._daemon, self._daemon.time.now_s()
        match event:
            case PieceArrived(piece=piece):
                # Thousands come within a second or two, and most lead to nothing while a segment is made.
                if effects := daemon.journaled.parcel_piece(infohash, piece, now_s):
                    daemon.submit(effects)
            case ImageFetched():
                self.end()
                self._jobs.begin(f"flush {infohash}", self._flush, infohash)
            case TransferStopped(why=why):
                self.end()
                daemon.submit(daemon.journaled.parcel_lost(infohash, why, now_s))
            case _:
                return False
        return True

    def progress(self) -> Progress | None:
        """How far the parcel on its way is; None where none is."""
        return self._daemon.transfer.progress(bytes.fromhex(self.fetching)) if self.fetching else None

    def stop(self, infohash: str) -> None:
        """The core wants no more of this parcel."""
        if self.fetching == infohash:
            self.end()

    def end(self) -> None:
        """Book what was fetched."""
        progress, self.fetching = self.progress(), None
        if progress is not None:
            self._daemon.bytes.fetched(progress.sources)
            if self._jobs.origins is not None:
                self._jobs.origins.parcel_ended(progress)

    # ------------------------------------------------------------------ the jobs

    async def _flush(self, infohash: str) -> None:
        """What is called whole, and served unread after a restart, has to be on the medium."""
        daemon = self._daemon
        path = daemon.core.library.cache.path_of(infohash)
        try:
            await trio.to_thread.run_sync(flush_parcel, Path(path))
        except FruitError as error:
            daemon.submit(daemon.journaled.parcel_lost(infohash, str(error), daemon.time.now_s()))
            return
        self._jobs.seeding[infohash] = path
        daemon.submit(daemon.journaled.parcel_fetched(infohash, daemon.time.now_s()))

    async def _open(self, effect: OpenParcel) -> None:
        daemon = self._daemon
        await daemon.transfer.settled()
        try:
            blocks = await trio.to_thread.run_sync(
                open_parcel, Path(effect.path), effect.length_bytes, trio.from_thread.check_cancelled
            )
        except FruitError as error:
            daemon.submit(daemon.journaled.parcel_lost(effect.infohash, str(error), daemon.time.now_s()))
            return
        daemon.submit(daemon.journaled.parcel_opened(effect.infohash, blocks, daemon.time.now_s()))

    def _fetch(self, effect: FetchParcel) -> None:
        self.stop(effect.infohash)
        self._jobs.seeding.pop(effect.infohash, None)
        self.fetching, self.length_bytes = effect.infohash, effect.length_bytes
        self._jobs.is_busy()
        job = ImageJob(
            effect.torrent,
            bytes.fromhex(effect.infohash),
            effect.path,
            effect.length_bytes,
            streamed=True,
            cautious_bytes_per_s=effect.cautious_bytes_per_s,
        )
        self._daemon.transfer.fetch(job, effect.blocks_present)

    async def _read_head(self, effect: ReadParcelHead) -> None:
        daemon, path = self._daemon, Path(effect.path)
        try:
            head_bytes = head_bytes_of(await trio.to_thread.run_sync(read_part, path, 0, PREFIX_BYTES))
            parcel = None
            if head_bytes <= effect.here_bytes:
                head = await trio.to_thread.run_sync(read_part, path, 0, head_bytes)
                parcel = await trio.to_thread.run_sync(decode_head, head, effect.length_bytes)
                del head
                await trio.to_thread.run_sync(give_back)
        except RefusedError as error:
            daemon.submit(daemon.journaled.parcel_lost(effect.infohash, str(error), daemon.time.now_s()))
            return
        daemon.submit(daemon.journaled.parcel_head(effect.infohash, parcel, head_bytes, daemon.time.now_s()))

    async def _make(self, effect: MakeSegment) -> None:
        daemon = self._daemon
        try:
            slot, active = self._jobs.paths(effect.slot)
            async with self._jobs.slot_work:
                made = await trio.to_thread.run_sync(
                    partial(make_segment, sure=effect.sure), self._bench, slot, active, Path(effect.path),
                    effect.torrent, effect.parcel, effect.segment, effect.leaves, effect.present,
                    trio.from_thread.check_cancelled,
                )  # fmt: skip
        except FruitError as error:
            self._jobs.failed(effect.target, error)
            return
        if self._jobs.origins is not None:
            self._jobs.origins.made(made.written_bytes)
        self._done(effect.target)
        daemon.submit(
            daemon.journaled.segment_made(
                effect.infohash, effect.segment.number, made.right, made.wrong, daemon.time.now_s(),
                damaged=made.damaged,
            )
        )  # fmt: skip

    async def tidy(self) -> None:
        """No segment is made now: the memory that it takes is needed for what comes next. For whoever has the slots."""
        await trio.to_thread.run_sync(self._bench.tidy)

    def let_go(self) -> None:
        """No more segments are made for now."""
        self._jobs.begin("let go of the slot", self._let_go, None)

    async def _let_go(self, _: object) -> None:
        async with self._jobs.slot_work:
            await trio.to_thread.run_sync(self._bench.let_go)

    async def _drop(self, effect: DropParcel) -> None:
        await self._daemon.transfer.settled()  # what is still written would make the file anew
        await trio.to_thread.run_sync(_unlink, Path(effect.path))

    def _done(self, target: Target) -> None:
        self._jobs.done(target)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
