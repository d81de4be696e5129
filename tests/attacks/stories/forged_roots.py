"""Trust roots that nobody should believe, each wrong in one way."""

from __future__ import annotations

from attrs import evolve

from swarm.news.record import Record
from swarm.signing import signed
from swarm.trust.keys import SecretKey
from swarm.trust.root import Role, RoleKeys
from tests.attacks.acts import BAD, NO, NONE_VALID, OLD, ONE_VALID, SWARM, YET, Records
from tests.attacks.court import DAY_S, KEYS, NOW_S, key
from tests.attacks.stage import Stage
from tests.attacks.table import lie

TAKEOVER = {
    role: [key(f"evil-{role}-{n}") for n in range(3)] for role in ("root", "release", "freshness", "operator")
}
EVIL = TAKEOVER["root"]


def root(s: Stage, *keys: SecretKey, version: int = 3, **held: object) -> Record:
    """Root 3 in which the attacker holds everything."""
    return s.court.sign_root(s.court.next_root(version, **(held or TAKEOVER)), *keys)  # type: ignore[arg-type]


for who, keys in {
    "nobody that was trusted": (*EVIL,),
    "one root key": (KEYS[Role.ROOT][0], *EVIL),
    "one root key, twice": (KEYS[Role.ROOT][0], KEYS[Role.ROOT][0], *EVIL),
    "all operators": (*KEYS[Role.OPERATOR], *EVIL),
    "all freshness keys": (*KEYS[Role.FRESHNESS], *EVIL),
}.items():
    words = ONE_VALID if "one" in who else NONE_VALID
    lie("key compromise", f"a next root by {who}", who, words, NO)(lambda s, keys=keys: [root(s, *keys)])


@lie("key compromise", "a next root by all release keys", "all release keys", NONE_VALID, NO)
def _(s: Stage) -> Records:
    return [root(s, *s.court.keys[Role.RELEASE], *EVIL)]


@lie(
    "key compromise",
    "a next root without those who take over",
    "a quorum of root keys",
    NONE_VALID,
    NO,
    by="exchange",
)
def _(s: Stage) -> Records:
    return [root(s, *s.court.quorum(Role.ROOT))]


@lie("key compromise", "a next root that asks for one signature only", "one root key", ONE_VALID, NO)
def _(s: Stage) -> Records:
    made = s.court.next_root(3)
    easy = evolve(made, roles={**made.roles, Role.ROOT: RoleKeys(1, made.roles[Role.ROOT].keys)})
    return [s.court.sign_root(easy, s.court.keys[Role.ROOT][0])]


@lie("fast-forward", "a root far ahead", "a quorum of root keys", "waits for 3", YET)
def _(s: Stage) -> Records:
    return [root(s, *s.court.quorum(Role.ROOT), version=1000)]


@lie(
    "mix-and-match",
    "a root under another version's key",
    "a quorum of root keys",
    "not those of the record",
    BAD,
)
def _(s: Stage) -> Records:
    made = root(s, *s.court.quorum(Role.ROOT))
    return [signed(evolve(made, signatures=(), sequence=4), *s.court.quorum(Role.ROOT))]


@lie("mix-and-match", "a root of another swarm", "root keys of both swarms", "trust root is of swarm", SWARM)
def _(s: Stage) -> Records:
    return [s.court.sign_root(evolve(s.court.next_root(3), swarm="other"))]


for channel in ("push", "exchange", "reply"):
    asked = channel == "reply"  # a node does not ask for what is older
    lie("rollback", f"the root before, {channel}", "old news", "", None, by=channel)(lambda s: [s.old[0]])
    lie(
        "rollback",
        f"the manifest before, {channel}",
        "old news",
        "is older than manifest 2",
        None if asked else OLD,
        by=channel,
    )(lambda s: [s.old[1]])


@lie("rollback", "the manifest before, over the API", "the API's socket", "", None, by="local")
def _(s: Stage) -> Records:
    return [s.old[1]]


@lie("rollback", "another second root", "a quorum of rotated root keys", "has 0 valid", NO, by="exchange")
def _(s: Stage) -> Records:
    return [root(s, *EVIL, version=2)]


@lie("rollback", "another first root", "a quorum of root keys", "does not follow 2", OLD)
def _(s: Stage) -> Records:
    return [s.court.sign_root(s.court.next_root(1, expires_at_s=NOW_S + DAY_S))]
