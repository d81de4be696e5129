"""The node's core: joins what the swarm says with the life of the update. Pure; the daemon and the world both run it.

News in, effects out. A manifest that the store accepted becomes an offer to the updater; what the updater asks for becomes a
blob to fetch, a slot to fill, a transfer to start; a change of the updater's state becomes a status record for the swarm.

Every method returns effects that its host carries out in order. `now_s` is steady (it never jumps); `wall_offset_s` added to
it is the calendar time that other nodes see.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from fruitd.boot_facts import BootFacts
from fruitd.node.belief import Belief
from fruitd.node.effects import (
    KeepTorrent,
)
from fruitd.node.installing import Effects
from fruitd.node.library import Library
from fruitd.node.offer import PublishedParcel, parcel_in, release_in
from fruitd.node.own_membership import OwnMembership
from fruitd.node.own_status import StatusPlan, node_status
from fruitd.node.passing_on import PassingOn
from fruitd.node.relaying import Relaying
from fruitd.node.settings import NodeSettings
from fruitd.node.standing import Standing, contradiction, signed_time_s
from fruitd.power.part import PowerPart
from fruitd.updater import effects as update_effects
from fruitd.updater import events as update_events
from fruitd.updater.machine import Updater
from fruitd.updater.table import WORKING
from swarm import effects as swarm_effects
from swarm.address import Address
from swarm.core import SwarmCore
from swarm.errors import Reason, RefusedError
from swarm.joining import OwnCertificate
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.news.store import Standing as Outcome
from swarm.power import SAID_KINDS
from swarm.roll import ROLL_KINDS
from swarm.status import STATUS_KIND, NodeStatus, status_record
from swarm.trust.freshness import FRESH_KIND
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import ROOT_KIND
from swarm.trust.tokens import MEMBER_KIND
from swarm.trust.trusted_set import MANIFEST_KIND, TrustedSet

REVIEWED = frozenset({ROOT_KIND, FRESH_KIND, MANIFEST_KIND})
"""Kinds that decide what may be installed."""
COUNT_FOR_STATUS = frozenset({ROOT_KIND, *ROLL_KINDS})
"""Kinds that decide whose status counts."""
SIGNED_BY_NODES = frozenset({MEMBER_KIND, STATUS_KIND}) | SAID_KINDS
"""Kinds that any node signs for itself: what one of them does wrong is counted and fills nobody's history."""


