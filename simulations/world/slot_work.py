"""The slow work of one daemon: filling a slot, reading it back, hashing it, moving images. All of it dies with the daemon.

The real work is in `fruitd.slots` and `swarm.transfer`; here a block is one number and time is virtual. Writes go through
`Machine.write`, so that a power cut can hurt them and the checker sees each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fruitd.node.effects import (
    CheckSlot,
    FillSlot,
    KeepNear,
    MakeLeaves,
    NodeEffect,
    OfferPeers,
    StartFetch,
    StartSeed,
    StopJob,
    StopSeed,
)
from fruitd.updater import events as tell
from simulations.world.images import leaf
from simulations.world.parcel_work import ParcelWork
from swarm.transfer.bitmap import blocks_in
from swarm.transfer.port import (
    BLOCK_BYTES,
    ImageFetched,
    ImageJob,
    PieceArrived,
    PieceRejected,
    TransferEvent,
    TransferStopped,
    by_way,
)

if TYPE_CHECKING:
    from simulations.world.host import Host

SCAN_BYTES_PER_S = 40e6
"""Reading and hashing on a small Pi with an SD card."""
FLUSH_S = 0.5
FILL_STEPS = 8
"""A slot is filled in this many goes, so that a power cut can fall between them."""
HASH_BYTES = 32
PROGRESS_S = 1.0
"""How often the core hears how a fetch goes."""


class SlotWork:
    """What one daemon has running in the background."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._world = host.world
        self._machine = host.machine
        self._under_way = 0
        """Number of the filling or reading back that counts; older ones find themselves outdated and return."""
        self._under_way_for = ""
        """The infohash it is for."""
        self.closed = False
        self._slots: dict[str, str] = {}
        """infohash -> slot being fetched into."""
        self._parcels = ParcelWork(host, self)
        self.transfer = self._world.fabric.join(host.number, host.plan.node_id, host.machine, self)

    def close(self, *, at_once: bool) -> None:
        """The daemon is gone; peers learn of it `at_once`, or only from its silence."""
        self.begin("")
        self.closed = True
        self.transfer.leave(at_once=at_once)

    def carry_out(self, effect: NodeEffect) -> None:
        """Begin, or stop, what an effect asks for."""
        match effect:
            case FillSlot():
                self._fill(effect)
            case CheckSlot():
                self._check(effect)
            case MakeLeaves():
                self._make_leaves(effect)
            case StartFetch():
                self._fetch(effect)
            case OfferPeers():
                name = bytes.fromhex(effect.infohash)
                self.transfer.keep_near(name, effect.mates, near_only=not effect.out)
                self.transfer.offer_peers(name, effect.peers)
            case KeepNear(mates=mates):
                self.transfer.keep_near(b"", mates, near_only=False)
            case StartSeed():
                self._seed(effect)
            case StopSeed(infohash=infohash):
                self._parcels.stop(infohash)
                self.transfer.stop(bytes.fromhex(infohash))
            case StopJob(infohash=infohash):
                self._stop(infohash)
            case _:
                self._parcels.carry_out(effect)

    # ------------------------------------------------------------------ filling

    def _fill(self, effect: FillSlot) -> None:
        """Put in place what the node already holds."""
        machine = self._machine
        image_blocks = len(effect.leaves) // HASH_BYTES
        infohash = effect.target.infohash
        if image_blocks > len(machine.slots[effect.slot].blocks):
            self._host.later(0.1, self._failed, infohash, "the image is larger than the slot", True)
            return
        at_hand: dict[bytes, int] = {}
        assert machine.active is not None
        sources: list[Sequence[int]] = [machine.slots[machine.active].content()] if effect.search else []
        sources += [machine.disk.files.get(path, ()) for path in effect.sources]
        for source in sources:
            at_hand.update((leaf(block), block) for block in source)
        wanted = [effect.leaves[i : i + HASH_BYTES] for i in range(0, len(effect.leaves), HASH_BYTES)]
        self._fill_step(self.begin(infohash), effect, wanted, at_hand, 0, bytearray(-(-len(wanted) // 8)))

    def _fill_step(
        self,
        number: int,
        effect: FillSlot,
        wanted: list[bytes],
        at_hand: dict[bytes, int],
        begin: int,
        present: bytearray,
    ) -> None:
        if number != self._under_way:
            return
        slot = self._machine.slots[effect.slot]
        end = min(len(wanted), begin + max(1, len(wanted) // FILL_STEPS))
        for place in range(begin, end):
            if leaf(slot.read(place)) != wanted[place]:
                block = at_hand.get(wanted[place])
                if block is None:
                    continue
                self._machine.write(effect.slot, place, block)
            present[place // 8] |= 0x80 >> place % 8
        pause_s = (end - begin) * BLOCK_BYTES / SCAN_BYTES_PER_S
        if end < len(wanted):
            self._host.later(pause_s, self._fill_step, number, effect, wanted, at_hand, end, present)
        else:
            self._host.later(pause_s, self._filled, number, effect, present)

    def _filled(self, number: int, effect: FillSlot, present: bytearray) -> None:
        core = self._host.core
        if number != self._under_way or core is None:
            return
        reused = blocks_in(present) * BLOCK_BYTES
        missing = effect.target.length_bytes - reused
        self._host.carry_out(
            core.slot_prepared(effect.target.infohash, reused, missing, bytes(present), self._host.steady_s())
        )

    # ------------------------------------------------------------------ reading back, hashing

    def _check(self, effect: CheckSlot) -> None:
        """Flush the slot, read it from the medium, compare."""
        self._host.later(FLUSH_S, self._flushed, self.begin(effect.target.infohash), effect)

    def _flushed(self, number: int, effect: CheckSlot) -> None:
        if number != self._under_way:
            return
        self._machine.flush(effect.slot)
        read_s = effect.target.length_bytes / SCAN_BYTES_PER_S
        self._host.later(read_s, self._checked, number, effect)

    def _checked(self, number: int, effect: CheckSlot) -> None:
        if number != self._under_way:
            return
        blocks = self._machine.slots[effect.slot].blocks
        bad = sum(
            place >= len(blocks)
            or leaf(blocks[place]) != effect.leaves[place * HASH_BYTES : (place + 1) * HASH_BYTES]
            for place in range(len(effect.leaves) // HASH_BYTES)
        )
        infohash = effect.target.infohash
        if bad:
            self._host.tell(tell.ReadBackFailed(infohash, bad))
            return
        self._world.checker.read_back_passed(self._host.number, effect.slot)
        self._host.tell(tell.ReadBackPassed(infohash))

    def _make_leaves(self, effect: MakeLeaves) -> None:
        """Hash an image that this node serves."""
        self._host.later(effect.length_bytes / SCAN_BYTES_PER_S, self._leaves_made, effect)

    def _leaves_made(self, effect: MakeLeaves) -> None:
        core = self._host.core
        if core is None:
            return
        blocks = self.stored(effect.slot, effect.path)[: -(-effect.length_bytes // BLOCK_BYTES)]
        leaves = b"".join(leaf(block) for block in blocks)
        self._host.carry_out(core.leaves_made(effect.pieces_root, leaves, self._host.steady_s()))

    def stored(self, slot: str | None, path: str | None) -> Sequence[int]:
        """The blocks in a slot, or in an image file."""
        if slot is not None:
            return self._machine.slots[slot].content()
        return self._machine.disk.files.get(path or "", ())

    # ------------------------------------------------------------------ moving images

    def _fetch(self, effect: StartFetch) -> None:
        """Fetch into a slot what is missing."""
        target = effect.target
        self._slots[target.infohash] = effect.slot
        job = ImageJob(effect.torrent, bytes.fromhex(target.infohash), effect.slot, target.length_bytes)
        self.transfer.fetch(job, effect.blocks_present)
        self._host.later(PROGRESS_S, self._tell_progress, target.infohash)

    def _tell_progress(self, infohash: str) -> None:
        """As the daemon does while bytes move."""
        core = self._host.core
        moving = self.transfer.progress(bytes.fromhex(infohash)) if infohash in self._slots else None
        if core is None or moving is None:
            return
        near, far = by_way(moving.sources)
        self._host.later(PROGRESS_S, self._tell_progress, infohash)
        self._host.carry_out(core.fetch_progress(infohash, near, far, self._host.steady_s()))

    def _seed(self, effect: StartSeed) -> None:
        """Serve an image."""
        job = ImageJob(
            effect.torrent,
            bytes.fromhex(effect.infohash),
            effect.slot or effect.path or "",
            effect.length_bytes,
        )
        self.transfer.seed(job)

    def _stop(self, infohash: str) -> None:
        """Stop whatever is under way for this image."""
        if self._under_way_for == infohash:
            self.begin("")
        self._slots.pop(infohash, None)
        self.transfer.stop(bytes.fromhex(infohash))

    def begin(self, infohash: str) -> int:
        """What was under way is outdated now."""
        self._under_way += 1
        self._under_way_for = infohash
        return self._under_way

    def counts(self, number: int) -> bool:
        """Is what was begun under this number still what is under way?"""
        return number == self._under_way

    def transfer_event(self, event: TransferEvent) -> None:
        """What the transfer has to say."""
        if self.closed or self._parcels.transfer_event(event):
            return
        infohash = event.infohash.hex()
        match event:
            case ImageFetched():
                if self._slots.pop(infohash, None) is not None:
                    self._host.tell(tell.ImageArrived(infohash))
            case TransferStopped(why=why):
                self._slots.pop(infohash, None)
                self._failed(infohash, why, False)
            case PieceRejected() | PieceArrived():
                pass

    def _failed(self, infohash: str, why: str, final: bool) -> None:
        self._host.tell(tell.StepFailed(infohash, why, final))
