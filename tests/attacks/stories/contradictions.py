"""Two signed facts of one sequence, and facts of one kind as another."""

from __future__ import annotations

from attrs import evolve

from simulations.world.maintainer import CHANNEL
from swarm.errors import Reason
from swarm.news.record import Record
from tests.attacks.acts import evil_row, resigned, running, said
from tests.attacks.court import DAY_S, NOW_S, key, status
from tests.attacks.stage import Stage, Touchable
from tests.attacks.table import story, unmoved


def two_manifests(s: Stage) -> None:
    s.sequence += 1
    _, one = resigned(s)
    pair = [s.court.manifest(s.sequence, [one], issued_at_s=NOW_S + n) for n in (0, 1)]
    for record in pair:
        s.world.surroundings.checker.add_genuine(record)
    before = running(s)
    s.push(*pair)
    s.pass_time(10.0)
    standing = s.victim.node.standing(s.victim.steady_s())  # type: ignore[union-attr]
    assert "two validly signed versions" in str(standing.disputed)
    for host in s.world.hosts:
        entry = host.node.store.get("manifest", CHANNEL.encode())  # type: ignore[union-attr]
        assert entry is not None
        assert entry.disputed, "the proof did not spread"
    assert running(s) == before


@story("equivocation", "two manifests of one sequence", "a quorum of release keys")
def _(s: Stage) -> None:
    two_manifests(s)


@story("equivocation", "two manifests of one sequence, and a restart", "a quorum of release keys")
def _(s: Stage) -> None:
    two_manifests(s)
    s.victim.stop_daemon()
    s.victim.start_daemon()
    s.pass_time(5.0)
    standing = s.victim.node.standing(s.victim.steady_s())  # type: ignore[union-attr]
    assert "two validly signed versions" in str(standing.disputed)


@story("equivocation", "three manifests of one sequence", "a quorum of release keys")
def _(s: Stage) -> None:
    two_manifests(s)
    third = s.court.manifest(s.sequence, [evil_row(s)], issued_at_s=NOW_S + 9)
    s.world.surroundings.checker.add_genuine(third)
    s.push(third)
    s.pass_time(5.0)
    entry = s.victim.node.store.get("manifest", CHANNEL.encode())  # type: ignore[union-attr]
    assert entry is not None
    assert len(entry.records) == 2


@story("equivocation", "two roots of one version; the next settles it", "a quorum of root keys")
def _(s: Stage) -> None:
    pair = [s.court.sign_root(s.court.next_root(3, expires_at_s=at_s)) for at_s in (0, NOW_S + 900 * DAY_S)]
    for record in pair:
        s.world.surroundings.checker.add_genuine(record)
    s.push(*pair)
    s.exchange(*pair)
    s.pass_time(10.0)
    assert "trust root 3" in str(s.victim.node.standing(s.victim.steady_s()).disputed)  # type: ignore[union-attr]
    s.court.root = s.court.next_root(4)
    s.say(s.court.sign_root(s.court.root))
    s.pass_time(30.0)


@story("equivocation", "two words of freshness of one moment", "a quorum of freshness keys")
def _(s: Stage) -> None:
    before = running(s)
    pair = [s.court.fresh(s.current.manifest, s.now_s(), valid_for_s=DAY_S + n) for n in (0, 1)]
    for record in pair:
        s.world.surroundings.checker.add_genuine(record)
    s.push(*pair)
    s.pass_time(5.0)
    assert running(s) == before


@story(
    "equivocation", "two revocations of one moment: the one that revokes is heeded", "a quorum of operators"
)
def _(s: Stage) -> None:
    strange = key("strange-node")
    pair = [s.court.revoked(strange.node_id, lifted=lifted) for lifted in (False, True)]
    for record in (*pair, s.court.member(strange)):
        s.world.surroundings.checker.add_genuine(record)
    s.push(*pair)
    s.pass_time(2.0)
    s.push(s.court.member(strange))
    s.pass_time(2.0)
    said(s, "node was revoked", Reason.REVOKED)


@story("equivocation", "two terms of one token: neither counts", "a quorum of operators")
def _(s: Stage) -> None:
    secret = s.court.new_token("two-faced")
    other = s.court.new_token("two-faced", site="elsewhere")
    for record in (secret.terms, other.terms):
        s.world.surroundings.checker.add_genuine(record)
    s.push(secret.terms, other.terms)
    s.pass_time(2.0)
    s.push(s.court.member(key("strange-node"), secret))
    s.pass_time(2.0)
    said(s, "a join token that is not here", Reason.NOT_YET)


def genuine_records(s: Stage) -> dict[str, Record]:
    """One good record of each kind."""
    return {
        "root": s.court.sign_root(s.court.next_root(3)),
        "manifest": s.court.manifest(s.sequence + 1, [evil_row(s)]),
        "fresh": s.court.fresh(s.current.manifest, NOW_S + 5),
        "token": s.court.new_token("another").terms,
        "member": s.court.member(key("strange-node")),
        "revoke": s.court.revoked(key("strange-node").node_id),
        "status": status(s.publisher.plan.identity, NOW_S + 99_999),
    }


for target in ("root", "manifest", "fresh", "token", "member", "revoke", "status"):

    @story("type confusion", f"every other kind as a {target}", "one good record of each kind")
    def _(s: Stage, target: str = target) -> None:
        before = Touchable.of(s.victim)
        good = genuine_records(s)
        for kind, record in good.items():
            if kind == target:
                continue
            for forged in (
                evolve(record, kind=target),
                evolve(record, kind=target, key=good[target].key, sequence=good[target].sequence),
                evolve(good[target], body=record.body),
            ):
                count = len(s.refused)
                s.exchange(forged)
                s.pass_time(0.5)
                assert len(s.refused) > count, (kind, target, forged)
        unmoved(s, before)
