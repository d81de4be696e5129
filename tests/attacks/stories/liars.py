"""Peers that tell of what they have, and lie, or never give it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from simulations.world.maintainer import CHANNEL
from swarm.me import DIGEST_BYTES
from swarm.news.record import SEQUENCE_MAX
from swarm.wire import Chunk, Exchange, Get, Have, No, Reply, Sync
from tests.attacks.acts import give, rows_of
from tests.attacks.stage import Stage, Touchable
from tests.attacks.table import story, unmoved


def liar_serves(
    s: Stage,
    torrent: Callable[[int, int], Reply | bytes] | None,
    leaves: Callable[[int, int], Reply | bytes] | None,
) -> None:
    """The next good release is first heard of from the liar, who gives these for its blobs; honest nodes hold it too, later."""
    good = s.next_release()
    s.villain.holdings = (good.infohash,)
    sha256 = rows_of(good)[0].torrent_sha256
    s.villain.blobs["torrent", sha256] = torrent or give(good.torrent)
    if leaves is not None:
        s.villain.blobs["leaves", good.image.pieces_root] = leaves
    s.villain.send(None, s.villain.hello())
    s.pass_time(1.0)
    s.world.surroundings.checker.add_genuine(good.manifest)
    s.push(good.manifest)
    s.pass_time(10.0)
    assert any(isinstance(asked, Get) for asked in s.villain.asked), (
        "the liar was not asked: nothing was shown"
    )
    s.publish(good)
    s.until(lambda: s.runs(good))


def rotten(offset: int, length: int) -> Reply:
    return Chunk(600, random.Random(offset).randbytes(600)[offset : offset + length])


LIES: dict[str, tuple[str, Callable[[int, int], Reply | bytes]]] = {
    "other bytes": ("mix-and-match", rotten),
    "a size of a terabyte": ("endless data", lambda offset, length: Chunk(2**40, bytes(length))),
    "more than was asked for": ("endless data", lambda offset, length: Chunk(length, bytes(65536))),
    "nothing at all": ("malicious mirrors", lambda offset, length: Chunk(length, b"")),
    "no": ("malicious mirrors", lambda offset, length: No("not today")),
    "garbage instead of an answer": ("malicious mirrors", lambda offset, length: b"\1" * 100),
    "the right size and one byte at a time": ("slow retrieval", lambda offset, length: Chunk(length, b"x")),
}
for (name, (family, serve)), blob in itertools.product(LIES.items(), ("torrent", "leaves")):

    @story(family, f"a peer gives {name} for the {blob}")
    def _(s: Stage, serve: Callable[[int, int], Reply | bytes] = serve, blob: str = blob) -> None:
        liar_serves(s, serve if blob == "torrent" else None, serve if blob == "leaves" else None)


for name, serve in {
    "other bytes": rotten, "a no": lambda offset, length: No("not today"), "garbage": lambda offset, length: b"\1" * 100,
    "nothing": None,
}.items():  # fmt: skip

    @story("malicious mirrors", f"a peer answers under the holder's id, again and again, and gives {name}")
    def _(s: Stage, serve: Callable[[int, int], Reply | bytes] | None = serve) -> None:
        good = s.next_release()
        s.villain.claims = s.publisher.plan.node_id
        s.villain.holdings = (good.infohash,)
        s.villain.silent = serve is None
        for blob in (("torrent", rows_of(good)[0].torrent_sha256), ("leaves", good.image.pieces_root)):
            s.villain.blobs[blob] = serve or rotten
        # A mate that answers is not displaced: the liar comes while the holder is away for a moment.
        s.world.network.set_sides({s.publisher.number: (1,)})
        for _ in range(120):
            s.villain.send(s.at, s.villain.hello())
            s.pass_time(0.5)
        s.world.network.set_sides({})
        s.publish(good)
        for _ in range(600):
            s.villain.send(s.at, s.villain.hello())
            s.pass_time(0.5)
            if s.runs(good):
                break
        assert any(isinstance(asked, Get) for asked in s.villain.asked), "it was not asked: nothing was shown"
        assert s.runs(good), "the holder was blamed for what was done under its id"


@story("mix-and-match", "a peer gives the leaves of another image")
def _(s: Stage) -> None:
    liar_serves(s, None, give(s.world.surroundings.factory.leaves))


@story("rollback", "a peer gives the torrent of the release before")
def _(s: Stage) -> None:
    liar_serves(s, give(s.current.torrent), None)


@story("malicious mirrors", "a peer that has all and answers nothing")
def _(s: Stage) -> None:
    s.villain.silent = True
    liar_serves(s, None, None)


@story("malicious mirrors", "a peer that seeds an image of other bytes")
def _(s: Stage) -> None:
    from swarm.transfer.port import ImageJob

    end = s.world.surroundings.fabric.join_liar(2, s.villain.identity.node_id)
    good = s.next_release()
    s.world.surroundings.publish(good)
    end.seed(ImageJob(good.torrent, good.infohash, "rubbish", good.image.length_bytes))
    s.villain.holdings = (good.infohash,)
    s.villain.send(None, s.villain.hello())
    s.pass_time(1.0)
    s.world.surroundings.published.pop()
    s.publish(good)
    s.until(lambda: s.runs(good))


for name, tell in {
    "a manifest that it never gives": lambda s: Have("manifest", CHANNEL.encode(), SEQUENCE_MAX, bytes(8)),
    "a root that it never gives": lambda s: Have("root", s.court.root.swarm.encode(), 900, bytes(8)),
    "a freshness that it never gives": lambda s: Have("fresh", CHANNEL.encode(), SEQUENCE_MAX, bytes(8)),
}.items():

    @story("malicious mirrors", f"a peer tells of {name}")
    def _(s: Stage, tell: Callable[[Stage], Have] = tell) -> None:
        before = Touchable.of(s.victim)
        for _ in range(30):
            s.villain.send(s.at, tell(s))
            s.pass_time(0.5)
        assert any(isinstance(asked, Exchange) for asked in s.villain.asked), (
            "nobody asked for it: nothing was shown"
        )
        unmoved(s, before)


@story("malicious mirrors", "a peer whose store is always another")
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    rng = random.Random(3)
    for _ in range(100):
        s.villain.send(s.at, s.villain.hello(ping=rng.randbytes(8), digest=rng.randbytes(DIGEST_BYTES)))
        s.pass_time(1.0)
    asked = sum(isinstance(a, Sync) for a in s.villain.asked)
    assert asked < 60, f"{asked} comparisons in 100 s: one peer could keep a node busy"
    unmoved(s, before)
