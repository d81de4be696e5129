"""Whoever stands on the path: listens, drops, cuts and repeats."""

from __future__ import annotations

import pytest

from swarm.address import Address
from swarm.errors import Reason, RefusedError
from swarm.seal import Keyring
from tests.attacks.acts import DATAGRAM, give, rows_of, running, said
from tests.attacks.stage import Stage, Touchable
from tests.attacks.table import story, unmoved


@story("eavesdrop", "a stranger on the LAN listens", "nothing")
def _(s: Stage) -> None:
    good = s.good()
    heard = b"".join(s.villain.heard)
    assert len(s.villain.heard) > 3
    for secret in (good.manifest.body[:24], good.infohash, s.publisher.plan.node_id, b"manifest", b"site-0"):
        assert secret not in heard
    stranger = Keyring((bytes(32),))
    for data in s.villain.heard:
        with pytest.raises(RefusedError):
            stranger.open(data, DATAGRAM)


@story("drop requests", "nothing reaches the node for an hour", "the way to the node")
def _(s: Stage) -> None:
    good = s.next_release()
    s.world.network.set_sides({1: (1,)})
    s.publish(good)
    s.pass_time(3600.0)
    assert not s.runs(good, [s.victim])
    s.world.network.set_sides({})
    s.until(lambda: s.runs(good), 600.0)


@story("drop requests", "the way is cut in the middle of an update, again and again", "the way to the node")
def _(s: Stage) -> None:
    good = s.next_release()
    s.publish(good)
    for _ in range(10):
        s.world.network.set_sides({1: (1,)})
        s.pass_time(7.0)
        s.world.network.set_sides({})
        s.pass_time(0.3)
    s.until(lambda: s.runs(good), 600.0)


@story("partial bundle", "the manifest comes, its torrent does not", "the way to the node")
def _(s: Stage) -> None:
    good = s.next_release()
    before = running(s)
    s.world.surroundings.checker.add_genuine(good.manifest)
    s.push(good.manifest)
    s.pass_time(300.0)
    assert running(s) == before
    s.publish(good)
    s.until(lambda: s.runs(good), 1000.0)


@story("partial bundle", "manifest and torrent come, the image does not", "the way to the node")
def _(s: Stage) -> None:
    good = s.next_release()
    before = running(s)
    s.villain.holdings = (good.infohash,)
    s.villain.blobs["torrent", rows_of(good)[0].torrent_sha256] = give(good.torrent)
    s.villain.blobs["leaves", good.image.pieces_root] = give(good.image.leaves)
    s.villain.send(None, s.villain.hello())
    s.world.surroundings.checker.add_genuine(good.manifest)
    s.push(good.manifest)
    s.pass_time(300.0)
    assert running(s) == before
    s.publish(good)
    s.until(lambda: s.runs(good), 1000.0)


@story(
    "partial bundle",
    "of two roots and what the second allows, the first does not come",
    "the way to the node",
)
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    third = s.court.sign_root(s.court.next_root(3))
    fourth = s.court.sign_root(s.court.next_root(4))
    for record in (third, fourth):
        s.world.surroundings.checker.add_genuine(record)
    s.push(fourth)
    s.pass_time(3.0)
    said(s, "waits for 3", Reason.NOT_YET)
    unmoved(s, before)
    s.push(third)
    s.pass_time(1.0)
    s.push(fourth)
    s.pass_time(3.0)
    assert s.victim.node is not None
    assert s.victim.node.trusted.root.version == 4
    s.court.root = s.court.next_root(4)


@story("replay", "a hello, repeated from another address", "what was recorded")
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    assert s.victim.core is not None
    known = {p.node_id: p.address for p in s.victim.node.swarm.peers()}  # type: ignore[union-attr]
    for data in s.villain.heard:
        s.victim.carry_out(s.victim.core.on_datagram(data, Address("10.66.6.6", 666), s.victim.steady_s()))
    s.pass_time(10.0)
    now = {p.node_id: p.address for p in s.victim.node.swarm.peers()}  # type: ignore[union-attr]
    assert now[s.publisher.plan.node_id] == known[s.publisher.plan.node_id], "a recorded hello moved a node"
    unmoved(s, before)


@story("replay", "everything that was heard, twenty times", "what was recorded")
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    for _ in range(20):
        for data in list(s.villain.heard[:40]):
            s.villain.send_bytes(s.at, data)
    s.pass_time(10.0)
    unmoved(s, before)


@story("replay", "yesterday's manifest after a restart", "old news")
def _(s: Stage) -> None:
    s.victim.stop_daemon()
    s.victim.start_daemon()
    s.pass_time(2.0)
    before = Touchable.of(s.victim)
    s.push(s.old[1])
    s.exchange(s.old[1], s.old[0])
    s.pass_time(3.0)
    unmoved(s, before)
    said(s, "is older than manifest 2", Reason.OLDER)
