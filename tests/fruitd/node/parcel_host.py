"""A host for one node core: real slots, real cache, real segments; only the transfer is a copy out of memory that counts.

It dies where a test says so, and goes on from what was durable: the journal, the slots' files, the cache's files.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
from attrs import define, field, frozen

from bep35 import merkle, metainfo, signing
from fruitd.boot_facts import BootFacts
from fruitd.errors import FruitError
from fruitd.node import effects as ask
from fruitd.node.core import NodeCore
from fruitd.node.library import Library, Share
from fruitd.node.offer import target_of
from fruitd.node.parcel_cache import SUFFIX, CachedParcel, ParcelCache
from fruitd.slots import read_back, reuse
from fruitd.slots.in_place import LITTLE
from fruitd.slots.parcel_file import open_parcel, read_part
from fruitd.slots.segment import make_segment
from fruitd.slots.workbench import Workbench
from fruitd.updater import effects as update_ask
from fruitd.updater import events as tell
from fruitd.updater.journal import Journal, SlotContent
from swarm.errors import RefusedError
from swarm.parcel.header import PREFIX_BYTES, decode_head, head_bytes_of
from swarm.parcel.recipe import Origin, Range, Recipe, Run, Step
from swarm.transfer.bitmap import block_count, has_block
from swarm.trust.manifest import NamedParcel, Release
from swarm.trust.trusted_set import parcel_statement, torrent_statement
from tests.fruitd.node.fleet import NOW_S, RELEASE_KEY, RESOURCE, Signed, make_core, make_manifest
from tests.swarm.parcel.makers import parcel_of, root, segment

BLOCK = merkle.BLOCK_BYTES
PIECE_BYTES = 2 * BLOCK
SEGMENT_BLOCKS = 8
BLOCKS = 96
NO_CHECKPOINT: Callable[[], None] = lambda: None  # noqa: E731


class Cut(Exception):  # noqa: N818  what a test does to a node, no error of anybody's
    """The daemon is killed here."""


@frozen
class Packed:
    """A parcel and its torrent."""

    named: NamedParcel
    torrent: bytes
    content: bytes


@frozen
class Release2:
    """A release with its parcels."""

    signed: Signed
    parcels: tuple[Packed, ...]


def old_and_new(seed: int = 1, changed: int = 30) -> tuple[bytes, bytes]:
    """Two images that differ in scattered blocks, a fifth of each."""
    rng = random.Random(seed)
    old = bytearray(rng.randbytes(BLOCKS * BLOCK - 300))
    new = bytearray(old)
    for block in rng.sample(range(BLOCKS), changed):
        at = block * BLOCK + rng.randrange(200, 10_000)
        new[at : at + 3000] = rng.randbytes(3000)
    return bytes(old), bytes(new)


def segments(old: bytes, new: bytes) -> list[tuple[Recipe, bytes]]:
    """Segments of a few blocks, each against the same place of the older image."""
    made = []
    blocks = block_count(len(new))
    for first in range(0, blocks, SEGMENT_BLOCKS):
        count = min(SEGMENT_BLOCKS, blocks - first)
        begin, end = first * BLOCK, min((first + count) * BLOCK, len(new))
        dictionary = (Range(begin, min(end, len(old)) - begin),) if begin < len(old) else ()
        made.append(segment(old, new, [Run(first, count)], [dictionary], Step(Origin.FRESH, end - begin)))
    return made


def make_release(
    number: int, image: bytes, olds: Sequence[bytes] = (), spoil: Callable[[bytes], bytes] = lambda new: new
) -> Release2:
    """A signed release with a parcel from each of `olds` (empty: from nothing). `spoil`: what the builder took for the image."""
    leaves = merkle.leaf_hashes(image)
    raw = metainfo.build(f"rootfs-{number}.img", len(image), leaves, PIECE_BYTES)
    signer_id = signing.signer_id_of(RELEASE_KEY.public.raw)
    row = Release(
        RESOURCE, ("pi",), number, f"v{number}", len(image), metainfo.parse(raw).infohash, bytes(32), 1,
        RELEASE_KEY.public.raw,
    )  # fmt: skip
    torrent = signing.sign(raw, signer_id, RELEASE_KEY.signing_key, torrent_statement(row))
    row = attrs.evolve(row, torrent_sha256=hashlib.sha256(torrent).digest(), torrent_bytes=len(torrent))
    packed = []
    for old in sorted(olds, key=lambda old: root(old) if old else b""):
        wrong = spoil(image)
        content = parcel_of(old, wrong, segments(old, wrong))
        if wrong != image:  # its header says what the manifest says; only what it makes is another thing
            content = content.replace(root(wrong), root(image))
        unsigned = metainfo.build(f"{number}.parcel", len(content), merkle.leaf_hashes(content), PIECE_BYTES)
        from_root = root(old) if old else b""
        signed = signing.sign(unsigned, signer_id, RELEASE_KEY.signing_key, parcel_statement(row, from_root))
        named = NamedParcel(
            metainfo.parse(signed).infohash, hashlib.sha256(signed).digest(), len(signed), len(content), from_root
        )  # fmt: skip
        packed.append(Packed(named, signed, content))
    row = attrs.evolve(row, parcels=tuple(p.named for p in packed))
    return Release2(Signed(row, torrent, image, leaves), tuple(packed))


@define
class ParcelHost:
    """A node with two slots, slot a running."""

    folder: Path
    old: Signed | None
    """What runs; None: a factory image that nobody knows."""
    cache_bytes: int = 1 << 30
    runs_as_kept: bool = False
    """A glance at slot a shows what was read back once."""
    journal: Journal = field(factory=Journal)
    shares: list[Share] = field(factory=list)
    fetched: Counter[str] = field(factory=Counter)
    """Bytes by infohash."""
    written_bytes: int = 0
    notes: list[str] = field(factory=list)
    segments: int = 0
    """Made, over all lives."""
    believed: int = 0
    """Of these, how many the core was sure of."""
    cut_at: Callable[[str, int], bool] = lambda what, count: False
    """Asked before each piece of work: what it is and how often there was one like it."""
    before_making: Callable[[ParcelHost, ask.MakeSegment], None] = lambda host, effect: None
    counts: Counter[str] = field(factory=Counter)
    rates: dict[str, int] = field(factory=dict)
    """How fast each parcel may come until it has shown that it is of use; 0: as fast as it can."""
    torrents: list[bytes] = field(factory=list)
    network: dict[str, bytes] = field(factory=dict)
    core: NodeCore = field(init=False)
    todo: list[Callable[[], Sequence[object]]] = field(factory=list)
    now_s: float = NOW_S
    armed: bool = False
    manifest: object = None
    leaves: dict[bytes, bytes] = field(factory=dict)
    bench: Workbench = field(factory=Workbench)

    @classmethod
    def make(cls, folder: Path, old: Signed | None, content: bytes, **more: object) -> ParcelHost:
        """`content`: what really is in slot a."""
        room = BLOCKS * BLOCK + 4096
        folder.mkdir(exist_ok=True)
        (folder / "slot-a").write_bytes(content.ljust(room, b"\0"))
        (folder / "slot-b").write_bytes(bytes(room))
        host = cls(folder, old, **more)  # type: ignore[arg-type]
        if old is not None:
            content_of_a = SlotContent(target_of(old.release), committed=True)
            host.journal = attrs.evolve(
                host.journal, slots={"a": content_of_a, "b": None}, highest_release=old.release.release
            )
            host.torrents.append(old.torrent)
        return host

    def slot(self, name: str) -> Path:
        return self.folder / f"slot-{name}"

    def offer(self, release: Release2) -> None:
        """The release is published somewhere; everything but images and parcels is here already."""
        signed = release.signed
        self.network[signed.release.infohash.hex()] = signed.image
        self.leaves[metainfo.parse(signed.torrent).pieces_root] = signed.leaves
        self.torrents.append(signed.torrent)
        for packed in release.parcels:
            self.network[packed.named.infohash.hex()] = packed.content
            self.torrents.append(packed.torrent)
        self.manifest = make_manifest(7, signed)

    def run(self) -> None:
        """From (another) start to an armed slot, or to the cut."""
        cached = [
            CachedParcel(path.stem, path.stat().st_size, path.stem in {s.infohash for s in self.shares})
            for path in sorted((self.folder / "parcels").glob(f"*{SUFFIX}"))
        ]
        cache = ParcelCache(str(self.folder / "parcels"), self.cache_bytes, cached)
        self.todo = []
        library = Library(self.torrents, self.shares, cache)
        for pieces_root, leaves in self.leaves.items():
            library.leaves.put(pieces_root, leaves, self.now_s)
        boot = BootFacts("boot-1", "a", "a", None)
        self.core = make_core(journal=self.journal, boot=boot, library=library, start=False)
        self.carry_out(self.core.started(boot, self.now_s))
        self.carry_out(self.core.offer(self.manifest, self.now_s)[1])  # type: ignore[arg-type]
        for _ in range(10_000):
            if not self.todo or self.armed:
                return
            self.carry_out(self.todo.pop(0)())
        raise AssertionError("there is no end to it")

    def run_through_cuts(self) -> int:
        """Run, and start again after each cut; how often it was cut."""
        for cuts in range(1000):
            try:
                self.run()
            except Cut:
                continue
            return cuts
        raise AssertionError("there is no end to it")

    def _about_to(self, what: str) -> None:
        self.counts[what] += 1
        if self.cut_at(what, self.counts[what]):
            raise Cut(what)

    # ------------------------------------------------------------------ effects

    def carry_out(self, effects: Sequence[object]) -> None:
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: object) -> None:
        match effect:
            case update_ask.SaveJournal(journal=journal):
                self.journal = journal
            case update_ask.Note(what=what, why=why):
                self.notes.append(f"{what}: {why}")
            case update_ask.ArmSlot():
                self.armed = True
            case ask.KeepTorrent(raw=raw):
                self.torrents.append(raw)
            case ask.KeepShare(infohash=infohash, path=path, parcel=parcel):
                self.shares = [share for share in self.shares if share.infohash != infohash]
                if path is not None:
                    self.shares.append(Share(infohash, path, parcel))
            case ask.DropParcel(path=path):
                Path(path).unlink(missing_ok=True)
            case ask.StopJob() | ask.StopSeed():
                self.todo = []
            case _:
                self._begin(effect)

    def _begin(self, effect: object) -> None:
        match effect:
            case ask.FillSlot():
                self.todo.append(lambda: self._fill(effect))
            case ask.OpenParcel():
                self.todo.append(lambda: self._open(effect))
            case ask.FetchParcel():
                self._fetch_parcel(effect)
            case ask.ReadParcelHead():
                self.todo.insert(0, lambda: self._read_head(effect))
            case ask.MakeSegment():
                self.todo.insert(0, lambda: self._make(effect))
            case ask.StartFetch():
                self.todo.append(lambda: self._fetch(effect))
            case ask.CheckSlot():
                self.todo.append(lambda: self._check(effect))

    def _fill(self, effect: ask.FillSlot) -> Sequence[object]:
        self._about_to("fill")
        sources = [self.slot("a")] if effect.search else []
        filled = reuse.fill_blocking(
            self.slot("b"),
            sources,
            effect.leaves,
            effect.target.length_bytes,
            lambda done: None,
            NO_CHECKPOINT,
            overlook=0 if sources else LITTLE,
        )
        self.written_bytes += filled.written_bytes
        return self.core.slot_prepared(
            effect.target.infohash, filled.reused_bytes, filled.missing_bytes, filled.present, self.now_s,
            runs_as_kept=self.runs_as_kept and not effect.search,
        )  # fmt: skip

    def _open(self, effect: ask.OpenParcel) -> Sequence[object]:
        self._about_to("open")
        try:
            blocks = open_parcel(Path(effect.path), effect.length_bytes, NO_CHECKPOINT)
        except FruitError as error:
            return self.core.parcel_lost(effect.infohash, str(error), self.now_s)
        return self.core.parcel_opened(effect.infohash, blocks, self.now_s)

    def _fetch_parcel(self, effect: ask.FetchParcel) -> None:
        content = self.network[effect.infohash]
        self.rates[effect.infohash] = effect.cautious_bytes_per_s
        pieces = range(-(-len(content) // PIECE_BYTES))
        self.todo = []  # of this parcel too there is one transfer at a time
        for piece in pieces:
            self.todo.append(lambda piece=piece: self._piece(effect, content, piece))
        self.todo.append(lambda: self.core.parcel_fetched(effect.infohash, self.now_s))

    def _piece(self, effect: ask.FetchParcel, content: bytes, piece: int) -> Sequence[object]:
        blocks = range(
            piece * PIECE_BYTES // BLOCK, block_count(min((piece + 1) * PIECE_BYTES, len(content)))
        )
        if not all(has_block(effect.blocks_present, block) for block in blocks):
            self._about_to("piece")
        self._transfer(effect.infohash, Path(effect.path), content, piece, effect.blocks_present)
        return self.core.parcel_piece(effect.infohash, piece, self.now_s)

    def _transfer(self, infohash: str, path: Path, content: bytes, piece: int, present: bytes) -> None:
        """As libtorrent does it: blocks not said to be there are fetched, then the piece is hashed."""
        truth = content[piece * PIECE_BYTES :][:PIECE_BYTES]
        for blind in (False, True):
            with path.open("r+b") as file:
                for block in range(
                    piece * PIECE_BYTES // BLOCK, block_count(piece * PIECE_BYTES + len(truth))
                ):
                    if blind or not has_block(present, block):
                        part = content[block * BLOCK :][:BLOCK]
                        file.seek(block * BLOCK)
                        file.write(part)
                        self.fetched[infohash] += len(part)
            if read_part(path, piece * PIECE_BYTES, len(truth)) == truth:
                return

    def _read_head(self, effect: ask.ReadParcelHead) -> Sequence[object]:
        path = Path(effect.path)
        try:
            head_bytes = head_bytes_of(read_part(path, 0, PREFIX_BYTES))
            head = read_part(path, 0, head_bytes)
            parcel = decode_head(head, effect.length_bytes) if head_bytes <= effect.here_bytes else None
        except RefusedError as error:
            return self.core.parcel_lost(effect.infohash, str(error), self.now_s)
        return self.core.parcel_head(effect.infohash, parcel, head_bytes, self.now_s)

    def _make(self, effect: ask.MakeSegment) -> Sequence[object]:
        self._about_to("segment")
        self.before_making(self, effect)
        made = make_segment(
            self.bench, self.slot("b"), self.slot("a"), Path(effect.path), effect.torrent, effect.parcel,
            effect.segment, effect.leaves, effect.present, NO_CHECKPOINT, sure=effect.sure,
        )  # fmt: skip
        self.believed += effect.sure
        self.written_bytes += made.written_bytes
        self.segments += 1
        self._about_to("segment made")
        return self.core.segment_made(
            effect.infohash, effect.segment.number, made.right, made.wrong, self.now_s, damaged=made.damaged
        )

    def _fetch(self, effect: ask.StartFetch) -> Sequence[object]:
        self._about_to("image")
        infohash, content = effect.target.infohash, self.network[effect.target.infohash]
        before = self.fetched[infohash]
        for piece in range(-(-len(content) // PIECE_BYTES)):
            self._transfer(infohash, self.slot("b"), content, piece, effect.blocks_present)
        self.written_bytes += self.fetched[infohash] - before
        return self.core.update_event(tell.ImageArrived(infohash), self.now_s)

    def _check(self, effect: ask.CheckSlot) -> Sequence[object]:
        self._about_to("check")
        bad = read_back.check_blocking(
            self.slot("b"), effect.leaves, effect.target.length_bytes, lambda done: None, NO_CHECKPOINT
        )
        event = tell.ReadBackFailed(effect.target.infohash, len(bad)) if bad else None
        return self.core.update_event(event or tell.ReadBackPassed(effect.target.infohash), self.now_s)

    # ------------------------------------------------------------------ what came of it

    def holds(self, image: bytes) -> bool:
        """Is the image, whole and bit for bit, in slot b, and armed?"""
        return self.armed and self.slot("b").read_bytes()[: len(image)] == image
