"""The node's core: joins what the swarm says with the life of the update. Pure; the daemon and the world both run it.

News in, effects out. A manifest that the store accepted becomes an offer to the updater; what the updater asks for becomes a
blob to fetch, a slot to fill, a transfer to start; a change of the updater's state becomes a status record for the swarm.

Every method returns effects that its host carries out in order. `now_s` is steady (it never jumps); `wall_offset_s` added to
it is the calendar time that other nodes see.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from bep35.merkle import root_of
from fruitd.boot_facts import BootFacts
from fruitd.node.effects import (
    CheckSlot,
    FillSlot,
    KeepTorrent,
    NodeEffect,
    OfferPeers,
    StartFetch,
    StopJob,
)
from fruitd.node.library import Library
from fruitd.node.offer import nothing_for, release_in, release_of, target_of
from fruitd.node.own_status import STANDING, StatusPlan, node_status
from fruitd.node.settings import NodeSettings
from fruitd.updater import effects as update_effects
from fruitd.updater import events as update_events
from fruitd.updater.journal import Journal, State, Target
from fruitd.updater.machine import Updater
from swarm import effects as swarm_effects
from swarm.address import Address
from swarm.core import SwarmCore
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.status import NodeStatus, status_record
from swarm.transfer.port import BLOCK_BYTES, TransferPeer
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest, Release
from swarm.trust.trusted_set import TrustedSet

OFFER_PEERS_EVERY_S = 5.0
"""While fetching, connections that broke are dialled again this often."""
Effects: TypeAlias = list[NodeEffect]


class NodeCore:
    """Joins one SwarmCore and one Updater (None: a node without slots, that relays and seeds only)."""

    def __init__(
        self,
        settings: NodeSettings,
        *,
        swarm: SwarmCore,
        store: RecordStore,
        trusted: TrustedSet,
        updater: Updater | None,
        identity: SecretKey,
        library: Library,
        rng: random.Random,
    ) -> None:
        self.settings = settings
        self.swarm = swarm
        self.store = store
        self.trusted = trusted
        self.updater = updater
        self.library = library
        self.wall_offset_s = 0.0
        self.disputed: str | None = None
        self._identity = identity
        self._rng = rng
        self._bitmap: dict[str, bytes] = {}
        self._nothing_missing: str | None = None
        self._waiting_for_leaves: dict[bytes, tuple[str, Target, str]] = {}
        self._offered: bytes | None = None
        self._status_plan = StatusPlan(rng)
        self._offer_peers_due_s = float("inf")
        self._update_due_s = float("inf")
        self._active_slot: str | None = None
        self._started_s = 0.0

    # ------------------------------------------------------------------ the host calls these

    def started(self, boot: BootFacts | None, now_s: float) -> Effects:
        """The host is ready; everything durable has been handed in. Called once."""
        self._started_s = now_s
        self._plan_status(now_s)
        effects = self.library.serve_shares()
        if self.updater is not None and boot is not None:
            self._active_slot = boot.active
            effects += self._update(update_events.Started(boot), now_s)
        effects += self._offer_newest(now_s)
        effects += self._tell_holdings(now_s)
        return effects

    def on_datagram(self, data: bytes, source: Address, now_s: float, *, multicast: bool = False) -> Effects:
        """A datagram arrived."""
        return self._from_swarm(self.swarm.on_datagram(data, source, now_s, multicast=multicast), now_s)

    def on_stream_reply(self, token: int, reply: bytes, now_s: float) -> Effects:
        """The reply to an OpenStream."""
        return self._from_swarm(self.swarm.on_stream_reply(token, reply, now_s), now_s)

    def on_stream_failed(self, token: int, why: str, now_s: float) -> Effects:
        """An OpenStream got no reply."""
        return self._from_swarm(self.swarm.on_stream_failed(token, why, now_s), now_s)

    def answer(self, request: bytes, source: Address, now_s: float) -> tuple[bytes, Effects]:
        """Serve one stream request."""
        reply, effects = self.swarm.answer(request, source, now_s)
        return reply, self._from_swarm(effects, now_s)

    def set_contacts(self, contacts: Sequence[Address], now_s: float) -> Effects:
        """The configured contacts, their names looked up."""
        return self._from_swarm(self.swarm.set_contacts(contacts, now_s), now_s)

    def next_wakeup_s(self) -> float:
        """When `on_wakeup` wants to be called next."""
        due = min(self.swarm.next_wakeup_s(), self._status_plan.due_s, self._offer_peers_due_s)
        return min(due, self._update_due_s)

    def on_wakeup(self, now_s: float) -> Effects:
        """Time has passed."""
        effects = self._from_swarm(self.swarm.on_wakeup(now_s), now_s)
        if self._update_due_s <= now_s:
            effects += self._update(update_events.Wakeup(), now_s)
        if self._offer_peers_due_s <= now_s:
            effects += self._offer_peers(now_s)
        if self._status_plan.due_s <= now_s:
            effects += self._say_status(now_s)
            effects += self._from_swarm(self.swarm.prune(now_s + self.wall_offset_s), now_s)
            self.library.leaves.forget_unused(now_s)
        return effects

    def update_event(self, event: update_events.Event, now_s: float) -> Effects:
        """The answer to an effect of the updater, or an operator's wish."""
        return self._update(event, now_s)

    def slot_prepared(
        self, infohash: str, reused_bytes: int, missing_bytes: int, blocks_present: bytes, now_s: float
    ) -> Effects:
        """FillSlot is done."""
        self._bitmap = {infohash: blocks_present}
        self._nothing_missing = None if missing_bytes else infohash
        return self._update(update_events.SlotPrepared(infohash, reused_bytes, missing_bytes), now_s)

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

    def leaves_made(self, pieces_root: bytes, leaves: bytes, now_s: float) -> Effects:
        """MakeLeaves is done, with no leaves where the image could not be read.

        Peers that ask again will be served, and check what they get; a slot of our own that waited for them goes on only
        with leaves that belong to the signed root.
        """
        waiting = self._waiting_for_leaves.get(pieces_root)
        if waiting is not None and not (leaves and root_of(leaves) == pieces_root):
            target = waiting[1]
            return self.library.unshare(target) + self._fetch_leaves(target, pieces_root, now_s)
        self.library.leaves.put(pieces_root, leaves, now_s)
        return self._leaves_ready(pieces_root, now_s)

    def publish(self, manifest: Record, torrent: bytes, image_path: str | None, now_s: float) -> Effects:
        """Take a release from a maintainer: verified like any other news, then spread.

        The host has already checked that `image_path` holds the torrent's image. Raises RefusedError; nothing changed then.
        """
        release = self.published_release(manifest, torrent)
        sha256 = release.torrent_sha256.hex()
        self.library.shelve(torrent)
        effects: Effects = [KeepTorrent(sha256, torrent)]
        if image_path is not None:
            effects += self.library.share(release.infohash.hex(), sha256, image_path)
        effects += self._tell_holdings(now_s)
        effects += self._from_swarm(self.swarm.publish(manifest, now_s), now_s)
        return effects

    def published_release(self, manifest: Record, torrent: bytes) -> Release:
        """See `release_in`."""
        return release_in(manifest, torrent, self.trusted, self.store)

    # ------------------------------------------------------------------ what the node knows

    def manifest(self) -> tuple[Record, Manifest] | None:
        """The newest undisputed manifest of this node's channel."""
        entry = self.store.get("manifest", self.settings.channel.encode())
        record = entry.record if entry is not None else None
        if record is None:
            return None
        return record, Manifest.decode(record.body)

    # ------------------------------------------------------------------ swarm -> updater

    def _from_swarm(self, incoming: Iterable[swarm_effects.SwarmEffect], now_s: float) -> Effects:
        effects: Effects = []
        for effect in incoming:
            match effect:
                case swarm_effects.RecordAccepted(record=record):
                    effects.append(effect)
                    if record.kind == "manifest":
                        effects += self._take_manifest(record, now_s)
                case swarm_effects.Equivocation(records=pair):
                    effects += self._dispute(pair, now_s)
                case swarm_effects.BlobFetched(kind=kind, blob_id=blob_id, data=data):
                    effects += self._blob_fetched(kind, blob_id, data, now_s)
                case swarm_effects.BlobUnavailable(kind=kind, blob_id=blob_id, why=why):
                    effects += self._blob_unavailable(kind, blob_id, why, now_s)
                case swarm_effects.BlobWanted(kind="leaves", blob_id=blob_id):
                    effects += self.library.make_leaves(blob_id)
                case swarm_effects.BlobWanted():
                    pass
                case swarm_effects.PeersChanged():
                    self._offer_peers_due_s = min(self._offer_peers_due_s, now_s + 0.2)
                    if self._fetching() is None:
                        self._offer_peers_due_s = float("inf")
                case _:
                    effects.append(effect)
        return effects

    def _take_manifest(self, record: Record, now_s: float) -> Effects:
        channel = record.key.decode(errors="replace")
        if channel == self.settings.channel:
            return self._offer_newest(now_s)
        words = (
            f"manifest {record.sequence} is of channel {channel}, this node follows {self.settings.channel}"
        )
        return [update_effects.Note("not for this node", words)] if self.updater is not None else []

    def _offer_newest(self, now_s: float) -> Effects:
        found = self.manifest()
        if found is None or self.updater is None:
            return []
        record, manifest = found
        if record.content_hash == self._offered:
            return []
        self._offered = record.content_hash
        self.disputed = None
        release = manifest.release_for(self.settings.resource, self.settings.hardware)
        if release is None:
            words = nothing_for(record.sequence, manifest, self.settings.resource, self.settings.hardware)
            return [update_effects.Note("not for this node", words)]
        return self._update(update_events.Offered(target_of(release)), now_s)

    def _dispute(self, pair: tuple[Record, Record], now_s: float) -> Effects:
        first = pair[0]
        where = f"{first.kind} {first.key.decode(errors='replace')} {first.sequence}"
        why = f"two validly signed versions of {where} exist; a higher sequence has to settle it"
        effects: Effects = [swarm_effects.RecordAccepted(record) for record in pair]
        effects.append(update_effects.Note("equivocation", why))
        if first.kind == "manifest" and first.key == self.settings.channel.encode():
            self.disputed = why
            self._offered = None
            effects += self._update(update_events.Disputed(why), now_s)
        return effects

    # ------------------------------------------------------------------ blobs

    def _blob_fetched(self, kind: str, blob_id: bytes, data: bytes, now_s: float) -> Effects:
        if kind == "leaves":
            self.library.leaves.put(blob_id, data, now_s)
            return self._leaves_ready(blob_id, now_s)
        target = self._target()
        if target is None or bytes.fromhex(target.torrent_sha256) != blob_id:
            return []
        return self._check_torrent(target, data, now_s)

    def _check_torrent(self, target: Target, raw: bytes, now_s: float) -> Effects:
        try:
            self.trusted.check_torrent(release_of(target), raw)
        except RefusedError as error:
            refused: Effects = [swarm_effects.Refused("torrent", str(error), "peers")]
            return refused + self._update(update_events.TorrentRefused(target.infohash, str(error)), now_s)
        effects: Effects = []
        if self.library.torrent_with(target.infohash, target.torrent_sha256) is None:
            self.library.shelve(raw)
            effects.append(KeepTorrent(target.torrent_sha256, raw))
        effects += self._tell_holdings(now_s)
        return effects + self._update(update_events.TorrentReady(target.infohash), now_s)

    def _blob_unavailable(self, kind: str, blob_id: bytes, why: str, now_s: float) -> Effects:
        if kind == "leaves":
            waiting = self._waiting_for_leaves.pop(blob_id, None)
            return self.step_failed(waiting[1].infohash, why, now_s) if waiting else []
        target = self._target()
        if target is None or bytes.fromhex(target.torrent_sha256) != blob_id:
            return []
        return self.step_failed(target.infohash, why, now_s)

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
        fetch = self.swarm.fetch_blob("leaves", root, 32 * blocks, bytes.fromhex(target.infohash), now_s)
        return self._from_swarm(fetch, now_s)

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
        return [FillSlot(target, slot, leaves, (shared,) if shared else ())]

    # ------------------------------------------------------------------ updater -> world

    def _update(self, event: update_events.Event, now_s: float) -> Effects:
        if self.updater is None:
            return []
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
        due_s = updater.next_wakeup_s(now_s)
        self._update_due_s = float("inf") if due_s is None else due_s
        return effects

    def _from_updater(self, effect: update_effects.Effect, now_s: float) -> Effects:
        match effect:
            case update_effects.FetchTorrent(target=target):
                return self._fetch_torrent(target, now_s)
            case update_effects.PrepareSlot(target=target, slot=slot):
                return self._need_leaves("fill", target, slot, now_s)
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

    def _fetch_torrent(self, target: Target, now_s: float) -> Effects:
        known = self.library.torrent_with(target.infohash, target.torrent_sha256)
        if known is not None:
            return self._check_torrent(target, known.raw, now_s)
        fetch = self.swarm.fetch_blob(
            "torrent",
            bytes.fromhex(target.torrent_sha256),
            target.torrent_bytes,
            bytes.fromhex(target.infohash),
            now_s,
        )
        return self._from_swarm(fetch, now_s)

    def _fetch_image(self, target: Target, slot: str, now_s: float) -> Effects:
        if self._nothing_missing == target.infohash:
            # Every block was on the node already; the read-back that follows is what decides.
            return self._update(update_events.ImageArrived(target.infohash), now_s)
        metainfo = self.library.torrent(target.infohash)
        if metainfo is None:
            return self.step_failed(target.infohash, "its torrent file is not here any more", now_s)
        # An image file shared here that does not hold the image any more is given up: fetch like everyone else.
        effects = self.library.unshare(target)
        effects.append(StartFetch(target, slot, metainfo.raw, self._bitmap.get(target.infohash, b"")))
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
        return [StopJob(infohash)]

    def _offer_peers(self, now_s: float) -> Effects:
        target = self._fetching()
        if target is None:
            self._offer_peers_due_s = float("inf")
            return []
        self._offer_peers_due_s = now_s + OFFER_PEERS_EVERY_S
        peers = tuple(
            TransferPeer(peer.node_id, Address(peer.address.host, peer.transfer_port), peer.same_site)
            for peer in self.swarm.holders(bytes.fromhex(target.infohash))
            if peer.transfer_port
        )
        seek = self._from_swarm(self.swarm.seek_holders(bytes.fromhex(target.infohash), now_s), now_s)
        return [OfferPeers(target.infohash, peers), *seek] if peers else seek

    def _tell_holdings(self, now_s: float) -> Effects:
        # A node that has given a release up, or has not begun, is no place to come to for it.
        idle = self.updater is None or self.updater.journal.state in {*STANDING, State.ROLLED_BACK}
        holdings = self.library.holdings(None if idle else self._target())
        return self._from_swarm(self.swarm.set_holdings(holdings, now_s), now_s)

    # ------------------------------------------------------------------ status

    def _plan_status(self, now_s: float) -> None:
        self._status_plan.changed(self.updater.journal.state if self.updater is not None else None, now_s)

    def _say_status(self, now_s: float) -> Effects:
        self._status_plan.said(now_s)
        wall_s = now_s + self.wall_offset_s
        known = self.store.get("status", self._identity.node_id)
        after = known.sequence if known is not None else 0
        record = status_record(self._own_status(wall_s, now_s), self._identity, wall_s, after)
        return self._from_swarm(self.swarm.publish(record, now_s), now_s)

    def _own_status(self, wall_s: float, now_s: float) -> NodeStatus:
        settings = self.settings
        journal = self.updater.journal if self.updater is not None else None
        return node_status(
            settings.name,
            settings.site,
            settings.software,
            journal,
            self._active_slot,
            at_s=wall_s,
            uptime_s=now_s - self._started_s,
        )

    # ------------------------------------------------------------------ small things

    def _target(self) -> Target | None:
        return self.updater.journal.target if self.updater is not None else None

    def _fetching(self) -> Target | None:
        if self.updater is None or self.updater.journal.state is not State.FETCHING:
            return None
        return self.updater.journal.target
