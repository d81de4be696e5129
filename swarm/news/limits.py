"""The kinds of records that are gossiped, and how much of each a node holds."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

ROOT_KEYS_MAX = 1024
"""Trust roots of the chain that are kept: as many as a node that slept can have missed. More would be felt on a small Pi (600
bytes each); fewer would strand it sooner. Source: TUF specification 1.0.34, section 5.3, which has 2**10 as its example."""
MANIFEST_KEYS_MAX = 64
"""Channels of one swarm. More costs memory on every node (4 KiB each); fewer could push a channel out."""
STATUS_KEYS_MAX = 4096
"""Nodes whose status is remembered: at most 4 MiB of a small Pi. Beyond it, those silent longest go first."""
STATUS_LIFETIME_S = 7 * 86_400.0
"""Longer keeps the dead among the living; shorter loses nodes that are switched off over a long weekend."""
TOKEN_KEYS_MAX = 512
"""Join tokens ever made and not forgotten. Only operators can fill it: 512 batches of nodes."""
REVOKE_KEYS_MAX = 4096
"""Revocations, by operators too. Beyond it the oldest go, and what they revoked would count again."""
MEMBER_KEYS_MAX = 10_000
"""Nodes that are members. 1.2 KiB each in memory (docs/membership.md). Beyond it those who joined first go, and come
back with their next status."""
SWITCH_KEYS_MAX = 512
"""Bays that operators have given commands for lately."""
POWER_KEYS_MAX = 1024
"""Bays of all stacks: 32 full ones."""
PAUSE_KEYS_MAX = 64
"""Owners of stacks that are learning who sits where."""
POWER_LIFETIME_S = 2 * 86_400.0
"""Older readings and commands are of no use to anybody; a command expires within a day (`swarm.switching`)."""
PAUSE_LIFETIME_S = 3_600.0


@frozen
class KindLimits:
    """What the store allows for one kind of record.

    A kind with a lifetime counts its sequence in milliseconds since 1970: age needs no look into the body.
    """

    keys_max: int
    lifetime_s: float | None = None
    chain: bool = False
    stays: bool = False
    """Stays in the site it was made in: what grows with the number of nodes must not cross every uplink."""
    """Keys end in a zero byte and the sequence in four bytes, big-endian; what stands before that names the chain."""


NEWS_LIMITS: Mapping[str, KindLimits] = {
    "root": KindLimits(ROOT_KEYS_MAX, chain=True),
    "fresh": KindLimits(MANIFEST_KEYS_MAX),
    "manifest": KindLimits(MANIFEST_KEYS_MAX),
    "token": KindLimits(TOKEN_KEYS_MAX),
    "revoke": KindLimits(REVOKE_KEYS_MAX),
    "member": KindLimits(MEMBER_KEYS_MAX),
    "status": KindLimits(STATUS_KEYS_MAX, STATUS_LIFETIME_S, stays=True),
    "switch": KindLimits(SWITCH_KEYS_MAX, POWER_LIFETIME_S),
    "health": KindLimits(STATUS_KEYS_MAX, POWER_LIFETIME_S),
    "power": KindLimits(POWER_KEYS_MAX, POWER_LIFETIME_S),
    "pause": KindLimits(PAUSE_KEYS_MAX, PAUSE_LIFETIME_S),
}
"""The kinds that are gossiped today, in the order in which two stores give them to each other: what others are judged by
goes first."""
