"""Words of freshness that nobody should believe, each wrong in one way."""

from __future__ import annotations

from attrs import evolve

from simulations.world.maintainer import CHANNEL
from swarm.trust.root import Role
from swarm.trust.times import TIME_S_MAX
from tests.attacks.acts import BAD, CHAN, NO, NONE_VALID, ONE_VALID, SWARM, Records
from tests.attacks.court import DAY_S, KEYS, NOW_S
from tests.attacks.stage import Stage
from tests.attacks.table import lie

CLOCKS = KEYS[Role.FRESHNESS]


@lie("indefinite freeze", "nobody says that an old manifest is current", "old news", NONE_VALID, NO)
def _(s: Stage) -> Records:
    return [s.court.fresh(s.old[1], NOW_S + 30 * DAY_S, [])]


@lie("indefinite freeze", "release keys say what is current", "all release keys", NONE_VALID, NO)
def _(s: Stage) -> Records:
    return [s.court.fresh(s.old[1], NOW_S + 30 * DAY_S, s.court.keys[Role.RELEASE])]


for channel in ("push", "exchange", "local"):
    lie(
        "key compromise",
        f"one freshness key freezes a channel, {channel}",
        "one freshness key",
        ONE_VALID,
        NO,
        by=channel,
    )(lambda s: [s.court.fresh(s.old[1], NOW_S + 30 * DAY_S, CLOCKS[:1])])


@lie("key compromise", "one freshness key signs twice", "one freshness key", ONE_VALID, NO)
def _(s: Stage) -> Records:
    once = s.court.fresh(s.old[1], NOW_S + DAY_S, CLOCKS[:1])
    return [evolve(once, signatures=once.signatures * 2)]


@lie("key compromise", "one freshness key and one release key", "one key of each", ONE_VALID, NO)
def _(s: Stage) -> Records:
    return [s.court.fresh(s.old[1], NOW_S + DAY_S, [CLOCKS[0], s.court.keys[Role.RELEASE][0]])]


@lie("fast-forward", "time itself by one freshness key", "one freshness key", ONE_VALID, NO)
def _(s: Stage) -> Records:
    return [s.court.fresh(s.current.manifest, TIME_S_MAX, CLOCKS[:1])]


for name, family, changes, words, why in (
    ("freshness for longer than a year", "indefinite freeze", {"valid_for_s": 400 * DAY_S}, "validity", BAD),
    ("freshness of another swarm", "mix-and-match", {"swarm": "other"}, "is for swarm 'other'", SWARM),
    (
        "freshness of another channel",
        "mix-and-match",
        {"channel": "beta", "record_key": CHANNEL.encode()},
        "another channel",
        CHAN,
    ),
    ("freshness of another time", "mix-and-match", {"sequence": NOW_S + 99}, "another channel or time", CHAN),
    (
        "freshness after the end of time",
        "fast-forward",
        {"at_s": TIME_S_MAX + 1, "sequence": TIME_S_MAX + 1},
        "freshness time",
        BAD,
    ),
):
    lie(family, name, "a quorum of freshness keys", words, why)(
        lambda s, changes=changes: [s.court.fresh(s.current.manifest, **changes)]
    )
