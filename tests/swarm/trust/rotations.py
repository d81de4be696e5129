"""Roots that follow one another, and what is signed under them, for the tests of trust in a running node."""

from __future__ import annotations

import attrs

from swarm.news.record import Record
from swarm.root_file import root_record
from swarm.signing import signed
from swarm.trust.freshness import Freshness
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest
from swarm.trust.root import Role, RoleKeys, TrustRoot
from tests.swarm.trust.ceremony import ROOTS, key, torrent_and_release

AT_S = 1_800_000_000
SWARM = "fruits"
ABUSED = (key("cora"), key("dan"))
GOOD = (key("fay"), key("gus"))
CLOCKS = (key("tick"), key("tock"))


def root(version: int, releasers: tuple[SecretKey, ...] = ABUSED, **changes: object) -> TrustRoot:
    """Two root keys, both needed; these release keys, two needed; one freshness key."""
    freshness = CLOCKS[0]
    held = (*ROOTS, *releasers, freshness)
    made = TrustRoot(
        SWARM,
        version,
        {k.public.raw: k.name for k in held},
        {
            Role.ROOT: RoleKeys(2, frozenset(k.public.raw for k in ROOTS)),
            Role.RELEASE: RoleKeys(2, frozenset(k.public.raw for k in releasers)),
            Role.FRESHNESS: RoleKeys(1, frozenset({freshness.public.raw})),
        },
    )
    return attrs.evolve(made, **changes)


def root_signed(made: TrustRoot, *keys: SecretKey) -> Record:
    """The record of a root, signed by its root keys or by others."""
    return signed(root_record(made), *(keys or ROOTS))


def chain(last: int, good_from: int = 2**31) -> list[Record]:
    """Roots 1 to `last`; from `good_from` on the abused release keys hold nothing."""
    return [
        root_signed(root(n, GOOD if n >= good_from else ABUSED, expires_at_s=AT_S + n))
        for n in range(1, last + 1)
    ]


def manifest(
    sequence: int,
    keys: tuple[SecretKey, ...] = ABUSED,
    release: int = 2,
    at_s: int = AT_S,
    channel: str = "stable",
) -> Record:
    """A manifest naming one release, signed by these keys, the torrent by the first."""
    _, named = torrent_and_release(keys[0])
    body = Manifest(SWARM, channel, at_s, (attrs.evolve(named, release=release),))
    return signed(Record("manifest", channel.encode(), sequence, body.encode()), *keys)


def fresh(
    about: Record, at_s: int = AT_S, valid_for_s: int = 7 * 86_400, *keys: SecretKey, **changes: object
) -> Record:
    """The word that this manifest is current, by the freshness key or by others."""
    said = Freshness(SWARM, about.key.decode(), about.sequence, about.content_hash, at_s, valid_for_s)
    said = attrs.evolve(said, **changes)
    return signed(Record("fresh", about.key, at_s, said.encode()), *(keys or CLOCKS[:1]))
