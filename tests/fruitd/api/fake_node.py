"""A model of a node behind the API: it holds, resumes, rolls back, installs and publishes as a node does, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from fruitd.api.changes import Changes
from fruitd.errors import RefusedError, UsageError
from swarm.errors import RefusedError as SwarmRefusedError
from swarm.news.record import Record
from swarm.power import Place
from swarm.trust.keys import key_id

IMAGE_BYTES = 560 * 1024 * 1024
NOW_S = 1_800_000_000.0

MEMBER: dict[str, Any] = {
    "token": "berlin-batch-1",
    "token_id": "7a" * 16,
    "site": "berlin-2",
    "labels": {"rack": "3"},
    "since_s": 1_799_000_000,
    "counts": True,
}
POWER = {
    "heartbeat": "beating", "well": True, "why": "", "undervoltage": False, "undervoltage_since_boot": False,
    "throttled": False, "throttled_since_boot": False, "celsius": 48.3, "in_stack": "rack-1", "bay": "3:1",
}  # fmt: skip

ENERGY = {"energy_j": 412.3, "measured_s": 95.0, "above_idle_j": 120.4, "measured_share": 0.94}


def stranger(name: str) -> dict[str, Any]:
    """A peer that is no member."""
    node_id = hashlib.sha256(name.encode()).hexdigest()[:40]
    return {"id": node_id, "name": name, "site": "", "address": "10.0.0.9:47101", "heard_s_ago": 3.0}


class FakeNode:
    """Starts with release 1 committed in slot a, and nothing known of b."""

    def __init__(self, name: str = "fruit-03", *, in_b: int | None = None) -> None:
        self.name = name
        self.node_id = hashlib.sha256(name.encode()).hexdigest()[:40]
        self.changes = Changes()
        self.now_s = NOW_S
        self.held: str | None = None
        self.active = "a"
        self.slots: dict[str, int | None] = {"a": 1, "b": in_b}
        self.fetching: int | None = None
        self.have = 0
        self.reused = 0
        self.events: list[dict[str, Any]] = []
        self.quarantined: list[dict[str, Any]] = []
        self.published: list[tuple[bytes, bytes, str]] = []
        self.peers: list[tuple[str, str]] = [("fruit-04", "berlin-2"), ("fruit-11", "lisbon")]
        self.refusals: list[dict[str, Any]] = []
        self.breaks = False
        self.held_back: str | None = None
        self.records_held: list[dict[str, Any]] = []
        self.reloads = 0
        self.asked_history: list[tuple[int, Place | None, int]] = []
        self.others: list[dict[str, Any]] = []
        self.measured = True
        """Its bay is, by a board."""

    def offer(self, release: int, *, reused: int) -> None:
        """A release is there; some of it is on the disk already."""
        self.fetching, self.reused, self.have = release, reused, reused
        self._note("fetching", "two peers hold it, one of them at this site", release)

    def receive(self, amount: int) -> None:
        """Bytes come from peers; the last of them completes the install."""
        self.have = min(IMAGE_BYTES, self.have + amount)
        self.now_s += 1
        if self.have == IMAGE_BYTES:
            self.active = "b" if self.active == "a" else "a"
            self.slots[self.active], self.fetching = self.fetching, None
            self._note("committed", "healthy for 300 s", self.slots[self.active])
        self.changes.bump()

    async def status(self) -> dict[str, Any]:
        if self.breaks:
            raise ZeroDivisionError("a fault of ours")
        return {
            "schema": 1,
            "node": {
                "id": self.node_id,
                "name": self.name,
                "site": "berlin-2",
                "software": "fruitd 0.1.0",
                "uptime_s": 11_523.0,
            },
            "trust": {
                "swarm": "fruit",
                "root_version": 1,
                "root_expires_at_s": 1_894_600_000,
                "root_expired": False,
                "channel": "stable",
                "manifest_sequence": 17,
                "current_at_s": int(NOW_S) - 10_000,
                "current_until_s": int(NOW_S) + 594_800,
                "behind": None,
                "disputed": None,
                "held_back": self.held_back,
                "swarm_keys": ["1a2b3c4d"],
            },
            "membership": {"needed": True, "member": MEMBER, "why": ""},
            "slots": {"active": self.active, "a": self._slot("a"), "b": self._slot("b")},
            "update": self._update(),
            "last_update": None if self.fetching or self.slots["b"] is None else self._last_update(),
            "seeding": [
                {
                    "infohash": "ab" * 32,
                    "release": 1,
                    "path": "/dev/mmcblk0p2",
                    "parcel": False,
                    "sent_bytes": 10**8,
                    "peers": 2,
                }
            ],
            "peers": {"known": 19, "heard": 18, "same_site": 6},
            "dht": {
                "state": "awake",
                "contacts": 31,
                "open": True,
                "reach": "open: peers see this node's own address",
                "newest": {"sequence": 7, "why": "7 is the newest", "asked": 15, "answered": 11},
            },
            "site": {
                "name": "berlin-2",
                "mates": 6,
                "speaks": False,
                "gateway": {"id": "5c" * 20, "name": "fruit-04"},
                "out": None,
                "left_lan": {"gateway": 2, "stalled": 1},
            },
            "bytes": {"own_disk": 419_430_400, "lan": 57_671_680, "wan": 5_242_880, "relay": 0},
            "uplink": {
                "received_bytes": 5_242_880,
                "sent_bytes": 1_048_576,
                "quota_bytes": None,
                "allowed": True,
                "why": "",
            },
            "traffic": {"sent_bytes": 1_300_000, "received_bytes": 45_000_000, "passed_on_bytes": 0},
            "quarantined": self.quarantined,
            "refusals": self.refusals,
            "time": {"now_s": self.now_s, "floor_s": NOW_S - 1000, "clock_ok": True},
        }

    async def nodes(self) -> dict[str, Any]:
        rows = [self._row(self.name, "berlin-2", self.slots[self.active], self_=True)]
        rows += [self._row(name, site, 2, self_=False) for name, site in self.peers]
        sites = [{"site": "hamburg-1", "members": 24, "known": 2, "heard_s_ago": 12.5, "release": 2}]
        return {"schema": 1, "nodes": rows, "others": self.others, "sites": sites}

    async def history(self, limit: int) -> dict[str, Any]:
        return {"schema": 1, "events": self.events[-limit:]}

    async def doctor(self) -> dict[str, Any]:
        alone = not self.peers
        checks = [
            {"name": "slots", "ok": True, "found": "a and b are there, 1.0 GiB each", "do": ""},
            {
                "name": "peers",
                "ok": not alone,
                "found": "no peer was heard in 10 minutes" if alone else "18 heard, 6 at this site",
                "do": "check the cable, [swarm] contacts, and that UDP 47101 is open" if alone else "",
            },
        ]
        return {"schema": 1, "ok": not alone, "checks": checks, "refusals": self.refusals}

    async def hold(self, why: str) -> None:
        self.held = why
        self._note("held", why, None)
        self.changes.bump()

    async def resume(self) -> None:
        self.held = None
        self.changes.bump()

    async def lift(self, release: int, why: str) -> None:
        if all(row["release"] != release for row in self.quarantined):
            raise RefusedError(f"release {release} is not quarantined on this node")
        self.quarantined = [row for row in self.quarantined if row["release"] != release]
        self._note("quarantine lifted", why, release)
        self.changes.bump()

    async def rollback(self, why: str) -> None:
        other = "b" if self.active == "a" else "a"
        if self.slots[other] is None:
            raise RefusedError(f"slot {other} holds nothing that ever ran well; nothing to go back to")
        release = self.slots[self.active]
        self.quarantined.append(
            {
                "release": release,
                "version": f"2026.{release}",
                "infohash": "cd" * 32,
                "why": why,
                "at_s": self.now_s,
            }
        )
        self.active = other
        self._note("rolled back", why, release)
        self.changes.bump()

    async def reload(self) -> dict[str, Any]:
        self.reloads += 1
        membership = {"needed": True, "member": MEMBER, "why": ""}
        return {"schema": 1, "swarm_keys": ["1a2b3c4d"], "membership": membership}

    async def stack(self) -> dict[str, Any]:
        def figure(value: float) -> dict[str, Any]:
            return {"value": value, "quality": "good"}

        bay = {
            "bay": "3:1", "node": "4c" * 20, "name": "fruit-04", "known_by": "learned", "powered": True, "heartbeat": True,
            "silent_s": 0, "bay_v": figure(5.04), "bay_a": figure(0.36), "bay_w": figure(1.81), "release": 2,
            "version": "2026.2", "state": "committed", "doing": "", "why": "", "supply": "", "turn": False, "command": 0,
            "energy_j": 91234, "last_update_j": 412, "last_update_s": 95, "age_s": 3.2,
        }  # fmt: skip
        board = {
            "address": 3, "present": True, "input_v": figure(11.94), "input_a": figure(0.41), "input_w": figure(4.87),
            "bays": [bay],
        }  # fmt: skip
        rack = {
            "name": "rack-1",
            "owner": self.node_id,
            "owner_name": self.name,
            "self": True,
            "boards": [board],
        }
        own = {"stack": "rack-1", "owns": True, "trouble": "", "bus_waits": None, "held_back": None, **POWER}
        events = [{"at_s": 1_800_000_000, "why": "bay 3:1 (fruit-04): silent for 184 s, power cycle 1 of 3"}]
        return {"schema": 1, "own": own, "stacks": [rack], "events": events, "learning": None}

    async def stack_history(self, hours: int, place: Place | None, points: int) -> dict[str, Any]:
        self.asked_history.append((hours, place, points))
        figures = {
            "watched_s": 3600.0, "measured_s": 3600.0, "energy_j": 6516.2, "watts_mean": 1.81, "watts_max": 2.64,
            "volts_mean": 5.042, "volts_min": 4.981, "amperes_mean": 0.359, "powered_share": 1.0, "beat_share": 1.0,
        }  # fmt: skip
        bay = {"bay": str(place or Place(3, 1)), "node": "4c" * 20, "name": "fruit-04", **figures}
        since_s, until_s = NOW_S - 3600 * hours, NOW_S
        return {
            "schema": 1, "stack": "rack-1", "owns": True, "trouble": "", "since_s": int(since_s), "until_s": int(until_s),
            "span_s": 3600, "bays": [{**bay, "points": [{"at_s": int(since_s), **figures}]}],
        }  # fmt: skip

    async def map_stack(self, node_ids: list[bytes]) -> dict[str, Any]:
        return {"schema": 1, "stack": "rack-1", "waiting": [node_id.hex() for node_id in node_ids]}

    async def members(self) -> dict[str, Any]:
        joined = {"id": self.node_id, "name": self.name, "since_s": MEMBER["since_s"], "counts": True}
        token = {
            "id": MEMBER["token_id"],
            "name": MEMBER["token"],
            "site": "berlin-2",
            "labels": {"rack": "3"},
            "expires_at_s": 1_807_776_000,
            "nodes_max": 40,
            "revoked": None,
            "members": [joined],
        }
        revoked = [{"id": "5c" * 20, "of": "node", "reason": "stolen", "kept": ["5c" * 20]}]
        return {"schema": 1, "closed": True, "tokens": [token], "revoked": revoked}

    async def publish(
        self, manifest: bytes, torrent: bytes, image: str, parcels: Sequence[tuple[bytes, str]] = ()
    ) -> dict[str, Any]:
        if not torrent.startswith(b"d"):
            raise UsageError("the torrent is not bencoding")
        self.published.append((manifest, torrent, image))
        return {"release": 2, "version": "2026.2", "infohash": hashlib.sha256(torrent).hexdigest()}

    async def records(self, kind: str) -> dict[str, Any]:
        if kind not in ("manifest", "status"):
            raise UsageError(f"there are no records of kind {kind!r}")
        return {"schema": 1, "records": [row for row in self.records_held if row["kind"] == kind]}

    async def take_record(self, record: bytes) -> dict[str, Any]:
        try:
            given = Record.decode(record)
        except SwarmRefusedError as error:
            raise UsageError(str(error)) from error
        if not given.signatures:
            raise RefusedError(f"{given.kind} has 0 valid signatures, it needs 1")
        named: dict[str, Any] = {"kind": given.kind, "key": given.key.hex(), "sequence": given.sequence}
        named["content_hash"] = given.content_hash.hex()
        signed_by = [key_id(signature.public_key) for signature in given.signatures]
        row = {**named, "record": record.hex(), "signed_by": signed_by, "disputed": False}
        outcome = "known" if row in self.records_held else "accepted"
        self.records_held.append(row)
        return {"schema": 1, "outcome": outcome, **named}

    async def wait_change(self, seen: int) -> int:
        return await self.changes.wait(seen)

    def _note(self, what: str, why: str, release: int | None) -> None:
        version = f"2026.{release}" if release else None
        self.events.append(
            {"at_s": self.now_s, "what": what, "why": why, "release": release, "version": version}
        )

    def _slot(self, slot: str) -> dict[str, Any]:
        release = self.slots[slot]
        known = release is not None
        return {
            "path": f"/dev/mmcblk0p{2 if slot == 'a' else 3}",
            "release": release,
            "version": f"2026.{release}" if known else None,
            "infohash": f"{release:02x}" * 32 if release is not None else None,
            "content": "committed" if known else "unknown",
        }

    def _update(self) -> dict[str, Any]:
        fetched = self.have - self.reused
        doing: dict[str, Any] = {
            "state": "fetching" if self.fetching else "idle",
            "why": "two peers hold it, one of them at this site"
            if self.fetching
            else "release 1 is the newest",
            "since_s": NOW_S - 12,
            "release": self.fetching,
            "version": f"2026.{self.fetching}" if self.fetching else None,
            "attempts": 0,
            "held": self.held,
            "retry_at_s": None,
            "progress": None,
            "sources": [],
            "energy": ENERGY | {"above_idle_j": None} if self.fetching and self.measured else None,
        }
        if self.fetching:
            doing["progress"] = {
                "image_bytes": IMAGE_BYTES,
                "reused_bytes": self.reused,
                "have_bytes": self.have,
                "fetched_bytes": fetched,
                "by_origin": _by_origin(self.reused, fetched),
                "wasted_bytes": 0,
                "rate_bytes_per_s": 12_900_000.0,
                "eta_s": (IMAGE_BYTES - self.have) / 12_900_000.0,
                "step_done": self.have / IMAGE_BYTES,
            }
            doing["sources"] = [
                {
                    "node": hashlib.sha256(name.encode()).hexdigest()[:40],
                    "name": name,
                    "same_site": site == "berlin-2",
                    "bytes": fetched * (3 if site == "berlin-2" else 1) // 4,
                    "rate_bytes_per_s": 9_000_000.0 if site == "berlin-2" else 3_900_000.0,
                }
                for name, site in self.peers
            ]
        return doing

    def _last_update(self) -> dict[str, Any]:
        return {
            "release": self.slots["b"],
            "version": f"2026.{self.slots['b']}",
            "reused_bytes": IMAGE_BYTES - 60_000_000,
            "fetched_bytes": 60_000_000,
            "by_origin": _by_origin(IMAGE_BYTES - 60_000_000, 60_000_000),
            "written_bytes": IMAGE_BYTES + 4096,
            "image_bytes": IMAGE_BYTES,
            "sources": [{"node": "00" * 20, "name": "fruit-04", "same_site": True, "bytes": 45_000_000}],
            "began_at_s": NOW_S - 161,
            "took_s": 61.0,
            "energy": ENERGY if self.measured else None,
        }

    def _row(self, name: str, site: str, release: int | None, *, self_: bool) -> dict[str, Any]:
        return {
            "id": hashlib.sha256(name.encode()).hexdigest()[:40],
            "name": name,
            "site": site,
            "release": release,
            "version": f"2026.{release}" if release is not None else None,
            "state": "idle" if not self.fetching or not self_ else "fetching",
            "why": "up to date" if not self_ else "fetching blocks from two peers",
            "heard_s_ago": 0.0 if self_ else 7.5,
            "quarantined": [],
            "hardware": ["brcm,bcm2711", "raspberrypi,4-model-b"],
            "slot_bytes": 2**31,
            "member": MEMBER,
            "self": self_,
            "power": POWER,
        }


def _by_origin(own_disk: int, image: int) -> dict[str, int]:
    return {
        "own_disk_bytes": own_disk,
        "made_bytes": 0,
        "parcel_bytes": 0,
        "image_bytes": image,
        "healed_bytes": 0,
    }
