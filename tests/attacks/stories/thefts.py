"""A whole quorum is stolen and used; new keys end it."""

from __future__ import annotations

from attrs import evolve

from fruitd.updater.journal import State
from swarm.news.record import SEQUENCE_MAX
from swarm.trust.root import Role
from swarm.trust.times import TIME_S_MAX
from tests.attacks.acts import another_image, by_quorum, rotate, rows_of, running
from tests.attacks.court import NOW_S
from tests.attacks.stage import Stage
from tests.attacks.table import story


def stolen_release(s: Stage, release: int, sequence: int, at_s: int = NOW_S) -> None:
    """A quorum of release keys is stolen and used: both nodes install it, as they have to."""
    image = another_image(s)
    torrent, row = s.court.torrent(image, release, s.court.keys[Role.RELEASE][0])
    record = s.court.manifest(sequence, [row], issued_at_s=at_s)
    from simulations.world.maintainer import Published

    known = {
        "release": release, "compatible": row.compatible, "image": image, "infohash": row.infohash, "piece_bytes": 16384,
        "torrent": torrent, "manifest": record, "signer": row.signer,
    }  # fmt: skip
    evil = Published(**known)  # type: ignore[arg-type]
    s.publish(evil)
    s.until(lambda: s.runs(evil))


for name, release, sequence, at_s in (
    ("the highest sequence", 3, SEQUENCE_MAX, NOW_S),
    ("the highest release number", 2**31, 3, NOW_S),
    ("the end of time", 3, 3, TIME_S_MAX),
    ("all of them", 2**53 - 1, SEQUENCE_MAX, TIME_S_MAX),
):

    @story(
        "fast-forward", f"a stolen quorum signs {name}; the keys are rotated out", "a quorum of release keys"
    )
    def _(s: Stage, release: int = release, sequence: int = sequence, at_s: int = at_s) -> None:
        stolen_release(s, release, sequence, at_s)
        rotate(s, Role.RELEASE)
        assert s.victim.node is not None
        assert s.victim.node.manifest() is None


@story(
    "fast-forward",
    "a stolen quorum says what is current at the end of time; the keys are rotated out",
    "a quorum of freshness keys",
)
def _(s: Stage) -> None:
    s.say(s.court.fresh(s.current.manifest, TIME_S_MAX))
    rotate(s, Role.FRESHNESS)
    s.say(s.court.fresh(s.current.manifest, s.now_s()))
    standing = s.victim.node.standing(s.victim.steady_s())  # type: ignore[union-attr]
    assert standing.held_back is None


@story(
    "fast-forward",
    "a stolen quorum of operators revokes everybody for ever; the keys are rotated out",
    "a quorum of operators",
)
def _(s: Stage) -> None:
    s.say(s.court.revoked(s.court.token.token.token_id, sequence=SEQUENCE_MAX))
    assert s.victim.node is not None
    assert not s.victim.node.store.entries("member")
    rotate(s, Role.OPERATOR)
    again = s.court.new_token("cards").terms
    s.court.maintainer.token = evolve(s.court.token, terms=again)
    s.say(again)


@story(
    "key compromise",
    "a release key is taken away, and the release built again under its number by the others",
    "a release key",
)
def _(s: Stage) -> None:
    rebuilt_under_its_number(s)


def rebuilt_under_its_number(s: Stage) -> None:
    """Release 2 was signed by keys 0 and 1. Key 0 goes; keys 1 and 2 sign the same bytes under the same number."""
    before, old = running(s), s.current
    gone, *rest = s.court.keys[Role.RELEASE]
    s.court.keys[Role.RELEASE] = tuple(rest)
    s.court.root = s.court.next_root(s.court.root.version + 1)
    s.world.surroundings.checker.rotated_out({gone.public.raw})
    s.say(s.court.sign_root(s.court.root))
    s.until(lambda: all(h.node is not None and h.node.manifest() is None for h in s.world.hosts), 60.0)
    s.sequence += 1
    again = s.court.published(old.image, old.release, s.sequence, s.now_s())
    assert again.infohash == old.infohash
    assert again.torrent != old.torrent
    s.publish(again)
    s.pass_time(60.0)
    for host in s.world.hosts:
        assert host.node is not None
        found = host.node.manifest()
        assert found is not None
        assert found[0].sequence == s.sequence
        journal = host.machine.disk.journal
        assert journal is not None
        assert not journal.quarantined
        assert journal.state in (State.IDLE, State.COMMITTED), journal
        sha256 = rows_of(again)[0].torrent_sha256
        assert host.node.library.blob("torrent", sha256) == again.torrent, (
            "whoever comes later would not get it from here"
        )
    assert running(s) == before, "a release that runs was installed again"
    torrent, row = s.court.torrent(another_image(s), 1, s.court.keys[Role.RELEASE][0])
    by_quorum(s, row, torrent, "is older than release 2")
