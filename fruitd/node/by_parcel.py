"""How the rest of an image comes: the cheapest way is chosen beforehand, and a parcel is carried into the slot. Pure.

A parcel can never make a wrong image. What its segments make is compared with the image's signed hashes; what is missing or wrong
at its end is fetched from the image's own torrent; and the whole slot is read back as ever, each block of it. So all that is
decided here is what is cheap: which way to begin with, and when to give it up for another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from attrs import define, field

from bep35.metainfo import Metainfo
from fruitd.amounts import size
from fruitd.node.effects import (
    DropParcel,
    FetchParcel,
    HurryParcel,
    KeepTorrent,
    MakeSegment,
    NodeEffect,
    OpenParcel,
    ReadParcelHead,
    StopSeed,
)
from fruitd.node.library import Library
from fruitd.node.parcel_run import HeadNeeded, ParcelRun, Wait
from fruitd.node.ways import by_parcel_words, cautious_bytes_per_s, usable
from fruitd.updater import effects as update_effects
from fruitd.updater import events as update_events
from fruitd.updater.journal import State, Target
from fruitd.updater.machine import Updater
from swarm import effects as swarm_effects
from swarm.core import SwarmCore
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.parcel.header import Parcel, Segment
from swarm.transfer.bitmap import block_count, has_block
from swarm.transfer.port import BLOCK_BYTES
from swarm.trust.manifest import Manifest, NamedParcel, Release
from swarm.trust.trusted_set import TrustedSet

NOBODY_S = 30.0
"""A parcel that nobody is known to give, while somebody gives the image, is waited for this long. Shorter gives up parcels whose
holders are just restarting; longer delays nodes whose parcel has died out."""
STALL_S = 300.0
"""And so long where somebody has it but nothing comes."""
Effects: TypeAlias = list[NodeEffect]


@define
class Choice:
    """What the choice of a way goes by, while parcels are looked at one after the other."""

    target: Target
    reused_bytes: int
    missing_bytes: int
    present: bytes
    """Bitmap of the image's blocks that are in place."""
    searched: bool
    runs_as_kept: bool
    """The active slot is what was read back once, as far as a glance can tell."""
    parcels: list[NamedParcel]
    """Not looked at yet, the cheapest first."""
    blocks_here: bytes = field(default=b"")
    """Of the parcel that was chosen: what an earlier try left of it."""


