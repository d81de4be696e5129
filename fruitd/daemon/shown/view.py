"""The node as its operator sees it: answers the API from what the daemon and its core know (docs/api.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fruitd.daemon.moving.publishing import take_release
from fruitd.daemon.power.stack_view import health_rows, learn, no_bus, stacks_of
from fruitd.daemon.reloading import reload, swarm_key_ids
from fruitd.daemon.shown import trust_checks
from fruitd.daemon.shown.doctor import examine
from fruitd.daemon.shown.fellows import node_rows, own_membership, roll_of, stranger_rows
from fruitd.daemon.shown.held_records import held_records, take_record
from fruitd.daemon.shown.other_sites import other_sites
from fruitd.errors import RefusedError, UsageError
from fruitd.updater import events as update_events
from fruitd.updater.effects import Note
from fruitd.updater.journal import SLOTS, Journal, SlotContent, State
from swarm.power import Place
from swarm.transfer.port import Source

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

Json = dict[str, Any]
SCHEMA = 1


class View:
    """Implements `fruitd.api.port.NodeView` on a running daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    # ------------------------------------------------------------------ reading

    async def status(self) -> Json:
        """See docs/api.md, status."""
        daemon, config = self._daemon, self._daemon.config
        peers = daemon.core.swarm.peers()
        return {
            "schema": SCHEMA,
            "node": {
                "id": daemon.identity.node_id.hex(),
                "name": config.node.name,
                "site": daemon.core.settings.site,
                "software": daemon.software,
                "uptime_s": round(daemon.time.now_s() - daemon.began_s, 1),
            },
            "trust": {
                **trust_checks.as_json(daemon),
                "swarm_keys": swarm_key_ids(daemon.core.swarm.keyring),
            },
            "membership": own_membership(daemon),
            "slots": self._slots(),
            "update": self._update(),
            "last_update": daemon.last_update.as_json(),
            "seeding": self._seeding(),
            "peers": {
                "known": len(peers),
                "heard": sum(1 for peer in peers if peer.heard_s > float("-inf")),
                "same_site": sum(1 for peer in peers if peer.same_site),
            },
            "dht": daemon.dht.as_json(),
            "site": self._site(),
            "bytes": daemon.bytes.as_json(),
            "uplink": daemon.bytes.uplink_as_json(),
            "traffic": {
                "sent_bytes": daemon.shell.traffic.sent_bytes,
                "received_bytes": daemon.shell.traffic.received_bytes,
                "passed_on_bytes": daemon.core.passing_on.given_bytes,
            },
            "quarantined": [
                {
                    "release": q.release,
                    "version": q.version,
                    "infohash": q.infohash,
                    "why": q.why,
                    "at_s": q.at_s,
                }
                for q in (self._journal.quarantined if self._journal else ())
            ],
            "refusals": daemon.state.refusals(),
            "time": {
                "now_s": round(daemon.time.wall_s(), 3),
                "floor_s": round(daemon.time.floor_s, 3),
                "clock_ok": daemon.time.clock_ok,
            },
        }

    async def nodes(self) -> Json:
        """See docs/api.md, nodes."""
        rows, others = node_rows(self._daemon), stranger_rows(self._daemon)
        healths = health_rows(self._daemon)
        for row in rows:
            row["power"] = healths.get(row["id"])
        return {"schema": SCHEMA, "nodes": rows, "others": others, "sites": other_sites(self._daemon)}

    async def members(self) -> Json:
        """See docs/api.md, members."""
        return {"schema": SCHEMA, **roll_of(self._daemon)}

    async def history(self, limit: int) -> Json:
        """See docs/api.md, history."""
        return {"schema": SCHEMA, "events": self._daemon.state.history(limit)}

    async def doctor(self) -> Json:
        """See docs/api.md, doctor."""
        checks = await examine(self._daemon)
        return {
            "schema": SCHEMA,
            "ok": all(check["ok"] for check in checks),
            "checks": checks,
            "refusals": self._daemon.state.refusals(),
        }

    async def stack(self) -> Json:
        """See docs/api.md, stack."""
        return {"schema": SCHEMA, **stacks_of(self._daemon)}

    async def stack_history(self, hours: int, place: Place | None, points: int) -> Json:
        """See docs/api.md, history of a stack."""
        bus = self._daemon.stack_bus
        if bus is None:
            raise no_bus(self._daemon)
        return {"schema": SCHEMA, **await bus.figures.history(hours, place, points)}

    async def records(self, kind: str) -> Json:
        """See docs/api.md, records."""
        return {"schema": SCHEMA, "records": await held_records(self._daemon, kind)}

    async def wait_change(self, seen: int) -> int:
        """See `NodeView.wait_change`."""
        return await self._daemon.changes.wait(seen)

    # ------------------------------------------------------------------ acting

    async def hold(self, why: str) -> None:
        """See `NodeView.hold`."""
        self._require_slots()
        await self._daemon.tell_updater(update_events.Hold(why))

    async def resume(self) -> None:
        """See `NodeView.resume`."""
        self._require_slots()
        await self._daemon.tell_updater(update_events.Resume())

    async def reload(self) -> Json:
        """See `NodeView.reload`."""
        return {"schema": SCHEMA, **await reload(self._daemon)}

    async def map_stack(self, node_ids: list[bytes]) -> Json:
        """See `NodeView.map_stack`."""
        return {"schema": SCHEMA, **learn(self._daemon, node_ids)}

    async def rollback(self, why: str) -> None:
        """See `NodeView.rollback`."""
        journal = self._require_slots()
        before = journal.state
        effects = await self._daemon.tell_updater(update_events.Rollback(why))
        after = self._require_slots()
        if before not in (State.TRIAL,) and not after.rollback:
            notes = [effect.why for effect in effects if isinstance(effect, Note)]
            raise RefusedError(f"no rollback: {notes[-1] if notes else after.why}")

    async def lift(self, release: int, why: str) -> None:
        """See `NodeView.lift`."""
        self._require_slots()
        effects = await self._daemon.tell_updater(update_events.Lift(release, why))
        refused = [
            effect.why for effect in effects if isinstance(effect, Note) and effect.what == "lift refused"
        ]
        if refused:
            raise RefusedError(refused[0])

    async def publish(
        self, manifest: bytes, torrent: bytes, image: str, parcels: Sequence[tuple[bytes, str]] = ()
    ) -> Json:
        """See `NodeView.publish`."""
        return await take_release(self._daemon, manifest, torrent, image, parcels)

    async def take_record(self, record: bytes) -> Json:
        """See `NodeView.take_record`."""
        return {"schema": SCHEMA, **await take_record(self._daemon, record)}

    # ------------------------------------------------------------------ parts of the status

    @property
    def _journal(self) -> Journal | None:
        updater = self._daemon.core.updater
        return updater.journal if updater is not None else None

    def _require_slots(self) -> Journal:
        if self._journal is None:
            raise UsageError("this node has no slots: there is nothing here to hold or roll back")
        return self._journal

    def _site(self) -> Json:
        """Who is here, and who speaks to the outside."""
        core, now_s = self._daemon.core, self._daemon.time.now_s()
        target = self._journal.target if self._journal is not None else None
        infohash = bytes.fromhex(target.infohash) if target is not None else None
        gateway = core.swarm.gateway(infohash, now_s) if infohash is not None else None
        names = {peer.node_id: peer.name for peer in core.swarm.mates()}
        names[self._daemon.identity.node_id] = self._daemon.config.node.name
        return {
            "name": core.settings.site,
            "mates": len(core.swarm.mates()),
            "speaks": core.swarm.speaks(),
            "gateway": {"id": gateway.hex(), "name": names.get(gateway, "")} if gateway else None,
            "out": str(core.out) if core.out is not None else None,
            "left_lan": {str(reason): count for reason, count in sorted(core.left_lan.items())},
        }

    def _slots(self) -> Json:
        config, journal = self._daemon.config, self._journal
        if config.slots is None or journal is None:
            return {"active": None}
        paths = {"a": config.slots.a, "b": config.slots.b}
        return {
            "active": self._daemon.boot_facts.active if self._daemon.boot_facts else None,
            **{slot: _slot(str(paths[slot]), journal, journal.slots.get(slot)) for slot in SLOTS},
        }

    def _update(self) -> Json:
        journal, daemon = self._journal, self._daemon
        if journal is None or daemon.core.updater is None:
            return {
                "state": "relay", "why": "has no slots: relays news and seeds", "since_s": daemon.began_s,
                "release": None, "version": None, "attempts": 0, "held": None, "retry_at_s": None,
                "progress": None, "sources": [], "energy": None,
            }  # fmt: skip
        target = journal.target
        return {
            "state": str(journal.state),
            "why": daemon.core.updater.describe().removeprefix(f"{journal.state}: "),
            "since_s": journal.since_s,
            "release": target.release if target else None,
            "version": target.version if target else None,
            "attempts": journal.attempts,
            "held": journal.held_why,
            "retry_at_s": journal.retry_at_s if journal.state is State.WAITING else None,
            "progress": daemon.jobs.progress(target) if target else None,
            "sources": self.sources(daemon.jobs.sources(target)) if target else [],
            "energy": daemon.last_update.energy(),
        }

    def sources(self, sources: tuple[Source, ...]) -> list[Json]:
        """Who gave what, with the names nodes give themselves."""
        names = {peer.node_id: peer.name for peer in self._daemon.core.swarm.peers()}
        return [
            {
                "node": source.node_id.hex(),
                "name": names.get(source.node_id, str(source.address)),
                "same_site": source.same_site,
                "bytes": source.received_bytes,
                "rate_bytes_per_s": round(source.rate_bytes_per_s),
            }
            for source in sorted(sources, key=lambda s: -s.received_bytes)
        ]

    def _seeding(self) -> list[Json]:
        rows = []
        parcels = {share.infohash for share in self._daemon.core.library.shares() if share.parcel}
        for infohash, path in self._daemon.jobs.seeding.items():
            progress = self._daemon.transfer.progress(bytes.fromhex(infohash))
            rows.append(
                {
                    "infohash": infohash,
                    "release": self._release_of(infohash),
                    "parcel": infohash in parcels,
                    "path": path,
                    "sent_bytes": progress.sent_bytes if progress else 0,
                    "peers": progress.peers if progress else 0,
                }
            )
        return rows

    def _release_of(self, infohash: str) -> int | None:
        manifest = self._daemon.core.manifest()
        rows = manifest[1].releases if manifest else ()
        known = [(r.infohash.hex(), r.release) for r in rows]
        known += [(parcel.infohash.hex(), r.release) for r in rows for parcel in r.parcels]
        if self._journal is not None:
            known += [(c.target.infohash, c.target.release) for c in self._journal.slots.values() if c]
        return dict(known).get(infohash)


def _slot(path: str, journal: Journal, content: SlotContent | None) -> Json:
    if content is None:
        return {"path": path, "release": None, "version": None, "infohash": None, "content": "unknown"}
    return {
        "path": path,
        "release": content.target.release,
        "version": content.target.version,
        "infohash": content.target.infohash,
        "content": _standing(journal, content),
    }


def _standing(journal: Journal, content: SlotContent) -> str:
    if journal.quarantine_of(content.target.infohash) is not None:
        return "quarantined"
    return "committed" if content.committed else "verified"
