"""The long work of relaying an image: room in the cache, fetching, flushing. Which image, and when, the core decides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import trio

from fruitd.errors import FruitError
from fruitd.node.effects import RelayImage
from fruitd.slots.parcel_file import flush_parcel, open_parcel
from swarm.transfer.bitmap import block_count, full_bitmap
from swarm.transfer.port import ImageFetched, ImageJob, TransferEvent, TransferStopped

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon
    from fruitd.daemon.moving.jobs import Jobs


class RelayJobs:
    """Of one daemon. One image is fetched for others at a time."""

    def __init__(self, daemon: Daemon, jobs: Jobs) -> None:
        self._daemon = daemon
        self._jobs = jobs
        self.fetching: str | None = None
        """Infohash of the image on its way for others."""
        self._path = ""

    def carry_out(self, effect: RelayImage) -> None:
        """Begin; never waits."""
        self._jobs.begin(f"relay {effect.infohash}", self._fetch, effect)

    def take_transfer_event(self, event: TransferEvent) -> bool:
        """What happened to the image that is relayed; False where the event is about something else."""
        infohash = event.infohash.hex()
        if infohash != self.fetching:
            return False
        match event:
            case ImageFetched():
                self._end()
                self._jobs.begin(f"relay {infohash}", self._flush, infohash)
            case TransferStopped(why=why):
                self._end()
                self._failed(infohash, why)
            case _:
                return False
        return True

    def stop(self, infohash: str) -> None:
        """The core wants it no more."""
        self._jobs.cancel(f"relay {infohash}")
        if self.fetching == infohash:
            self._end()

    # ------------------------------------------------------------------ the work

    async def _fetch(self, effect: RelayImage) -> None:
        transfer, path = self._daemon.transfer, Path(effect.path)
        await transfer.settled()
        try:
            await trio.to_thread.run_sync(
                open_parcel, path, effect.length_bytes, trio.from_thread.check_cancelled
            )
        except FruitError as error:
            self._failed(effect.infohash, str(error))
            return
        await (
            trio.lowlevel.checkpoint_if_cancelled()
        )  # a thread that was past its last look returns as if nothing had been
        self.fetching, self._path = effect.infohash, effect.path
        self._jobs.is_busy()
        infohash = bytes.fromhex(effect.infohash)
        job = ImageJob(effect.torrent, infohash, effect.path, effect.length_bytes)
        # As if all were there: what an earlier try left is found by its hash, and so are zeros, a good part of an image.
        transfer.fetch(job, full_bitmap(block_count(effect.length_bytes)))

    async def _flush(self, infohash: str) -> None:
        """What is called whole, and served unread after a restart, has to be on the medium."""
        daemon = self._daemon
        try:
            await trio.to_thread.run_sync(flush_parcel, Path(self._path))
        except FruitError as error:
            self._failed(infohash, str(error))
            return
        await trio.lowlevel.checkpoint_if_cancelled()  # stopped meanwhile: nothing is served
        self._jobs.seeding[infohash] = self._path
        daemon.submit(daemon.journaled.image_relayed(infohash, daemon.time.now_s()))

    def _end(self) -> None:
        """Book what was fetched."""
        infohash, self.fetching = self.fetching, None
        progress = self._daemon.transfer.progress(bytes.fromhex(infohash)) if infohash else None
        if progress is not None:
            self._daemon.bytes.relayed(progress.received_bytes)

    def _failed(self, infohash: str, why: str) -> None:
        daemon = self._daemon
        daemon.submit(daemon.journaled.relay_failed(infohash, why, daemon.time.now_s()))
