"""Makes a node's power part from its configuration and what it kept."""

from __future__ import annotations

import random

from fruitd.config.tables import Config
from fruitd.node.surroundings import surroundings_of
from fruitd.power.part import PowerPart
from fruitd.power.settings import PowerSettings, RecoveryLimits
from swarm.core import SwarmCore
from swarm.news.store import RecordStore
from swarm.trust.trusted_set import TrustedSet

POWER_META = "power"
"""Name under which the state keeps what the owner of a bus must remember."""
ENERGY_META = "energy of updates"
"""And what updates that go on have drawn so far."""


def power_part(
    config: Config,
    node_id: bytes,
    lines: str,
    kept: bytes | None,
    energy_kept: bytes | None,
    swarm: SwarmCore,
    store: RecordStore,
    trusted: TrustedSet,
    now_s: float,
) -> PowerPart:
    """The part. `lines`: where the heartbeat goes, "none" for nowhere; `kept`, `energy_kept`: what the state kept."""
    around = surroundings_of(swarm, store, trusted)
    settings = power_settings(config, beats=lines != "none")
    return PowerPart(settings, node_id, store, around, random.SystemRandom(), now_s, kept, energy_kept)


def power_settings(config: Config, *, beats: bool) -> PowerSettings:
    """What the configuration says."""
    stack, recovery = config.stack, config.recovery
    limits = RecoveryLimits(
        silent_s=recovery.silent_s,
        tries_max=recovery.tries_max,
        cool_down_s=recovery.cool_down_s,
        boot_s=recovery.boot_s,
        off_s=recovery.off_s,
        off_wait_s=recovery.off_wait_s,
    )
    return PowerSettings(
        stack=stack.name,
        place=stack.bay,
        beats=beats,
        has_port=bool(stack.port),
        owners=frozenset(stack.owners),
        bays=dict(stack.bays),
        recovery=limits if recovery.power_cycle else None,
        input_v_min=stack.input_v_min,
        pause_s=stack.pause_s,
        turn_wait_s=stack.turn_wait_s,
        quiet_s=max(PowerSettings().quiet_s, 2 * stack.sweep_s),
    )