class NodeCore(Relaying):
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
        membership: OwnMembership,
        power: PowerPart | None = None,
    ) -> None:
        passing_on = PassingOn(swarm, store, library, rng)
        super().__init__(
            swarm, trusted, updater, library, store, identity, power, passing_on,
            relay_images=settings.relay_images,
        )  # fmt: skip
        self.settings = settings
        self.membership = membership
        self._belief = Belief(settings, store, trusted)
        self._rng = rng
        self._status_plan = StatusPlan(rng)
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
        effects += self._review(now_s)
        effects += self._tell_holdings(now_s)
        return effects

    def clock_set(self, wall_offset_s: float, now_s: float) -> Effects:
        """Calendar time is this much ahead of steady time from now on: what expires, or is current, may be judged otherwise."""
        self.wall_offset_s = wall_offset_s
        return self._review(now_s)

    def on_datagram(
        self,
        data: bytes,
        source: Address,
        now_s: float,
        *,
        multicast: bool = False,
        tunnelled: bool = False,
    ) -> Effects:
        """A datagram arrived."""
        return self._from_swarm(
            self.swarm.on_datagram(data, source, now_s, multicast=multicast, tunnelled=tunnelled), now_s
        )

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

    def lan_came(self, now_s: float) -> Effects:
        """There is another interface to beacon on."""
        return self._from_swarm(self.swarm.lan_came(now_s), now_s)

    def next_wakeup_s(self) -> float:
        """When `on_wakeup` wants to be called next."""
        due = min(
            self.swarm.next_wakeup_s(), self._status_plan.due_s, self._offer_peers_due_s, self._relay_due_s
        )
        power_s = self.power.due_s if self.power is not None else float("inf")
        return min(due, power_s, self._update_due_s)

    def on_wakeup(self, now_s: float) -> Effects:
        """Time has passed."""
        effects = self._from_swarm(self.swarm.on_wakeup(now_s), now_s)
        if self._update_due_s <= now_s:
            effects += self._update(update_events.Wakeup(), now_s)
        if self._offer_peers_due_s <= now_s:
            effects += self._offer_peers(now_s)
        effects += self._work_on_relaying(now_s)
        if self.power is not None and self.power.due_s <= now_s:
            effects += self.tell_power(lambda part, wall_s: part.on_time(now_s, wall_s), now_s)
        if self._status_plan.due_s <= now_s:
            effects += self._review(now_s)
            effects += self._say_status(now_s)
            effects += self._renew_torrent(now_s)
            effects += self._from_swarm(self.swarm.prune(now_s + self.wall_offset_s), now_s)
            self.library.leaves.forget_unused(now_s)
            self.library.passed.forget_unused(now_s)
        return effects

    def update_event(self, event: update_events.Event, now_s: float) -> Effects:
        """The answer to an effect of the updater, or an operator's wish."""
        return self._update(event, now_s)

    def publish(
        self,
        manifest: Record,
        torrent: bytes,
        image_path: str | None,
        now_s: float,
        parcels: Sequence[PublishedParcel] = (),
    ) -> Effects:
        """Take a release from a maintainer: verified like any other news, then spread.

        The host has already checked that `image_path` holds the torrent's image, and each parcel's path the parcel. Raises
        RefusedError; nothing changed then.
        """
        release = self.published_release(manifest, torrent)
        named = [parcel_in(release, parcel.torrent, self.trusted) for parcel in parcels]
        sha256 = release.torrent_sha256.hex()
        self.library.shelve(torrent)
        effects: Effects = [KeepTorrent(sha256, torrent)]
        if image_path is not None:
            effects += self.library.share(release.infohash.hex(), sha256, image_path)
        for parcel, row in zip(parcels, named, strict=True):
            self.library.shelve(parcel.torrent)
            effects.append(KeepTorrent(row.torrent_sha256.hex(), parcel.torrent))
            effects += self.library.share(
                row.infohash.hex(), row.torrent_sha256.hex(), parcel.path, parcel=True
            )
        effects += self._tell_holdings(now_s)
        effects += self._from_swarm(self.swarm.publish(manifest, now_s), now_s)
        return effects

    def offer(self, record: Record, now_s: float) -> tuple[Outcome, Effects]:
        """Take a record from somebody on this machine; raises swarm's RefusedError if it is not to be believed."""
        outcome, effects = self.swarm.offer(record, now_s)
        return outcome, self._from_swarm(effects, now_s)

    def published_release(self, manifest: Record, torrent: bytes) -> Release:
        """See `release_in`."""
        return release_in(manifest, torrent, self.trusted, self.store)

    # ------------------------------------------------------------------ what the node knows

    def manifest(self) -> tuple[Record, Manifest] | None:
        """The newest undisputed manifest of this node's channel."""
        return self._belief.manifest()

    def standing(self, now_s: float) -> Standing:
        """What the node may believe now."""
        return self._belief.standing(now_s + self.wall_offset_s)

    def signed_time_s(self) -> float:
        """The newest time that a fact says which is believed now; 0 for none. For the clock's floor."""
        return signed_time_s(self.store, self.trusted)

    # ------------------------------------------------------------------ swarm -> updater

    def _from_swarm(self, incoming: Iterable[swarm_effects.SwarmEffect], now_s: float) -> Effects:
        effects: Effects = []
        changed: set[str] = set()
        for effect in incoming:
            match effect:
                case swarm_effects.RecordAccepted(record=record):
                    effects += [effect, *self._not_for_us(record), *self._power_hears(record, now_s)]
                    changed.add(record.kind)
                case swarm_effects.RecordForgotten(kind=kind, key=key):
                    effects.append(effect)
                    self._power_forgets(kind, key)
                    changed.add(kind)
                case swarm_effects.Equivocation(records=pair):
                    effects += self._contradicted(pair)
                    changed.add(pair[0].kind)
                case swarm_effects.BlobFetched() | swarm_effects.BlobUnavailable():
                    effects += self._blob_ended(effect, now_s)
                case swarm_effects.BlobWanted():
                    effects += self._blob_wanted(effect, now_s)
                case swarm_effects.HoldersSought():
                    effects += self._holders_sought(effect, now_s)
                case swarm_effects.BlobGiven():
                    self.passing_on.given(effect, now_s)
                case swarm_effects.PeersChanged():
                    self._offer_peers_due_s = min(self._offer_peers_due_s, now_s + 0.2)
                    if self._fetching() is None:
                        self._offer_peers_due_s = float("inf")
                        effects += self._mates_changed()
                case _:
                    effects.append(effect)
        if changed & COUNT_FOR_STATUS:
            self._plan_status(now_s)  # it may count now, or have to be shown again
        return effects + (self._review(now_s) if changed & REVIEWED else [])

    def _blob_ended(
        self, blob: swarm_effects.BlobFetched | swarm_effects.BlobUnavailable, now_s: float
    ) -> Effects:
        match blob:
            case swarm_effects.BlobFetched(for_others=True):
                self.passing_on.fetched(blob, now_s)
            case swarm_effects.BlobFetched(kind=kind, blob_id=blob_id, data=data):
                return self._blob_fetched(kind, blob_id, data, now_s)
            case swarm_effects.BlobUnavailable(for_others=False):
                return self._blob_unavailable(blob.kind, blob.blob_id, blob.why, now_s)
        return []

    def _blob_wanted(self, wanted: swarm_effects.BlobWanted, now_s: float) -> Effects:
        """A peer asked for a blob that is not ready here: it is made here, or got for that peer.

        While this node works on an update of its own it has no memory to spare for others, and will hold the newest soon.
        """
        made = self.library.leaves_wanted(wanted.blob_id, now_s) if wanted.kind == "leaves" else []
        if made or self.unable is not None or self._state() in WORKING:
            return made
        own = self.library.holdings(self._target())
        return self._from_swarm(self.passing_on.asked(wanted, own, now_s), now_s)

    def _not_for_us(self, record: Record) -> Effects:
        channel = record.key.decode(errors="replace")
        if record.kind != MANIFEST_KIND or channel == self.settings.channel or self.updater is None:
            return []
        words = (
            f"manifest {record.sequence} is of channel {channel}, this node follows {self.settings.channel}"
        )
        return [update_effects.Note("not for this node", words)]

    def _contradicted(self, pair: tuple[Record, Record]) -> Effects:
        """Keep both: they are proof, and others must see it too."""
        effects: Effects = [swarm_effects.RecordAccepted(record) for record in pair]
        if pair[0].kind in SIGNED_BY_NODES:
            words = f"a node signed two different {pair[0].kind} records of one sequence"
            return [*effects, swarm_effects.Refused("record", words, pair[0].key.hex(), Reason.DISAGREES)]
        return [*effects, update_effects.Note("equivocation", contradiction(pair[0]))]

    def _review(self, now_s: float) -> Effects:
        """Something that is believed has changed, or time has passed: tell the updater what follows."""
        effects: Effects = []
        journal = self.updater.journal if self.updater is not None else None
        for told in self._belief.review(journal, now_s + self.wall_offset_s):
            if isinstance(told, update_effects.Note):
                effects.append(told)
            else:
                effects += self._update(told, now_s)
            if isinstance(told, update_events.Offered):
                effects += self._keep_torrent_of(told.target, now_s)
        return effects

    def _counts(self) -> bool:
        return self.membership.counts

    # ------------------------------------------------------------------ status

    def _plan_status(self, now_s: float) -> None:
        self._status_plan.changed(self.updater.journal.state if self.updater is not None else None, now_s)

    def _say_status(self, now_s: float) -> Effects:
        self._status_plan.said(now_s)
        effects = self._show_certificate(now_s)
        if not self.membership.counts:
            return effects
        wall_s = now_s + self.wall_offset_s
        known = self.store.get("status", self._identity.node_id)
        after = known.sequence if known is not None else 0
        record = status_record(self._own_status(wall_s, now_s), self._identity, wall_s, after)
        return effects + self._from_swarm(self.swarm.publish(record, now_s), now_s)

    def _show_certificate(self, now_s: float) -> Effects:
        """Give the swarm what it needs to take this node for a member."""
        effects: Effects = []
        refused = ""
        for record in self.membership.to_show(self.store):
            try:
                effects += self._from_swarm(self.swarm.publish(record, now_s), now_s)
            except RefusedError as error:
                refused = str(error)
        self.membership.shown(refused)
        return effects

    def set_certificate(self, certificate: OwnCertificate | None, trouble: str, now_s: float) -> None:
        """The token on the card was looked at again."""
        self.membership.certificate = certificate
        self.membership.trouble = trouble
        self._plan_status(now_s)

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
            hardware=settings.hardware,
            slot_bytes=settings.slot_bytes,
            held_back=self._belief.standing(wall_s).held_back,
        )
