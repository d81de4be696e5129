"""What stories are made of: releases of others, what the victim said, whether anything moved."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from attrs import evolve

from simulations.world.images import Behaviour, next_image
from swarm.errors import Reason
from swarm.news.record import Record
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Release
from swarm.trust.root import Role
from swarm.wire import Chunk, Reply
from tests.attacks.court import key
from tests.attacks.stage import Stage

DATAGRAM = b"fruit-datagram-1"
NO, ROLE, OLD, SWARM, CHAN, BAD, MIX, NODE, YET = (
    Reason.NOT_SIGNED, Reason.NO_ROLE, Reason.OLDER, Reason.WRONG_SWARM, Reason.WRONG_CHANNEL, Reason.MALFORMED, Reason.DISAGREES,
    Reason.WRONG_NODE, Reason.NOT_YET,
)  # fmt: skip
Records = Iterable[Record]
NONE_VALID, ONE_VALID = "has 0 valid signatures", "has 1 valid signatures"


def said(s: Stage, words: str, reason: Reason | None = None) -> None:
    """The victim refused something with these words."""
    found = [(r.why, r.reason) for r in s.refused]
    assert any(words in why and reason in (None, kind) for why, kind in found), (words, reason, found)


def rested(s: Stage, words: str) -> None:
    """The victim's update has come to rest for this reason, and its slots were not written."""
    s.until(lambda: words in str(s.victim.machine.disk.journal), 120.0)


def running(s: Stage) -> tuple[object, ...]:
    """What boots, and what is in the active slot."""
    machine = s.victim.machine
    assert machine.active is not None
    return (
        machine.default,
        machine.armed,
        machine.active,
        machine.booted,
        machine.slots[machine.active].content(),
    )


def by_quorum(s: Stage, row: Release, torrent: bytes, words: str, *, whole_torrent: bool = True) -> None:
    """A manifest that a quorum signed names this torrent, which the liar serves; the victim comes to rest for a reason."""
    before = running(s)
    s.sequence += 1
    record = s.court.manifest(s.sequence, [row])
    s.world.surroundings.checker.add_genuine(record)
    s.release = max(s.release, row.release if row.release < 1000 else s.release)
    s.villain.holdings = (row.infohash,)
    if whole_torrent:
        s.villain.blobs["torrent", row.torrent_sha256] = give(torrent)
    s.villain.send(None, s.villain.hello())
    s.push(record)
    rested(s, words)
    assert running(s) == before


def give(data: bytes) -> Callable[[int, int], Reply]:
    """Serve a blob as it should be."""
    return lambda offset, length: Chunk(len(data), data[offset : offset + length])


def resigned(s: Stage, stated: dict[str, object] | None = None) -> tuple[bytes, Release]:
    """A torrent whose signature says something else than the manifest."""
    return s.court.torrent(another_image(s), s.release + 1, s.court.keys[Role.RELEASE][0], stated)


def another_image(s: Stage):  # type: ignore[no-untyped-def]
    return next_image(random.Random(9), s.current.image, 0.5, Behaviour.GOOD)


def rows_of(published):  # type: ignore[no-untyped-def]
    from swarm.trust.manifest import Manifest

    return Manifest.decode(published.manifest.body).releases


def rotate(s: Stage, role: Role) -> None:
    """New keys for a role, by a quorum of root keys."""
    s.court.keys[role] = tuple(key(f"next-{role}-{n}") for n in range(3))
    s.court.root = s.court.next_root(s.court.root.version + 1)
    record = s.court.sign_root(s.court.root)
    if role is Role.RELEASE:
        s.world.surroundings.checker.rotated_out({k.public.raw for k in _first_keys(s)})
    s.say(record)
    s.until(
        lambda: all(
            h.node is not None and h.node.trusted.root.version == s.court.root.version for h in s.world.hosts
        ),
        60.0,
    )


def _first_keys(s: Stage):  # type: ignore[no-untyped-def]
    from swarm.trust.keys import SecretKey

    return [SecretKey(bytes(k), "r") for k in s.court.maintainer.release_keys]


def let_in(s: Stage, *records: Record) -> None:
    for record in records:
        s.world.surroundings.checker.add_genuine(record)
    s.push(*records)
    s.pass_time(3.0)


def evil_row(s: Stage, signer: SecretKey | None = None, **changes: object) -> Release:
    """An image that nobody published, as a manifest would name it."""
    image = next_image(random.Random(5), s.current.image, 0.5, Behaviour.GOOD)
    _, row = s.court.torrent(image, s.release + 1, signer or s.court.keys[Role.RELEASE][0])
    return evolve(row, **changes)


def evil(s: Stage, *keys: SecretKey, sequence: int | None = None, **changes: object) -> Record:
    """A manifest that names it, signed by these."""
    number = s.sequence + 1 if sequence is None else sequence
    return s.court.manifest(number, [evil_row(s)], keys, **changes)
