"""What the updater asks for, carried out with the help of the swarm: torrent, leaves, image, and whom to fetch from. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from attrs import evolve

from bep35.merkle import root_of
from fruitd.node.by_parcel import ByParcel, Choice
from fruitd.node.effects import (
    CheckSlot,
    FillSlot,
    KeepNear,
    KeepTorrent,
    NodeEffect,
    OfferPeers,
    StartFetch,
    StopJob,
)
from fruitd.node.library import Library
from fruitd.node.offer import release_of
from fruitd.node.own_status import STANDING
from fruitd.node.ways import search_first
from fruitd.updater import effects as update_effects
from fruitd.updater import events as update_events
from fruitd.updater.journal import Journal, State, Target
from fruitd.updater.machine import Updater
from swarm import effects as swarm_effects
from swarm.address import Address
from swarm.core import SwarmCore
from swarm.discovery.peers import PeerInfo
from swarm.errors import RefusedError
from swarm.transfer.port import BLOCK_BYTES, TransferPeer
from swarm.transfer.way_out import Out, WayOut
from swarm.trust.trusted_set import TrustedSet

OFFER_PEERS_EVERY_S = 5.0
"""While fetching, connections that broke are dialled again this often."""
WANTING = (State.OFFERED, State.REUSING, State.FETCHING)
"""States in which a node lacks a part of the image and works on getting it."""
Effects: TypeAlias = list[NodeEffect]


class Installing(ByParcel):
    """One updater (None: a node without slots, that relays and seeds only) and what it needs of the swarm."""

    def __init__(
        self, swarm: SwarmCore, trusted: TrustedSet, updater: Updater | None, library: Library
    ) -> None:
        super().__init__(swarm, trusted, updater, library)
        self._bitmap: dict[str, bytes] = {}
        self._nothing_missing: str | None = None
        self._searched = False
        """Were blocks that have moved looked for, when the slot was filled?"""
        self._waiting_for_leaves: dict[bytes, tuple[str, Target, str]] = {}
        self._renewing: Target | None = None
        self._offer_peers_due_s = float("inf")
        self._way_out: WayOut | None = None
        self._way_out_of = b""
        self._mates: tuple[TransferPeer, ...] = ()
        self.unable: str | None = None
        """Why this node may not use the uplink for images now; None where it may."""
        self.left_lan: dict[Out, int] = {}
        """How often this node left its LAN for an image since it started, by reason."""
        self._update_due_s = float("inf")

    def _from_swarm(self, incoming: Iterable[swarm_effects.SwarmEffect], now_s: float) -> Effects:
        """What the swarm's effects mean for the node."""
        raise NotImplementedError

    def _plan_status(self, now_s: float) -> None:
        """The updater's state has changed."""
        raise NotImplementedError

    # ------------------------------------------------------------------ the updater's effects

    def _update(self, event: update_events.Event, now_s: float) -> Effects:
        if self.updater is None:
            return []
        self._read_back_wrong |= isinstance(event, update_events.ReadBackFailed)
        before = (self.updater.journal.state, self.updater.journal.target)
        return self._updated(self.updater, self.updater.handle(event, now_s), before, now_s)

    def _updated(
        self,
        updater: Updater,
        asked: Iterable[update_effects.Effect],
        before: tuple[State, Target | None],
        now_s: float,
    ) -> Effects:
        effects = [made for effect in asked for made in self._from_updater(effect, now_s)]
        if before != (updater.journal.state, updater.journal.target):
            self._plan_status(now_s)
            self._tell_fetching(now_s)
        due_s = updater.next_wakeup_s(now_s)
        self._update_due_s = float("inf") if due_s is None else due_s
        return effects

    def _from_updater(self, effect: update_effects.Effect, now_s: float) -> Effects:
        match effect:
            case update_effects.FetchTorrent(target=target):
                self._lost.clear()
                self._read_back_wrong = False
                return self._fetch_torrent(target, now_s)
            case update_effects.PrepareSlot(target=target, slot=slot):
                return self._fill(target, slot, now_s)
            case update_effects.ReadBack(target=target, slot=slot):
                self._offer_peers_due_s = float("inf")
                return self._need_leaves("check", target, slot, now_s)
            case update_effects.FetchImage(target=target, slot=slot):
                return self._fetch_image(target, slot, now_s)
            case update_effects.StopWork(infohash=infohash):
                return self._stop_work(infohash)
            case update_effects.Seed(target=target, slot=slot):
                return self.library.serve_slot(target, slot) + self._tell_holdings(now_s)
            case _:
                return [effect]

    # ------------------------------------------------------------------ the torrent file++

    def _fetch_torrent(self, target: Target, now_s: float) -> Effects:
        known = self.library.torrent_with(target.infohash, target.torrent_sha256)
        if known is not None:
            return self._check_torrent(target, known.raw, now_s)
        return self._fetch_blob(
            "torrent",
            bytes.fromhex(target.torrent_sha256),
            target.torrent_bytes,
            bytes.fromhex(target.infohash),
            now_s,
        )

    def _check_torrent(self, target: Target, raw: bytes, now_s: float) -> Effects:
        try:
            self.trusted.check_torrent(release_of(target), raw)
        except RefusedError as error:
            refused: Effects = [swarm_effects.Refused("torrent", str(error), "peers", error.reason)]
            return refused + self._update(update_events.TorrentRefused(target.infohash, str(error)), now_s)
        effects: Effects = []
        if self.library.torrent_with(target.infohash, target.torrent_sha256) is None:
            self.library.shelve(raw)
            effects.append(KeepTorrent(target.torrent_sha256, raw))
        effects += self._tell_holdings(now_s)
        return effects + self._update(update_events.TorrentReady(target.infohash), now_s)

    def _keep_torrent_of(self, target: Target, now_s: float) -> Effects:
        """An image that runs here was released again, under a torrent file++ that others signed: fetch that, for those who come
        later; its publisher may be gone by then."""
        lacking = self.library.torrent_with(target.infohash, target.torrent_sha256) is None
        self._renewing = target if lacking and self._running_slot(target) is not None else None
        return self._renew_torrent(now_s)

    def _renew_torrent(self, now_s: float) -> Effects:
        """Ask for it, or once more if nobody gave it."""
        if self._renewing is None or self._running_slot(self._renewing) is None:
            return []
        return self._fetch_torrent(self._renewing, now_s)

    def _running_slot(self, target: Target) -> str | None:
        """The slot in which this very image runs, where nothing else is under way."""
        if self.updater is None or self.updater.journal.state not in STANDING:
            return None
        slot = self.updater.journal.target_slot
        content = self.updater.journal.slots[slot] if slot is not None else None
        runs = content is not None and content.committed and content.target.infohash == target.infohash
        return slot if runs else None

    def _renewed(self, target: Target, raw: bytes, now_s: float) -> Effects:
        try:
            self.trusted.check_torrent(release_of(target), raw)
        except RefusedError as error:
            return [swarm_effects.Refused("torrent", str(error), "peers", error.reason)]
        self.library.shelve(raw)
        served = self.library.serve_slot(target, slot) if (slot := self._running_slot(target)) else []
        return [KeepTorrent(target.torrent_sha256, raw), *served, *self._tell_holdings(now_s)]

    def _blob_fetched(self, kind: str, blob_id: bytes, data: bytes, now_s: float) -> Effects:
        if kind == "leaves":
            self._keep_leaves(blob_id, data, now_s)
            return self._leaves_ready(blob_id, now_s)
        if self._renewing is not None and bytes.fromhex(self._renewing.torrent_sha256) == blob_id:
            renewed, self._renewing = self._renewing, None
            return self._renewed(renewed, data, now_s)
        of_parcel = self._parcel_torrent_fetched(blob_id, data, now_s)
        if of_parcel is not None:
            return of_parcel
        target = self._target()
        if target is None or bytes.fromhex(target.torrent_sha256) != blob_id:
            return []
        return self._check_torrent(target, data, now_s)

    def _blob_unavailable(self, kind: str, blob_id: bytes, why: str, now_s: float) -> Effects:
        if kind == "leaves":
            waiting = self._waiting_for_leaves.pop(blob_id, None)
            return self.step_failed(waiting[1].infohash, why, now_s) if waiting else []
        if self._renewing is not None and bytes.fromhex(self._renewing.torrent_sha256) == blob_id:
            return []
        of_parcel = self._parcel_torrent_unavailable(blob_id, why, now_s)
        if of_parcel is not None:
            return of_parcel
        target = self._target()
        if target is None or bytes.fromhex(target.torrent_sha256) != blob_id:
            return []
        return self.step_failed(target.infohash, why, now_s)

    # ------------------------------------------------------------------ leaves

    def _fill(self, target: Target, slot: str, now_s: float) -> Effects:
        return self._need_leaves("fill", target, slot, now_s)

    def _need_leaves(self, work: str, target: Target, slot: str, now_s: float) -> Effects:
        """Go on with `work` ("fill" or "check") once the leaves of the target are here."""
        metainfo = self.library.torrent(target.infohash)
        if metainfo is None:
            return self.step_failed(target.infohash, "its torrent file is not here any more", now_s)
        root = metainfo.pieces_root
        self._waiting_for_leaves = {root: (work, target, slot)}
        if self.library.leaves.get(root) is not None:
            return self._leaves_ready(root, now_s)
        # What was published here can be hashed here; peers may have nothing but what they got from this node.
        return self.library.make_leaves(root) or self._fetch_leaves(target, root, now_s)

    def _fetch_leaves(self, target: Target, root: bytes, now_s: float) -> Effects:
        blocks = -(-target.length_bytes // BLOCK_BYTES)
        return self._fetch_blob("leaves", root, 32 * blocks, bytes.fromhex(target.infohash), now_s)

    def _keep_leaves(self, root: bytes, leaves: bytes, now_s: float) -> None:
        self.library.leaves.put(root, leaves, now_s)
        self._pass_nothing_on()

    def _pass_nothing_on(self) -> None:
        """This node needs the memory for leaves of its own, or may not use its uplink any more."""
        self.library.passed.clear()
        self.swarm.stop_for_others()

    def _leaves_ready(self, root: bytes, now_s: float) -> Effects:
        waiting = self._waiting_for_leaves.pop(root, None)
        leaves = self.library.leaves.get(root)
        if waiting is None or leaves is None:
            return []
        work, target, slot = waiting
        self.library.leaves.used(root, now_s)
        if work == "check":
            return [CheckSlot(target, slot, leaves)]
        shared = self.library.share_path(target.infohash)
        self._searched = search_first(self._usable(target))
        return [FillSlot(target, slot, leaves, (shared,) if shared else (), self._searched)]

    def leaves_made(self, pieces_root: bytes, leaves: bytes, now_s: float) -> Effects:
        """MakeLeaves is done, with no leaves where the image could not be read.

        Peers that ask again will be served, and check what they get; a slot of our own that waited for them goes on only
        with leaves that belong to the signed root.
        """
        waiting = self._waiting_for_leaves.get(pieces_root)
        if waiting is not None and not (leaves and root_of(leaves) == pieces_root):
            target = waiting[1]
            return self.library.unshare(target) + self._fetch_leaves(target, pieces_root, now_s)
        self._keep_leaves(pieces_root, leaves, now_s)
        return self._leaves_ready(pieces_root, now_s)

    # ------------------------------------------------------------------ the image

    def slot_prepared(
        self,
        infohash: str,
        reused_bytes: int,
        missing_bytes: int,
        blocks_present: bytes,
        now_s: float,
        *,
        runs_as_kept: bool = False,
    ) -> Effects:
        """FillSlot is done. `runs_as_kept`: the active slot is what was read back once, as far as a glance can tell."""
        self._bitmap = {infohash: blocks_present}
        self._nothing_missing = None if missing_bytes else infohash
        target = self._target()
        if target is None or target.infohash != infohash or self._state() is not State.REUSING:
            return self._update(update_events.SlotPrepared(infohash, reused_bytes, missing_bytes), now_s)
        parcels = list(self._usable(target)) if missing_bytes else []
        choice = Choice(
            target, reused_bytes, missing_bytes, blocks_present, self._searched, runs_as_kept, parcels
        )
        return self._choose(choice, now_s)

    def _fetch_image(self, target: Target, slot: str, now_s: float) -> Effects:
        if self._nothing_missing == target.infohash:
            # Every block was on the node already; the read-back that follows is what decides.
            return self._update(update_events.ImageArrived(target.infohash), now_s)
        if self._chosen is not None:
            return self._fetch_by_parcel(self._chosen, target, slot, now_s)
        return self._fetch_blocks(target, slot, healing=False, now_s=now_s)

    def _set_present(self, target: Target, present: bytes) -> None:
        self._bitmap = {target.infohash: present}

    def _fetch_blocks(self, target: Target, slot: str, *, healing: bool, now_s: float) -> Effects:
        metainfo = self.library.torrent(target.infohash)
        if metainfo is None:
            return self.step_failed(target.infohash, "its torrent file is not here any more", now_s)
        # An image file shared here that does not hold the image any more is given up: fetch like everyone else.
        effects = self.library.unshare(target)
        present = self._bitmap.get(target.infohash, b"")
        effects.append(StartFetch(target, slot, metainfo.raw, present, healing))
        return effects + self._offer_peers(now_s)

    def _stop_work(self, infohash: str) -> Effects:
        metainfo = self.library.torrent(infohash)
        self._waiting_for_leaves.clear()
        self._offer_peers_due_s = float("inf")
        if metainfo is not None:
            self.swarm.cancel_blob("leaves", metainfo.pieces_root)
        target = self._target()
        if target is not None:
            self.swarm.cancel_blob("torrent", bytes.fromhex(target.torrent_sha256))
        return [*self._leave_parcel(), StopJob(infohash)]

    def step_failed(self, infohash: str, why: str, now_s: float, *, final: bool = False) -> Effects:
        """An effect for this image could not be carried out."""
        return self._update(update_events.StepFailed(infohash, why, final), now_s)

    def journal_not_saved(self, journal: Journal, why: str, now_s: float) -> Effects:
        """A SaveJournal could not be made durable. The host must not carry out any effect that stood behind it."""
        if self.updater is None:
            return []
        # Leaves that come later must not set off work that the lost journal would have stood for.
        self._waiting_for_leaves.clear()
        before = (self.updater.journal.state, self.updater.journal.target)
        return self._updated(self.updater, self.updater.journal_not_saved(journal, why, now_s), before, now_s)

    # ------------------------------------------------------------------ whom to fetch from

    def _offer_peers(self, now_s: float) -> Effects:
        target = self._fetching()
        if target is None:
            self._offer_peers_due_s = float("inf")
            return []
        self._offer_peers_due_s = now_s + OFFER_PEERS_EVERY_S
        given_up = self._look_after_parcel(now_s)
        if given_up is not None:
            return given_up
        infohash = self._on_its_way(target)
        self.swarm.set_fetching(infohash, now_s)
        out = self._decide_way_out(infohash, now_s) is not None
        holders = self.swarm.holders(infohash)
        peers = tuple(transfer_peer(p) for p in holders if p.transfer_port and (out or p.same_site))
        mates = self._mates = self._transfer_mates()
        seek = self._from_swarm(self.swarm.seek_holders(infohash, now_s), now_s)
        return [OfferPeers(infohash.hex(), peers, mates, out), *seek]

    def _on_its_way(self, target: Target) -> bytes:
        """Infohash of what is fetched of this image: of a parcel, or its own. A site has a gateway for each."""
        return self._run.named.infohash if self._run is not None else bytes.fromhex(target.infohash)

    def _transfer_mates(self) -> tuple[TransferPeer, ...]:
        """Under each address that they have: one with two interfaces on this LAN may connect from either."""
        mates = [peer for peer in self.swarm.mates() if peer.transfer_port]
        return tuple(transfer_peer(evolve(p, address=each)) for p in mates for each in (p.address, *p.also))

    def _mates_changed(self) -> Effects:
        """Who is of this site, where that is not what the transfer was told last."""
        mates = self._transfer_mates()
        if mates == self._mates:
            return []
        self._mates = mates
        return [KeepNear(mates)]

    def fetch_progress(self, infohash: str, near_bytes: int, far_bytes: int, now_s: float) -> Effects:
        """While an image is fetched, every second or so: how much of it has come from nodes of the site, and from others."""
        target = self._fetching()
        if target is None or self._on_its_way(target).hex() != infohash or self._way_out is None:
            return []
        self._way_out.progress(near_bytes, far_bytes, now_s)
        before = self._way_out.reason
        after = self._decide_way_out(bytes.fromhex(infohash), now_s)
        return [] if (before is None) == (after is None) else self._offer_peers(now_s)

    @property
    def out(self) -> Out | None:
        """Why this node uses the uplink for the image it fetches; None where it takes from its site only, or fetches nothing."""
        return self._way_out.reason if self._way_out is not None else None

    def set_able(self, unable: str | None, now_s: float) -> Effects:
        """Whether this node may use the uplink for images: None, or why not. Its site is told."""
        if unable == self.unable:
            return []
        self.unable = unable
        self.swarm.set_able(able=unable is None, now_s=now_s)
        if unable is not None:
            self._pass_nothing_on()
        return self._offer_peers(now_s) if self._fetching() is not None else []

    def _decide_way_out(self, infohash: bytes, now_s: float) -> Out | None:
        if self._way_out is None or self._way_out_of != infohash:
            self._way_out, self._way_out_of = WayOut(now_s), infohash
        before = self._way_out.reason
        reason = self._way_out.decide(self.swarm.place(infohash, now_s), now_s, able=self.unable is None)
        if reason is not None and reason is not before:
            self.left_lan[reason] = self.left_lan.get(reason, 0) + 1
        self.swarm.set_out(out=reason is not None)
        return reason

    def _tell_fetching(self, now_s: float) -> None:
        """The site is told what this node wants, from the moment it has decided so."""
        target = self._target()
        wanted = target is not None and self.updater is not None and self.updater.journal.state in WANTING
        if self._fetching() is None and self._way_out is not None:
            self._way_out = None
            self.swarm.set_out(out=False)
        self.swarm.set_fetching(self._on_its_way(target) if wanted and target is not None else b"", now_s)

    def _tell_holdings(self, now_s: float) -> Effects:
        # A node that has given a release up, or has not begun, is no place to come to for it.
        idle = self.updater is None or self.updater.journal.state in {*STANDING, State.ROLLED_BACK}
        beside = self._run.named.infohash if self._run is not None else self._for_others()
        holdings = self.library.holdings(None if idle else self._target(), beside)
        return self._from_swarm(self.swarm.set_holdings(holdings, now_s), now_s)

    def _for_others(self) -> bytes | None:
        """Infohash of what is being fetched for others only."""
        return None

    def _target(self) -> Target | None:
        return self.updater.journal.target if self.updater is not None else None

    def _fetching(self) -> Target | None:
        if self.updater is None or self.updater.journal.state is not State.FETCHING:
            return None
        return self.updater.journal.target


def transfer_peer(peer: PeerInfo) -> TransferPeer:
    """A peer as the transfer knows it."""
    return TransferPeer(peer.node_id, Address(peer.address.host, peer.transfer_port), peer.same_site)