class ByParcel:
    """The part of the node's core that knows parcels."""

    def __init__(
        self, swarm: SwarmCore, trusted: TrustedSet, updater: Updater | None, library: Library
    ) -> None:
        self.swarm = swarm
        self.trusted = trusted
        self.updater = updater
        self.library = library
        self._active_slot: str | None = None
        self._choice: Choice | None = None
        self._chosen: NamedParcel | None = None
        """The way that was chosen; None: block by block."""
        self._run: ParcelRun | None = None
        self._lost: set[bytes] = set()
        """Parcels that led no further in this try."""
        self._read_back_wrong = False
        """In this try, the slot was not what it should be when it was read back."""

    # ------------------------------------------------------------------ what the rest of the core does

    def manifest(self) -> tuple[Record, Manifest] | None:
        """The newest undisputed manifest of this node's channel."""
        raise NotImplementedError

    def _from_swarm(self, incoming: Iterable[swarm_effects.SwarmEffect], now_s: float) -> Effects:
        raise NotImplementedError

    def _update(self, event: update_events.Event, now_s: float) -> Effects:
        raise NotImplementedError

    def _fill(self, target: Target, slot: str, now_s: float) -> Effects:
        """Put in place what is on this node."""
        raise NotImplementedError

    def _fetch_blocks(self, target: Target, slot: str, *, healing: bool, now_s: float) -> Effects:
        """Fetch what is missing, block by block."""
        raise NotImplementedError

    def _offer_peers(self, now_s: float) -> Effects:
        raise NotImplementedError

    def _tell_holdings(self, now_s: float) -> Effects:
        raise NotImplementedError

    def step_failed(self, infohash: str, why: str, now_s: float, *, final: bool = False) -> Effects:
        """An effect for this image could not be carried out."""
        raise NotImplementedError

    def _fetch_blob(
        self, kind: str, blob_id: bytes, size_bytes: int, holders_of: bytes, now_s: float
    ) -> Effects:
        """See `SwarmCore.fetch_blob`; what this node has got for others already is not fetched again."""
        here = self.library.passed.take(kind, blob_id)
        fetch = (
            self.swarm.fetch_blob(kind, blob_id, size_bytes, holders_of, now_s)
            if here is None
            else [swarm_effects.BlobFetched(kind, blob_id, here)]
        )
        return self._from_swarm(fetch, now_s)

    # ------------------------------------------------------------------ which parcels there are

    def _release_now(self, target: Target) -> Release | None:
        """The manifest's row for this image, if it still names it."""
        found = self.manifest()
        infohash = bytes.fromhex(target.infohash)
        rows = found[1].releases if found is not None else ()
        return next((row for row in rows if row.infohash == infohash), None)

    def _running_root(self) -> bytes | None:
        """Pieces root of what is in the active slot, as far as this node knows."""
        if self.updater is None or self._active_slot is None:
            return None
        content = self.updater.journal.slots.get(self._active_slot)
        metainfo = self.library.torrent(content.target.infohash) if content is not None else None
        return metainfo.pieces_root if metainfo is not None else None

    def _usable(self, target: Target) -> tuple[NamedParcel, ...]:
        """Parcels for this target that this node can use, the cheapest first."""
        release = self._release_now(target)
        if release is None or not self.library.cache.bytes_max:
            return ()
        return usable(release.parcels, self._running_root(), self._lost)

    def _named(self) -> set[str]:
        """Infohashes of what the manifest names."""
        found = self.manifest()
        rows = found[1].releases if found is not None else ()
        parcels = {parcel.infohash.hex() for row in rows for parcel in row.parcels}
        return parcels | {row.infohash.hex() for row in rows}

    # ------------------------------------------------------------------ choosing

    def _choose(self, choice: Choice, now_s: float) -> Effects:
        """Look at the ways from the cheapest on, until one is known to be cheaper than fetching block by block."""
        self._choice = choice
        cache = self.library.cache
        while choice.parcels:
            named = choice.parcels[0]
            infohash = named.infohash.hex()
            if self.library.share_path(infohash) is not None:
                return self._chose(named, by_parcel_words(named, 0, choice.missing_bytes), now_s)
            if named.length_bytes >= choice.missing_bytes and not cache.begun(infohash):
                choice.parcels.pop(0)
                continue
            going = cache.make_room(infohash, named.length_bytes, self._named())
            if going is not None:
                dropped = [effect for other in going for effect in self._drop(other)]
                return [*dropped, OpenParcel(infohash, cache.path_of(infohash), named.length_bytes)]
            words = (
                f"the cache for parcels has {size(cache.bytes_max)}, this one has {size(named.length_bytes)}"
            )
            return self.parcel_lost(infohash, words, now_s)
        return self._chose(None, "", now_s)

    def parcel_opened(self, infohash: str, blocks_present: bytes, now_s: float) -> Effects:
        """OpenParcel is done: what an earlier try left of the parcel, as a bitmap of its blocks."""
        choice = self._choice
        if choice is None or not choice.parcels or choice.parcels[0].infohash.hex() != infohash:
            return []
        named = choice.parcels[0]
        here = sum(has_block(blocks_present, block) for block in range(block_count(named.length_bytes)))
        fetch_bytes = max(named.length_bytes - here * BLOCK_BYTES, 0)
        if fetch_bytes >= choice.missing_bytes:
            choice.parcels.pop(0)
            return self._choose(choice, now_s)
        choice.blocks_here = blocks_present
        return self._chose(named, by_parcel_words(named, fetch_bytes, choice.missing_bytes), now_s)

    def _chose(self, named: NamedParcel | None, words: str, now_s: float) -> Effects:
        choice = self._choice
        assert choice is not None
        self._chosen = named
        target = choice.target
        return self._update(
            update_events.SlotPrepared(target.infohash, choice.reused_bytes, choice.missing_bytes, words),
            now_s,
        )

    def _drop(self, infohash: str) -> Effects:
        """Delete a parcel from the cache."""
        path = self.library.cache.path_of(infohash)
        self.library.cache.dropped(infohash)
        shared = any(share.infohash == infohash and share.path == path for share in self.library.shares())
        effects = self.library.forget_share(infohash) if shared else []
        return [*effects, DropParcel(path)]

    # ------------------------------------------------------------------ fetching

    def _fetch_by_parcel(self, named: NamedParcel, target: Target, slot: str, now_s: float) -> Effects:
        """Begin with the parcel that was chosen."""
        choice = self._choice
        assert choice is not None
        self._run = ParcelRun(named, target, slot, choice.present, now_s, is_likely=choice.runs_as_kept)
        known = self.library.torrent_with(named.infohash.hex(), named.torrent_sha256.hex())
        if known is not None:
            return self._begin_parcel(self._run, known, choice.blocks_here, now_s)
        return self._fetch_blob("torrent", named.torrent_sha256, named.torrent_bytes, named.infohash, now_s)

    def _parcel_torrent_fetched(self, blob_id: bytes, raw: bytes, now_s: float) -> Effects | None:
        """None where these bytes are not the torrent of the parcel at hand."""
        run = self._run
        if run is None or run.named.torrent_sha256 != blob_id:
            return None
        release = self._release_now(run.target)
        try:
            if release is None:
                raise RefusedError("the manifest names it no more")
            metainfo = self.trusted.check_parcel(release, run.named, raw)
        except RefusedError as error:
            refused: Effects = [swarm_effects.Refused("torrent", str(error), "peers", error.reason)]
            return refused + self._lose_way(f"the torrent of the parcel is refused: {error}", now_s)
        self.library.shelve(raw)
        blocks = self._choice.blocks_here if self._choice is not None else b""
        return [KeepTorrent(blob_id.hex(), raw), *self._begin_parcel(run, metainfo, blocks, now_s)]

    def _parcel_torrent_unavailable(self, blob_id: bytes, why: str, now_s: float) -> Effects | None:
        """As above."""
        if self._run is None or self._run.named.torrent_sha256 != blob_id:
            return None
        return self._lose_way(f"nobody gives the torrent of the parcel: {why}", now_s)

    def _begin_parcel(self, run: ParcelRun, torrent: Metainfo, blocks: bytes, now_s: float) -> Effects:
        run.begin(torrent.piece_bytes, now_s)
        infohash = run.named.infohash.hex()
        if self.library.share_path(infohash) is not None:
            run.all_arrived(now_s)  # whole, and served from where it lies
            return self._work_on_parcel(now_s)
        path = self.library.cache.path_of(infohash)
        doubtful = run.named.from_root and not (run.of_use or run.is_likely)
        rate = cautious_bytes_per_s(self._other_bytes(run)) if doubtful else 0
        fetch = FetchParcel(infohash, torrent.raw, path, run.named.length_bytes, blocks, rate)
        return [fetch, *self._tell_holdings(now_s), *self._offer_peers(now_s)]

    def parcel_piece(self, infohash: str, piece: int, now_s: float) -> Effects:
        """A piece of the parcel is in the cache."""
        if self._run is None or self._run.named.infohash.hex() != infohash:
            return []
        self._run.arrived(piece, now_s)
        return self._work_on_parcel(now_s)

    def parcel_fetched(self, infohash: str, now_s: float) -> Effects:
        """The whole parcel is in the cache. It goes on being served from there."""
        run = self._run
        ours = run is not None and run.named.infohash.hex() == infohash
        if run is not None and ours:
            run.all_arrived(now_s)
        cache = self.library.cache
        if not cache.begun(infohash):
            return []
        cache.whole(infohash)
        effects = self.library.took_over(infohash, cache.path_of(infohash)) + self._tell_holdings(now_s)
        return effects + self._work_on_parcel(now_s) if ours else effects

    def parcel_lost(self, infohash: str, why: str, now_s: float) -> Effects:
        """The parcel cannot be fetched, kept or read."""
        choice, run = self._choice, self._run
        if run is not None and run.named.infohash.hex() == infohash:
            return self._lose_way(f"the parcel cannot be used: {why}", now_s)
        if choice is None or not choice.parcels or choice.parcels[0].infohash.hex() != infohash:
            return []
        if self._state() is not State.REUSING:
            return []
        self._lost.add(choice.parcels.pop(0).infohash)
        note = update_effects.Note("another way", f"the parcel cannot be used: {why}")
        return [note, *self._drop(infohash), *self._choose_again(choice, now_s)]

    def _choose_again(self, choice: Choice, now_s: float) -> Effects:
        """Before all that is missing is fetched, blocks that have moved are looked for, if they were not."""
        slot = self.updater.journal.target_slot if self.updater is not None else None
        if choice.searched or slot is None or any(p.from_root for p in choice.parcels):
            return self._choose(choice, now_s)
        return self._fill(choice.target, slot, now_s)

    # ------------------------------------------------------------------ making

    def parcel_head(self, infohash: str, parcel: Parcel | None, needs_bytes: int, now_s: float) -> Effects:
        """The header was read; or None, and how many bytes of the parcel have to be here for that."""
        run = self._run
        if run is None or run.named.infohash.hex() != infohash:
            return []
        release = self._release_now(run.target)
        metainfo = self.library.torrent(run.target.infohash)
        root = metainfo.pieces_root if metainfo is not None else None
        fits = run.head_read(parcel, needs_bytes)
        if parcel is not None and release is not None:
            fits = (
                fits and parcel.image_root == root and parcel.from_root == (run.named.from_root or bytes(32))
            )
        if not fits:
            return self._lose_way("the parcel is not what the manifest says of it", now_s)
        return self._work_on_parcel(now_s)

    def segment_made(
        self,
        infohash: str,
        segment: int,
        right: tuple[int, ...],
        wrong: int,
        now_s: float,
        *,
        damaged: bool = False,
    ) -> Effects:
        """MakeSegment is done: these blocks are in place now, so many are wrong. `damaged`: what lies in the cache is not what
        was fetched."""
        run = self._run
        if run is None or run.named.infohash.hex() != infohash:
            return []
        if damaged and (blocks := run.damaged(segment)) is not None:
            return self._fetch_again(run, blocks, now_s)
        run.made(segment, right, wrong)
        if run.wrong_bytes and not run.harvest.goes_on(self._other_bytes(run)):
            why = (
                f"slot {self._active_slot} is not bit for bit the release it should be"
                if run.named.from_root
                else "the parcel does not make the image"
            )
            return self._lose_way(f"{why}: {wrong} of {wrong + len(right)} blocks came out wrong", now_s)
        if not right or run.of_use:
            return self._work_on_parcel(now_s)
        run.of_use = True
        return [HurryParcel(infohash), *self._work_on_parcel(now_s)]

    def _other_bytes(self, run: ParcelRun) -> int:
        """What the cheapest other way would cost from here on."""
        from_nothing = [p.length_bytes for p in self._usable(run.target) if not p.from_root]
        return min([*from_nothing, run.missing_bytes])

    def _fetch_again(self, run: ParcelRun, blocks: bytes, now_s: float) -> Effects:
        infohash = run.named.infohash.hex()
        known = self.library.torrent(infohash)
        path = self.library.share_path(infohash)
        if known is None or path not in (None, self.library.cache.path_of(infohash)):
            return self._lose_way("the parcel is damaged where it lies", now_s)
        forgotten = self.library.forget_share(infohash) if path is not None else []
        words = "a part of the parcel in the cache is damaged; it is fetched again"
        note = update_effects.Note("cache", words)
        return [note, *forgotten, *self._begin_parcel(run, known, blocks, now_s)]

    def _work_on_parcel(self, now_s: float) -> Effects:
        run = self._run
        assert run is not None
        infohash = run.named.infohash.hex()
        path = self.library.share_path(infohash) or self.library.cache.path_of(infohash)
        match run.next_work():
            case HeadNeeded(here_bytes=here_bytes):
                return [ReadParcelHead(infohash, path, run.named.length_bytes, here_bytes)]
            case Segment() as segment:
                return self._make(run, segment, path, now_s)
            case Wait.DONE:
                return self._heal(run, now_s)
        return []

    def _make(self, run: ParcelRun, segment: Segment, path: str, now_s: float) -> Effects:
        metainfo = self.library.torrent(run.target.infohash)
        known = self.library.torrent(run.named.infohash.hex())
        leaves = self.library.leaves.get(metainfo.pieces_root) if metainfo is not None else None
        if leaves is None or known is None or metainfo is None or run.parcel is None:
            return self.step_failed(
                run.target.infohash, "what its blocks are checked by is not here any more", now_s
            )
        self.library.leaves.used(metainfo.pieces_root, now_s)
        return [
            MakeSegment(
                run.target, run.slot, run.named.infohash.hex(), known.raw, path, run.parcel, segment, leaves,
                bytes(run.present), sure=run.is_sure and not self._read_back_wrong,
            )
        ]  # fmt: skip

    def _heal(self, run: ParcelRun, now_s: float) -> Effects:
        """Every segment is made: what is missing comes from the image's own torrent."""
        target = run.target
        left = self._leave_parcel()
        if not run.missing_bytes:
            return left + self._arrived_by_parcel(run.present, target, now_s)
        words = f"{size(run.missing_bytes)} that the parcel did not make right"
        note = update_effects.Note(
            "healing", f"{words} come from the image itself", target.release, target.version
        )
        return [*left, note, *self._heal_blocks(run, now_s)]

    def _heal_blocks(self, run: ParcelRun, now_s: float) -> Effects:
        self._set_present(run.target, bytes(run.present))
        return self._fetch_blocks(run.target, run.slot, healing=True, now_s=now_s)

    def _set_present(self, target: Target, present: bytes) -> None:
        raise NotImplementedError

    def _arrived_by_parcel(self, present: bytearray, target: Target, now_s: float) -> Effects:
        self._set_present(target, bytes(present))
        return self._update(update_events.ImageArrived(target.infohash), now_s)

    # ------------------------------------------------------------------ giving it up

    def _look_after_parcel(self, now_s: float) -> Effects | None:
        """Whom to fetch the parcel from is asked again and again: is it worth waiting for? None: go on."""
        run = self._run
        if run is None or run.complete or not self.swarm.holders(bytes.fromhex(run.target.infohash)):
            return None
        silent_s = now_s - run.heard_s
        if silent_s > STALL_S:
            return self._lose_way(f"nothing of the parcel has come for {STALL_S:.0f} s", now_s)
        if silent_s > NOBODY_S and not self.swarm.holders(run.named.infohash):
            return self._lose_way("nobody here gives the parcel", now_s)
        return None

    def _lose_way(self, why: str, now_s: float) -> Effects:
        """Give this parcel up for this try; what it made stays."""
        run = self._run
        assert run is not None
        self._lost.add(run.named.infohash)
        return self._update(update_events.WayLost(run.target.infohash, why), now_s)

    def _leave_parcel(self) -> Effects:
        """Stop whatever is under way for a parcel. A whole one goes on being served."""
        self._choice = None
        run, self._run = self._run, None
        if run is None:
            return []
        self.swarm.cancel_blob("torrent", run.named.torrent_sha256)
        return [] if run.complete else [StopSeed(run.named.infohash.hex())]

    def _state(self) -> State | None:
        return self.updater.journal.state if self.updater is not None else None
