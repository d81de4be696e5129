"""Where image bytes came from, and what crossed the uplink this month: for `fruit status`, and for the quota.

Kept across restarts in the state's database; a daemon that is killed forgets what moved since the last save, `SAVE_S` at most.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from fruitd.errors import RetryError
from swarm.transfer.port import Source, by_way
from swarm.transfer.uplink_rules import Supply, UplinkRules, why_not

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

META = "bytes"
SAVE_S = 300.0
"""Longer loses more of the quota's account when the power goes; shorter wears the card."""
WAYS = ("own_disk", "lan", "wan", "relay")


class ByteAccount:
    """The account of one daemon."""

    def __init__(self, daemon: Daemon, rules: UplinkRules) -> None:
        self._daemon = daemon
        self.rules = rules
        self._kept = self._load()
        self._booked = (0, 0)
        self._saved_s = daemon.time.now_s()
        self._dirty = False

    # ------------------------------------------------------------------ what moved

    def reused(self, size_bytes: int) -> None:
        """So much of an image was on this node's own disk."""
        self._kept["own_disk"] += size_bytes
        self._dirty = True

    def fetched(self, sources: tuple[Source, ...]) -> None:
        """A fetch has ended; who gave what."""
        lan, wan = by_way(sources)
        self._kept["lan"] += lan
        self._kept["wan"] += wan
        self._dirty = True

    def relayed(self, size_bytes: int) -> None:
        """So much of an image was fetched for others."""
        self._kept["relay"] += size_bytes
        self._dirty = True

    def look(self) -> None:
        """Book what has crossed the uplink since the last look."""
        month = time.strftime("%Y-%m", time.localtime(self._daemon.time.wall_s()))
        if month != self._kept["month"]:
            self._kept |= {"month": month, "uplink_received": 0, "uplink_sent": 0}
        received, sent = self._daemon.transfer.uplink_bytes()
        if (received, sent) != self._booked:
            self._kept["uplink_received"] += received - self._booked[0]
            self._kept["uplink_sent"] += sent - self._booked[1]
            self._booked = (received, sent)
            self._dirty = True

    def why_not(self, supply: Supply) -> str | None:
        """Why images may not cross the uplink now; None where they may."""
        now = time.localtime(self._daemon.time.wall_s())
        return why_not(self.rules, supply, self._used_bytes, now.tm_hour * 60 + now.tm_min)

    async def save_when_due(self) -> None:
        """Make the account durable, now and then."""
        now_s = self._daemon.time.now_s()
        if self._dirty and now_s - self._saved_s >= SAVE_S:
            await self.save()

    async def save(self) -> None:
        """Make the account durable now."""
        self._dirty, self._saved_s = False, self._daemon.time.now_s()
        await self._daemon.on_disk(self._daemon.state.set_meta, META, json.dumps(self._kept).encode())

    def save_at_end(self) -> None:
        """The daemon ends in order."""
        self.look()
        with contextlib.suppress(RetryError):  # a full disk: what was saved last counts
            self._daemon.state.set_meta(META, json.dumps(self._kept).encode())

    # ------------------------------------------------------------------ what people see

    def as_json(self) -> dict[str, Any]:
        """Image bytes by way, those of a fetch under way included."""
        lan, wan = by_way(self._daemon.jobs.moving_sources())
        ways = {way: self._kept[way] for way in WAYS}
        return ways | {"lan": ways["lan"] + lan, "wan": ways["wan"] + wan}

    def uplink_as_json(self) -> dict[str, Any]:
        """This month's traffic over the uplink, and whether more is allowed."""
        unable = self._daemon.core.unable
        return {
            "received_bytes": self._kept["uplink_received"],
            "sent_bytes": self._kept["uplink_sent"],
            "quota_bytes": self.rules.quota_bytes or None,
            "allowed": unable is None,
            "why": unable or "",
        }

    @property
    def _used_bytes(self) -> int:
        return int(self._kept["uplink_received"] + self._kept["uplink_sent"])

    def _load(self) -> dict[str, Any]:
        fresh: dict[str, Any] = {
            "month": "",
            "uplink_received": 0,
            "uplink_sent": 0,
            **dict.fromkeys(WAYS, 0),
        }
        try:
            found = json.loads(self._daemon.state.meta(META) or b"{}")
        except ValueError:
            return fresh
        if not isinstance(found, dict) or not all(
            isinstance(found.get(k, v), type(v)) for k, v in fresh.items()
        ):
            return fresh
        return fresh | {name: found[name] for name in fresh if name in found}
