"""The node as its operator sees it: answers the API from what the daemon and its core know (docs/api.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fruitd.daemon.doctor import examine
from fruitd.daemon.publishing import take_release
from fruitd.errors import RefusedError, UsageError
from fruitd.updater import events as update_events
from fruitd.updater.effects import Note
from fruitd.updater.journal import SLOTS, Journal, SlotContent, State
from swarm.status import NodeStatus
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
        manifest = daemon.core.manifest()
        peers = daemon.core.swarm.peers()
        return {
            "schema": SCHEMA,
            "node": {
                "id": daemon.identity.node_id.hex(),
                "name": config.node.name,
                "site": config.node.site,
                "software": daemon.software,
                "uptime_s": round(daemon.time.now_s() - daemon.began_s, 1),
            },
            "trust": {
                "swarm": daemon.trusted.root.swarm,
                "root_version": daemon.trusted.root.version,
                "channel": config.node.channel,
                "manifest_sequence": manifest[0].sequence if manifest else None,
            },
            "slots": self._slots(),
            "update": self._update(),
            "last_update": daemon.last_update.as_json(),
            "seeding": self._seeding(),
            "peers": {
                "known": len(peers),
                "heard": sum(1 for peer in peers if peer.heard_s > float("-inf")),
                "same_site": sum(1 for peer in peers if peer.same_site),
            },
            "traffic": {
                "sent_bytes": daemon.shell.traffic.sent_bytes,
                "received_bytes": daemon.shell.traffic.received_bytes,
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
        daemon = self._daemon
        heard = {peer.node_id: peer.heard_s for peer in daemon.core.swarm.peers()}
        now_s = daemon.time.now_s()
        rows = []
        for entry in daemon.core.store.entries("status"):
            if entry.record is None:
                continue
            node_id, said = entry.record.key, NodeStatus.decode(entry.record.body)
            own = node_id == daemon.identity.node_id
            heard_s = now_s if own else heard.get(node_id)
            rows.append(
                {
                    "id": node_id.hex(),
                    "name": said.name,
                    "site": said.site,
                    "release": said.release or None,
                    "version": said.version or None,
                    "state": said.state,
                    "why": said.why,
                    "heard_s_ago": None if heard_s is None else round(now_s - heard_s, 1),
                    "quarantined": [q.release for q in said.quarantined],
                    "self": own,
                }
            )
        rows.sort(key=lambda row: (str(row["site"]), str(row["name"]), str(row["id"])))
        return {"schema": SCHEMA, "nodes": rows}

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

    async def rollback(self, why: str) -> None:
        """See `NodeView.rollback`."""
        journal = self._require_slots()
        before = journal.state
        effects = await self._daemon.tell_updater(update_events.Rollback(why))
        after = self._require_slots()
        if before not in (State.TRIAL,) and not after.rollback:
            notes = [effect.why for effect in effects if isinstance(effect, Note)]
            raise RefusedError(f"no rollback: {notes[-1] if notes else after.why}")

    async def publish(self, manifest: bytes, torrent: bytes, image: str) -> Json:
        """See `NodeView.publish`."""
        return await take_release(self._daemon, manifest, torrent, image)

    # ------------------------------------------------------------------ parts of the status

    @property
    def _journal(self) -> Journal | None:
        updater = self._daemon.core.updater
        return updater.journal if updater is not None else None

    def _require_slots(self) -> Journal:
        if self._journal is None:
            raise UsageError("this node has no slots: there is nothing here to hold or roll back")
        return self._journal

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
                "progress": None, "sources": [],
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
        for infohash, path in self._daemon.jobs.seeding.items():
            progress = self._daemon.transfer.progress(bytes.fromhex(infohash))
            rows.append(
                {
                    "infohash": infohash,
                    "release": self._release_of(infohash),
                    "path": path,
                    "sent_bytes": progress.sent_bytes if progress else 0,
                    "peers": progress.peers if progress else 0,
                }
            )
        return rows

    def _release_of(self, infohash: str) -> int | None:
        manifest = self._daemon.core.manifest()
        known = [(r.infohash.hex(), r.release) for r in manifest[1].releases] if manifest else []
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
