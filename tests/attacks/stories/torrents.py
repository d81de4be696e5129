"""Torrents that do not fit the manifest that names them, and releases for others."""

from __future__ import annotations

from attrs import evolve

from bep35.bencode import encode as bencode
from bep35.bencode import join_raw, raw_items
from bep35.signing import sign, signer_id_of
from fruitd.updater.journal import State
from swarm.trust.manifest import Release
from swarm.trust.root import Role
from swarm.trust.trusted_set import torrent_statement
from tests.attacks.acts import another_image, by_quorum, resigned, rows_of, running
from tests.attacks.stage import Stage
from tests.attacks.table import story

for family, name, stated, words in (
    ("wrong software", "a torrent for another board", {"compatible": ["other"]}, "disagree on compatible"),
    (
        "wrong software",
        "a torrent of another resource",
        {"resource": "org.example/kernel"},
        "disagree on resource",
    ),
    ("mix-and-match", "a torrent of another release number", {"release": 77}, "disagree on release"),
    ("mix-and-match", "a torrent of another version", {"version": "0.1"}, "disagree on version"),
    (
        "extraneous dependencies",
        "a torrent that states what else to install",
        {"requires": ["evil"]},
        "disagree on requires",
    ),
):

    @story(family, name, "one release key, and the manifest of a quorum")
    def _(s: Stage, stated: dict[str, object] = stated, words: str = words) -> None:
        torrent, row = resigned(s, stated)
        by_quorum(s, row, torrent, words)


@story("arbitrary installation", "a torrent without a signature", "the manifest of a quorum")
def _(s: Stage) -> None:
    torrent, row = resigned(s)
    bare = raw_items(torrent)
    del bare[b"signatures"]
    torrent, row = s.court.named(row, join_raw(bare))
    by_quorum(s, row, torrent, "is not signed by")


@story(
    "arbitrary installation",
    "a torrent signed by another release key than named",
    "one release key, and the manifest of a quorum",
)
def _(s: Stage) -> None:
    torrent, row = resigned(s)
    bare = raw_items(torrent)
    del bare[b"signatures"]
    other = s.court.keys[Role.RELEASE][2]
    forged = sign(join_raw(bare), signer_id_of(row.signer), other.signing_key, torrent_statement(row))
    torrent, row = s.court.named(row, forged)
    by_quorum(s, row, torrent, "does not verify")


@story("mix-and-match", "the manifest of one release with the torrent of another", "a quorum's mistake")
def _(s: Stage) -> None:
    torrent = s.current.torrent
    _, row = resigned(s)
    torrent, row = s.court.named(row, torrent)
    by_quorum(s, row, torrent, "disagree on infohash")


@story("endless data", "a torrent that says it is longer than the manifest does", "a quorum's mistake")
def _(s: Stage) -> None:
    torrent, row = resigned(s)
    by_quorum(s, evolve(row, length_bytes=row.length_bytes - 1), torrent, "disagree on length")


@story("extraneous dependencies", "a torrent with keys that nobody knows", "a quorum's mistake")
def _(s: Stage) -> None:
    torrent, row = resigned(s)
    items = raw_items(torrent)
    items[b"zz-also-run"] = bencode(b"evil")
    by_quorum(s, *reversed(s.court.named(row, join_raw(items)[:-1] + b"ee")), "torrent")  # type: ignore[arg-type]


@story("rollback", "an old release under a new manifest", "a quorum's mistake")
def _(s: Stage) -> None:
    torrent, row = s.court.torrent(another_image(s), 1, s.court.keys[Role.RELEASE][0])
    by_quorum(s, row, torrent, "is older than release 2")


@story("rollback", "a number that is used, with other bytes", "a quorum's mistake")
def _(s: Stage) -> None:
    torrent, row = s.court.torrent(another_image(s), s.current.release, s.court.keys[Role.RELEASE][0])
    by_quorum(s, row, torrent, "never reused")


@story("wrong software", "a release for another board", "another board's release")
def _(s: Stage) -> None:
    _, row = resigned(s)
    quiet(s, evolve(row, compatible=("other-board",)), "has no release of")


@story("wrong software", "a release of another resource", "another resource's release")
def _(s: Stage) -> None:
    _, row = resigned(s)
    quiet(s, evolve(row, resource="org.example/kernel"), "has no release of")


def quiet(s: Stage, row: Release, words: str) -> None:
    """A good manifest that has nothing for the victim: nothing is installed, and that is said."""
    before, notes = running(s), []
    s.world.surroundings.on_note = lambda node, what, why: notes.append(why)
    s.sequence += 1
    record = s.court.manifest(s.sequence, [row])
    s.world.surroundings.checker.add_genuine(record)
    s.push(record)
    s.pass_time(5.0)
    assert any(words in note for note in notes), notes
    assert running(s) == before


@story("wrong software", "a release of a channel that this node does not follow", "another channel's release")
def _(s: Stage) -> None:
    before = running(s)
    _, row = resigned(s)
    beta = s.court.manifest(99, [row], channel="beta", record_key=b"beta")
    s.world.surroundings.checker.add_genuine(beta)
    s.push(beta)
    s.pass_time(10.0)
    assert running(s) == before
    assert s.victim.machine.disk.journal is not None
    assert s.victim.machine.disk.journal.state is not State.REUSING


@story("extraneous dependencies", "another resource beside this one in one manifest", "a quorum's manifest")
def _(s: Stage) -> None:
    good = s.next_release()
    _, row = resigned(s)
    other = evolve(row, resource="org.example/kernel", release=9)
    both = s.court.manifest(good.manifest.sequence, [*rows_of(good), other])
    s.world.surroundings.checker.add_genuine(both)
    s.publish(evolve(good, manifest=both))
    s.until(lambda: s.runs(good))
