"""The slow work that parcels take in the world: as `fruitd.daemon.moving.parcel_jobs`, on virtual time and numbered content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fruitd.node.effects import (
    DropParcel,
    FetchParcel,
    HurryParcel,
    MakeSegment,
    NodeEffect,
    OpenParcel,
    ReadParcelHead,
    RelayImage,
)
from simulations.world.images import BLANK, leaf
from simulations.world.parcels import VirtualParcel
from swarm.transfer.bitmap import block_count, empty_bitmap, full_bitmap, has_block, set_block
from swarm.transfer.port import (
    BLOCK_BYTES,
    ImageFetched,
    ImageJob,
    PieceArrived,
    TransferEvent,
    TransferStopped,
)

if TYPE_CHECKING:
    from fruitd.daemon.journaled_core import JournaledCore
    from simulations.world.host import Host
    from simulations.world.slot_work import SlotWork

UNPACK_BYTES_PER_S = 60e6
LOOK_S = 0.01


class ParcelWork:
    """What one daemon has under way for parcels."""

    def __init__(self, host: Host, work: SlotWork) -> None:
        self._host = host
        self._work = work
        self._machine = host.machine
        self._fetching: str | None = None
        self._relaying: str | None = None

    def carry_out(self, effect: NodeEffect) -> None:
        """Begin what an effect asks for."""
        later = self._host.later
        match effect:
            case OpenParcel():
                later(LOOK_S, self._open, effect)
            case FetchParcel():
                self._fetch(effect)
            case ReadParcelHead():
                later(LOOK_S, self._read_head, effect)
            case MakeSegment():
                make_s = effect.segment.output_bytes / UNPACK_BYTES_PER_S
                later(make_s, self._make, self._work.begin(effect.target.infohash), effect)
            case HurryParcel():
                pass  # nothing is held back in the model
            case RelayImage():
                later(LOOK_S, self._relay, effect)
            case DropParcel(path=path):
                self._machine.disk.files.pop(path, None)
            case _:
                raise AssertionError(f"the world does not know {type(effect).__name__}")

    def stop(self, infohash: str) -> None:
        """The core wants no more of this parcel."""
        if self._fetching == infohash:
            self._fetching = None
        if self._relaying == infohash:
            self._relaying = None

    def transfer_event(self, event: TransferEvent) -> bool:
        """What the transfer says of the parcel that is fetched; False where it is about something else."""
        core, infohash, now_s = self._host.core, event.infohash.hex(), self._host.steady_s()
        if core is not None and infohash == self._relaying:
            return self._relay_event(core, event, now_s)
        if core is None or infohash != self._fetching:
            return False
        match event:
            case PieceArrived(piece=piece):
                self._host.carry_out(core.parcel_piece(infohash, piece, now_s))
            case ImageFetched():
                self._fetching = None
                self._host.carry_out(core.parcel_fetched(infohash, now_s))
            case TransferStopped(why=why):
                self._fetching = None
                self._host.carry_out(core.parcel_lost(infohash, why, now_s))
        return True

    def _relay_event(self, core: JournaledCore, event: TransferEvent, now_s: float) -> bool:
        infohash = event.infohash.hex()
        match event:
            case ImageFetched():
                self._relaying = None
                self._host.carry_out(core.image_relayed(infohash, now_s))
            case TransferStopped(why=why):
                self._relaying = None
                self._host.carry_out(core.relay_failed(infohash, why, now_s))
        return True

    # ------------------------------------------------------------------ the work

    def _parcel(self, infohash: str) -> VirtualParcel:
        return self._host.world.parcels[bytes.fromhex(infohash)]

    def _open(self, effect: OpenParcel) -> None:
        core, now_s = self._host.core, self._host.steady_s()
        assert core is not None
        disk, blocks = self._machine.disk, block_count(effect.length_bytes)
        if disk.full:
            self._host.carry_out(core.parcel_lost(effect.infohash, "there is no room", now_s))
            return
        content = disk.files.setdefault(effect.path, [BLANK] * blocks)
        bitmap = empty_bitmap(blocks)
        for place, block in enumerate(content):
            if block != BLANK:
                set_block(bitmap, place)
        self._host.carry_out(core.parcel_opened(effect.infohash, bytes(bitmap), now_s))

    def _fetch(self, effect: FetchParcel) -> None:
        self._fetching = effect.infohash
        job = ImageJob(
            effect.torrent, bytes.fromhex(effect.infohash), effect.path, effect.length_bytes, streamed=True
        )
        self._work.transfer.fetch(job, effect.blocks_present)

    def _relay(self, effect: RelayImage) -> None:
        core, blocks = self._host.core, block_count(effect.length_bytes)
        assert core is not None
        if self._machine.disk.full:
            self._host.carry_out(
                core.relay_failed(effect.infohash, "there is no room", self._host.steady_s())
            )
            return
        self._machine.disk.files.setdefault(effect.path, [BLANK] * blocks)
        self._relaying = effect.infohash
        job = ImageJob(effect.torrent, bytes.fromhex(effect.infohash), effect.path, effect.length_bytes)
        self._work.transfer.fetch(job, full_bitmap(blocks))

    def _is_whole(self, infohash: str, path: str, offset: int, length_bytes: int) -> bool:
        truth, content = self._parcel(infohash).blocks, self._machine.disk.files.get(path, ())
        blocks = range(offset // BLOCK_BYTES, block_count(offset + length_bytes)) if length_bytes else ()
        return all(place < len(content) and content[place] == truth[place] for place in blocks)

    def _read_head(self, effect: ReadParcelHead) -> None:
        core, now_s = self._host.core, self._host.steady_s()
        assert core is not None
        header = self._parcel(effect.infohash).header
        head_bytes = header.segments[0].frame_offset
        if effect.here_bytes < head_bytes:
            self._host.carry_out(core.parcel_head(effect.infohash, None, head_bytes, now_s))
        elif self._is_whole(effect.infohash, effect.path, 0, head_bytes):
            self._host.carry_out(core.parcel_head(effect.infohash, header, head_bytes, now_s))
        else:
            self._host.carry_out(core.parcel_lost(effect.infohash, "its header is damaged", now_s))

    def _make(self, number: int, effect: MakeSegment) -> None:
        core, machine = self._host.core, self._machine
        if core is None or not self._work.counts(number):
            return
        assert machine.active is not None
        parcel, segment = self._parcel(effect.infohash), effect.segment
        damaged = not self._is_whole(effect.infohash, effect.path, segment.frame_offset, segment.frame_bytes)
        older, active = parcel.older, machine.slots[machine.active]
        right, wrong = [], 0
        for place in (place for run in segment.runs for place in range(run.block, run.end)):
            if has_block(effect.present, place):
                continue
            block = parcel.image.blocks[place]
            sound = older is None or active.read(place) == older.blocks[place]
            if damaged or not sound or leaf(block) != effect.leaves[32 * place : 32 * place + 32]:
                wrong += 1
            else:
                machine.write(effect.slot, place, block)
                right.append(place)
        self._host.carry_out(
            core.segment_made(
                effect.infohash, segment.number, tuple(right), wrong, self._host.steady_s(), damaged=damaged
            )
        )
