"""One virtual computer below the daemon: storage that a power cut can hurt, two slots, a boot environment, firmware.

What survives what:

=====================  ==========  ===========  ==========
                       kill -9     restart      power cut
=====================  ==========  ===========  ==========
records, journal       kept        kept         kept (their writing is atomic: saved at return, or not at all)
slot, flushed          kept        kept         kept
slot, not flushed      kept        kept         each block kept, lost or torn
boot environment       kept        kept         kept (two copies, one valid)
the daemon's memory    lost        lost         lost
=====================  ==========  ===========  ==========

The real storage keeps these promises by its own tests (tests/fruitd/state, tests/fruitd/boot); here they are assumed and what
the cores make of them is tried.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence

from attrs import Factory, define, field

from fruitd.boot_facts import BootFacts
from fruitd.updater.journal import SLOTS, Journal, other_slot
from simulations.world.images import BLANK, TORN
from swarm.news.record import Record


@define
class Slot:
    """One root partition: what is on the medium, and what is still on its way there."""

    blocks: list[int]
    pending: dict[int, int] = Factory(dict)

    def read(self, place: int) -> int:
        """The block as a program on the running machine sees it."""
        return self.pending.get(place, self.blocks[place])

    def content(self) -> tuple[int, ...]:
        """All blocks, as a program on the running machine sees them."""
        if not self.pending:
            return tuple(self.blocks)
        return tuple(self.pending.get(place, block) for place, block in enumerate(self.blocks))


@define
class Disk:
    """What a node has on its data partition. Every method-less field is durable the moment it is set."""

    journal: Journal | None = None
    records: dict[tuple[str, bytes], list[Record]] = Factory(dict)
    torrents: dict[str, bytes] = Factory(dict)
    shares: dict[str, str] = Factory(dict)
    """infohash -> path of the image file."""
    files: dict[str, Sequence[int]] = Factory(dict)
    """path -> blocks of image files, and of parcels."""
    fresh: dict[str, set[int]] = Factory(dict)
    """path -> blocks that were written to a parcel in the cache and may not be on the medium yet."""
    power: bytes | None = None
    """What the owner of a stack's bus keeps."""
    energy: bytes | None = None
    """And what updates under way have drawn so far."""
    full: bool = False
    """Nothing can be saved for the time being."""
    waiting: list[Record] = Factory(list)
    """In the daemon's memory until the next save."""

    def keep_record(self, record: Record) -> None:
        """A newer sequence replaces what is kept for the key; an equal one with other content joins it.

        On a full disk the record waits for the next save; it is lost with the daemon's memory, and comes back from peers.
        """
        if self.full:
            self.waiting.append(record)
            return
        kept = self.records.get((record.kind, record.key), [])
        if kept and kept[0].sequence < record.sequence:
            kept = []
        if all(other.content_hash != record.content_hash for other in kept):
            kept = [*kept, record]
        self.records[record.kind, record.key] = kept

    def keep_what_waited(self) -> None:
        """Something else is being saved: what waited goes with it."""
        waited, self.waiting = self.waiting, []
        for record in waited:
            self.keep_record(record)


Observer = Callable[[str, str], None]


@define
class Machine:
    """A computer with two slots. `watch(what, slot)` hears of every write, boot environment change and boot."""

    slot_blocks: int
    rng: random.Random
    default: str = "a"
    armed: str | None = None
    active: str | None = None
    """The slot that runs; None while the machine is off or its firmware is at work."""
    booted: int = 0
    disk: Disk = Factory(Disk)
    slots: dict[str, Slot] = field(init=False)
    written_blocks: int = 0
    watch: Observer = field(default=lambda what, slot: None)

    @slots.default
    def _slots(self) -> dict[str, Slot]:
        return {name: Slot([BLANK] * self.slot_blocks) for name in SLOTS}

    @property
    def boot_id(self) -> str:
        """Differs from boot to boot."""
        return f"boot-{self.booted}"

    def facts(self) -> BootFacts:
        """What the boot backend tells the daemon."""
        assert self.active is not None, "a machine that is off tells nothing"
        return BootFacts(self.boot_id, self.active, self.default, self.armed)

    def write(self, slot: str, place: int, block: int) -> None:
        """A program writes one block; it is not on the medium yet."""
        self.watch("write", slot)
        self.slots[slot].pending[place] = block
        self.written_blocks += 1

    def keep_in_cache(self, path: str, place: int, block: int) -> None:
        """A program writes one block of a parcel; it is not on the medium yet."""
        content = self.disk.files.get(path)
        if not isinstance(content, list):
            raise OSError(errno.ENOENT, "No such file")
        if self.disk.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        content[place] = block
        self.disk.fresh.setdefault(path, set()).add(place)

    def flush(self, slot: str) -> None:
        """Everything written to the slot is on the medium when this returns."""
        target = self.slots[slot]
        for place, block in target.pending.items():
            target.blocks[place] = block
        target.pending.clear()

    def holds(self, slot: str, blocks: Sequence[int]) -> bool:
        """Does the medium (not the cache) hold exactly these blocks at the slot's beginning?"""
        return tuple(self.slots[slot].blocks[: len(blocks)]) == tuple(blocks)

    def arm(self, slot: str) -> None:
        """The next boot, and only that one, tries this slot."""
        self.watch("arm", slot)
        self.armed = slot

    def commit(self, slot: str) -> None:
        """This slot boots when nothing is armed."""
        self.watch("commit", slot)
        self.default, self.armed = slot, None

    def power_off(self, *, cut: bool) -> None:
        """Lose what is volatile. A cut also decides the fate of every block that was not flushed."""
        self.active = None
        for name in SLOTS:
            if not cut:
                self.flush(name)
                continue
            slot = self.slots[name]
            for place, block in slot.pending.items():
                fate = self.rng.random()
                if fate < 0.5:
                    slot.blocks[place] = block
                elif fate < 0.75:
                    slot.blocks[place] = TORN
            slot.pending.clear()
        for path, places in self.disk.fresh.items():
            content = self.disk.files.get(path)
            if cut and isinstance(content, list):
                for place in sorted(places):
                    content[place] = self.rng.choice((content[place], content[place], BLANK, TORN))
        self.disk.fresh.clear()

    def choose_slot(self) -> str:
        """The firmware's choice; using up what was armed is durable before anything of it runs."""
        chosen = self.armed or self.default
        if chosen != self.default:
            self.watch("trial", chosen)
        self.armed = None
        self.booted += 1
        return chosen

    def boot(self, slot: str) -> None:
        """The slot's system is up."""
        self.active = slot
        self.watch("boot", slot)

    def inactive(self) -> str:
        """The slot that does not run."""
        assert self.active is not None
        return other_slot(self.active)
