"""Manifests that nobody should believe, each wrong in one way."""

from __future__ import annotations

from attrs import evolve

from swarm.errors import Reason
from swarm.news.record import SEQUENCE_MAX, Record, Signature
from swarm.signing import signed
from swarm.trust.root import Role
from swarm.trust.times import TIME_S_MAX
from tests.attacks.acts import BAD, CHAN, MIX, NO, NONE_VALID, ONE_VALID, ROLE, SWARM, Records, evil, evil_row
from tests.attacks.court import KEYS, MALLORY, key
from tests.attacks.stage import Stage
from tests.attacks.table import lie

for channel in ("push", "exchange", "reply", "local"):
    lie(
        "arbitrary installation",
        f"an unsigned manifest, {channel}",
        "the swarm key",
        NONE_VALID,
        NO,
        by=channel,
    )(lambda s: [evil(s)])
    lie(
        "key compromise",
        f"a manifest by one release key, {channel}",
        "one release key",
        ONE_VALID,
        NO,
        by=channel,
    )(lambda s: [evil(s, s.court.keys[Role.RELEASE][0])])

for who, keys in {
    "strangers": (MALLORY, key("mallory-2"), key("mallory-3")),
    "all root keys": KEYS[Role.ROOT],
    "all freshness keys": KEYS[Role.FRESHNESS],
    "all operators": KEYS[Role.OPERATOR],
}.items():
    lie("arbitrary installation", f"a manifest by {who}", who, NONE_VALID, NO)(
        lambda s, keys=keys: [evil(s, *keys)]
    )


@lie("arbitrary installation", "a manifest by a node", "a member's identity", NONE_VALID, NO)
def _(s: Stage) -> Records:
    return [evil(s, s.publisher.plan.identity, s.villain.identity)]


@lie(
    "arbitrary installation",
    "the signatures of a good manifest under another body",
    "old news",
    NONE_VALID,
    NO,
)
def _(s: Stage) -> Records:
    return [evolve(evil(s), signatures=s.current.manifest.signatures)]


@lie("arbitrary installation", "a good manifest renumbered", "old news", NONE_VALID, NO)
def _(s: Stage) -> Records:
    return [evolve(s.current.manifest, sequence=s.sequence + 1)]


@lie(
    "arbitrary installation",
    "signatures of zero bytes in the names of release keys",
    "public keys",
    NONE_VALID,
    NO,
)
def _(s: Stage) -> Records:
    blank = tuple(Signature(k.public.raw, bytes(64)) for k in s.court.keys[Role.RELEASE])
    return [evolve(evil(s), signatures=blank)]


@lie("arbitrary installation", "signatures exchanged between two keys", "old news", NONE_VALID, NO)
def _(s: Stage) -> Records:
    one, two = evil(s, *s.court.quorum(Role.RELEASE)).signatures
    return [
        evolve(
            evil(s),
            signatures=(Signature(one.public_key, two.signature), Signature(two.public_key, one.signature)),
        )
    ]


@lie(
    "arbitrary installation",
    "keys of small order, whose signatures fit everything",
    "nothing",
    NONE_VALID,
    NO,
)
def _(s: Stage) -> Records:
    weak = (Signature(b"\1" + bytes(31), b"\1" + bytes(63)), Signature(bytes(32), bytes(64)))
    return [evolve(evil(s), signatures=weak)]


@lie(
    "arbitrary installation",
    "a torrent signer without a role",
    "a mistake of maintainers",
    "holds no release key",
    ROLE,
)
def _(s: Stage) -> Records:
    return [s.court.manifest(s.sequence + 1, [evil_row(s, MALLORY)])]


@lie("key compromise", "one release key signs twice", "one release key", ONE_VALID, NO)
def _(s: Stage) -> Records:
    once = evil(s, s.court.keys[Role.RELEASE][0])
    return [evolve(once, signatures=once.signatures * 2)]


@lie("key compromise", "one release key signs sixteen times", "one release key", ONE_VALID, NO, by="exchange")
def _(s: Stage) -> Records:
    once = evil(s, s.court.keys[Role.RELEASE][2])
    return [evolve(once, signatures=once.signatures * 16)]


for name, other in {
    "a stranger": MALLORY, "a root key": KEYS[Role.ROOT][0], "a freshness key": KEYS[Role.FRESHNESS][0],
    "an operator": KEYS[Role.OPERATOR][0],
}.items():  # fmt: skip
    lie("key compromise", f"one release key and {name}", f"one release key and {name}", ONE_VALID, NO)(
        lambda s, other=other: [evil(s, s.court.keys[Role.RELEASE][0], other)]
    )


@lie("key compromise", "a good signature beside a broken one", "one release key", ONE_VALID, NO)
def _(s: Stage) -> Records:
    one, two = evil(s, *s.court.quorum(Role.RELEASE)).signatures
    return [evolve(evil(s), signatures=(one, Signature(two.public_key, two.signature[:-1] + b"\0")))]


@lie("fast-forward", "the highest sequence by one key", "one release key", ONE_VALID, NO)
def _(s: Stage) -> Records:
    return [evil(s, s.court.keys[Role.RELEASE][0], sequence=SEQUENCE_MAX)]


@lie("fast-forward", "the highest release number by one key", "one release key", ONE_VALID, NO)
def _(s: Stage) -> Records:
    row = evil_row(s, release=2**31)
    return [s.court.manifest(s.sequence + 1, [row], s.court.keys[Role.RELEASE][:1], issued_at_s=TIME_S_MAX)]


@lie(
    "mix-and-match",
    "a manifest of another swarm with the same keys",
    "another swarm's news",
    "is for swarm 'other'",
    SWARM,
)
def _(s: Stage) -> Records:
    return [s.court.manifest(s.sequence + 1, [evil_row(s)], swarm="other")]


@lie(
    "mix-and-match",
    "another channel's manifest as this one's",
    "another channel's news",
    "another channel's key",
    CHAN,
)
def _(s: Stage) -> Records:
    return [s.court.manifest(s.sequence + 1, [evil_row(s)], channel="beta")]


@lie("mix-and-match", "this channel's manifest as another's", "old news", "another channel's key", CHAN)
def _(s: Stage) -> Records:
    return [s.court.manifest(s.sequence + 1, [evil_row(s)], record_key=b"beta")]


@lie(
    "mix-and-match", "two releases of one number for one board", "a mistake of maintainers", "twice for", MIX
)
def _(s: Stage) -> Records:
    row = evil_row(s)
    return [s.court.manifest(s.sequence + 1, [row, evolve(row, infohash=bytes(32))])]


def raw_manifest(s: Stage, **changes: object) -> Record:
    """A manifest whose row does not pass its own decoder, signed by a quorum."""
    return s.court.manifest(s.sequence + 1, [evil_row(s, **changes)])


for name, family, changes in (
    ("an image of 64 GiB and a byte", "endless data", {"length_bytes": 64 * 1024**3 + 1}),
    ("an image of no bytes", "endless data", {"length_bytes": 0}),
    ("a torrent of 8 MiB and a byte", "endless data", {"torrent_bytes": 8 * 1024**2 + 1}),
    ("a release number below nothing", "rollback", {"release": -1}),
    ("a release number beyond all numbers", "fast-forward", {"release": 2**53}),
    ("a resource name of a thousand letters", "endless data", {"resource": "x" * 1000}),
    ("hardware without end", "extraneous dependencies", {"compatible": tuple(f"b{n}" for n in range(9))}),
    ("no hardware at all", "wrong software", {"compatible": ()}),
    ("a version that writes over the terminal", "wrong software", {"version": "1.0\x1b[2J"}),
):
    lie(family, name, "a quorum of release keys", "manifest", BAD, by="exchange")(
        lambda s, changes=changes: [raw_manifest(s, **changes)]
    )


@lie(
    "extraneous dependencies",
    "nine releases in one manifest",
    "a quorum of release keys",
    "1 to 8 releases",
    BAD,
    by="exchange",
)
def _(s: Stage) -> Records:
    return [
        s.court.manifest(s.sequence + 1, [evil_row(s, release=9 + n, resource=f"r{n}") for n in range(9)])
    ]


@lie(
    "extraneous dependencies",
    "a record of a kind that tells nodes what to do",
    "the swarm key",
    "not known here",
    Reason.UNKNOWN_KIND,
)
def _(s: Stage) -> Records:
    return [signed(Record("order", b"reboot", 1, b"now"), *s.court.quorum(Role.OPERATOR))]
