"""What every implementation of `swarm.transfer.port.Transfer` must do.

A test module has a `Yard` fixture named `yard`, derives a class from `TransferContract`, and inherits the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import evolve, frozen

from swarm.address import Address
from swarm.transfer.bitmap import block_count, empty_bitmap, set_block
from swarm.transfer.port import (
    BLOCK_BYTES,
    ImageFetched,
    ImageJob,
    PieceArrived,
    PieceRejected,
    Transfer,
    TransferEvent,
    TransferPeer,
    TransferStopped,
)

PIECE_BLOCKS = 4
LENGTH = 40 * BLOCK_BYTES + 1234
"""Ten whole pieces, and one that is a single short block."""
PATIENCE_S = 60


@frozen
class YardImage:
    """An image that nodes of the yard can hold."""

    torrent: bytes
    infohash: bytes
    length_bytes: int


class YardNode(Protocol):
    """One node: a transfer with its storage."""

    @property
    def node_id(self) -> bytes:
        """Under which its peers know it."""
        ...

    @property
    def transfer(self) -> Transfer:
        """What is tested."""
        ...

    @property
    def address(self) -> Address:
        """Where its transfer listens."""
        ...

    @property
    def seen(self) -> list[TransferEvent]:
        """Every event the transfer has reported."""
        ...

    def put(self, image: YardImage, *, wrong: Sequence[int] = (), missing: Sequence[int] = ()) -> ImageJob:
        """Place the image on this node's storage, with wrong or blank blocks in it."""
        ...

    def slot(self, image: YardImage, *, size_bytes: int | None = None) -> ImageJob:
        """A blank slot, roomy unless told otherwise."""
        ...

    def is_whole(self, job: ImageJob) -> bool:
        """Does the path hold the image, and nothing changed beyond it?"""
        ...

    def is_blank(self, job: ImageJob) -> bool:
        """Has nothing been written to the path?"""
        ...

    def end(self) -> None:
        """The node's process ends."""
        ...


class Yard(Protocol):
    """Nodes that reach each other."""

    def image(self, length_bytes: int = LENGTH) -> YardImage:
        """A new image, unlike every other."""
        ...

    def node(self, *, slow: bool = False, far: bool = False) -> YardNode:
        """A new node. A slow one gives at most about an image of `LENGTH` a second; a far one has an address of its own."""
        ...

    def until(self, done: Callable[[], bool], why: str) -> None:
        """Let time pass until it is so; fails the test after `PATIENCE_S`."""
        ...

    def let_pass(self, seconds: float) -> None:
        """Let time pass, for what must not happen."""
        ...


def peer(node: YardNode, *, same_site: bool = True) -> TransferPeer:
    """The node, as the swarm would tell others of it."""
    return TransferPeer(node.node_id, node.address, same_site)


def bitmap(image: YardImage, blocks: Sequence[int]) -> bytes:
    """These blocks are believed to be in place."""
    marked = empty_bitmap(block_count(image.length_bytes))
    for block in blocks:
        set_block(marked, block)
    return bytes(marked)


def every_block(image: YardImage) -> list[int]:
    """All block numbers of the image."""
    return list(range(block_count(image.length_bytes)))


def rejected(node: YardNode) -> list[PieceRejected]:
    """What the node has refused so far."""
    return [event for event in node.seen if isinstance(event, PieceRejected)]


def fetched(node: YardNode, image: YardImage) -> Callable[[], bool]:
    """Has the node told that it has the image?"""
    return lambda: ImageFetched(image.infohash) in node.seen


class TransferContract:
    """Inherited by a test class for each implementation."""

    def test_fetches_an_image_from_one_seed(self, yard: Yard) -> None:
        """A node could not get a release from the only node that has it."""
        image, giver, taker = yard.image(), yard.node(), yard.node()
        giver.transfer.seed(giver.put(image))
        job = taker.slot(image)
        taker.transfer.fetch(job, b"")
        taker.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(fetched(taker, image), "the image has arrived")
        assert taker.is_whole(job)
        progress = taker.transfer.progress(image.infohash)
        assert progress is not None
        assert (progress.have_bytes, progress.received_bytes) == (LENGTH, LENGTH)
        assert progress.wasted_bytes == 0
        assert taker.seen == [ImageFetched(image.infohash)]

    def test_says_who_gave_what(self, yard: Yard) -> None:
        """An operator could not tell which bytes crossed the site's thin line."""
        image, near, far, taker = yard.image(), yard.node(), yard.node(), yard.node()
        near.transfer.seed(near.put(image))
        far.transfer.seed(far.put(image))
        taker.transfer.fetch(taker.slot(image), b"")
        taker.transfer.offer_peers(image.infohash, [peer(near), peer(far, same_site=False)])
        yard.until(fetched(taker, image), "the image has arrived")
        progress = taker.transfer.progress(image.infohash)
        assert progress is not None
        assert sum(source.received_bytes for source in progress.sources) == progress.received_bytes
        known = {(near.node_id, near.address, True), (far.node_id, far.address, False)}
        assert {(s.node_id, s.address, s.same_site) for s in progress.sources} <= known

    def test_fetches_only_what_is_missing(self, yard: Yard) -> None:
        """An interrupted update would begin again from nothing."""
        image, giver, taker = yard.image(), yard.node(), yard.node()
        giver.transfer.seed(giver.put(image))
        missing = [0, 5, 6, 7, 20]
        job = taker.put(image, missing=missing)
        taker.transfer.fetch(job, bitmap(image, [b for b in every_block(image) if b not in missing]))
        taker.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(fetched(taker, image), "the rest has arrived")
        progress = taker.transfer.progress(image.infohash)
        assert progress is not None
        assert progress.received_bytes == len(missing) * BLOCK_BYTES
        assert taker.is_whole(job)

    def test_a_streamed_job_tells_of_its_pieces(self, yard: Yard) -> None:
        """Nothing of a parcel could be used before all of it is here."""
        image, giver, taker = yard.image(), yard.node(slow=True), yard.node()
        giver.transfer.seed(giver.put(image))
        job = evolve(taker.put(image, missing=[0, 5, 6, 7, 20]), streamed=True)
        present = [b for b in every_block(image) if b not in (0, 5, 6, 7, 20)]
        taker.transfer.fetch(job, bitmap(image, present))
        taker.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(fetched(taker, image), "the rest has arrived")
        last = taker.seen.index(ImageFetched(image.infohash))
        told = [event.piece for event in taker.seen[:last] if isinstance(event, PieceArrived)]
        assert sorted(set(told)) == list(range(-(-LENGTH // (PIECE_BLOCKS * BLOCK_BYTES))))

    def test_a_cautious_job_ends_as_any_other(self, yard: Yard) -> None:
        """A parcel that may be of no use would never come, or nobody would hear of its end."""
        image, giver, taker = yard.image(), yard.node(), yard.node()
        giver.transfer.seed(giver.put(image))
        job = evolve(taker.slot(image), streamed=True, cautious_bytes_per_s=256 * 1024)
        taker.transfer.fetch(job, b"")
        taker.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(lambda: PieceArrived(image.infohash, 0) in taker.seen, "its beginning has come")
        taker.transfer.hurry(image.infohash)
        yard.until(fetched(taker, image), "the rest has arrived")
        assert taker.is_whole(job)

    def test_needs_nobody_when_everything_is_in_place(self, yard: Yard) -> None:
        """A node that already has every block would wait for a peer for ever."""
        image, taker = yard.image(), yard.node()
        job = taker.put(image)
        taker.transfer.fetch(job, bitmap(image, every_block(image)))
        yard.until(fetched(taker, image), "the blocks were checked")
        assert taker.is_whole(job)

    def test_a_wrong_bit_costs_one_piece(self, yard: Yard) -> None:
        """A block that only seems to be in place would end in an image that boots."""
        image, giver, taker = yard.image(), yard.node(), yard.node()
        giver.transfer.seed(giver.put(image))
        job = taker.put(image, wrong=[9])
        taker.transfer.fetch(job, bitmap(image, every_block(image)))
        taker.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(fetched(taker, image), "the wrong piece was fetched")
        assert taker.is_whole(job)
        assert [event.piece for event in rejected(taker)] == [9 // PIECE_BLOCKS]
        assert rejected(taker)[0].source == "blocks that were in place"
        progress = taker.transfer.progress(image.infohash)
        assert progress is not None
        assert 0 < progress.received_bytes <= PIECE_BLOCKS * BLOCK_BYTES

    def test_a_wrong_bit_in_a_piece_that_is_not_whole(self, yard: Yard) -> None:
        """A wrong guess among right blocks would blame an honest peer and still be booted."""
        image, giver, taker = yard.image(), yard.node(), yard.node()
        giver.transfer.seed(giver.put(image))
        job = taker.put(image, wrong=[8], missing=[10])
        taker.transfer.fetch(job, bitmap(image, [b for b in every_block(image) if b != 10]))
        taker.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(fetched(taker, image), "the piece was fetched again")
        assert taker.is_whole(job)

    def test_a_lying_seed_is_found_out(self, yard: Yard) -> None:
        """One node with a rotten card, or ill will, would stop a site from updating, or brick it."""
        image, liar, giver, taker = yard.image(), yard.node(), yard.node(), yard.node()
        liar.transfer.seed(liar.put(image, wrong=every_block(image)))
        job = taker.slot(image)
        taker.transfer.fetch(job, b"")
        taker.transfer.offer_peers(image.infohash, [peer(liar)])
        yard.until(lambda: bool(rejected(taker)), "the lie was noticed")
        assert liar.node_id.hex()[:12] in rejected(taker)[0].source, rejected(taker)
        assert not fetched(taker, image)()
        giver.transfer.seed(giver.put(image))
        taker.transfer.offer_peers(image.infohash, [peer(giver), peer(liar)])
        yard.until(fetched(taker, image), "an honest peer has given the image")
        assert taker.is_whole(job)
        progress = taker.transfer.progress(image.infohash)
        assert progress is not None
        assert progress.wasted_bytes > 0

    def test_another_takes_over_when_a_seed_vanishes(self, yard: Yard) -> None:
        """The publisher could not leave before everybody has the release."""
        image = yard.image(8 * LENGTH)
        slow, other, taker = yard.node(slow=True), yard.node(), yard.node()
        slow.transfer.seed(slow.put(image))
        job = taker.slot(image)
        taker.transfer.fetch(job, b"")
        taker.transfer.offer_peers(image.infohash, [peer(slow)])

        def under_way() -> bool:
            progress = taker.transfer.progress(image.infohash)
            return progress is not None and progress.received_bytes > 0

        yard.until(under_way, "the first bytes are here")
        slow.end()
        assert not fetched(taker, image)()
        other.transfer.seed(other.put(image))
        taker.transfer.offer_peers(image.infohash, [peer(other)])
        yard.until(fetched(taker, image), "the other has given the rest")
        assert taker.is_whole(job)

    def test_serves_what_it_has_fetched(self, yard: Yard) -> None:
        """A release would reach one node and no further."""
        image, giver, middle, last = yard.image(), yard.node(), yard.node(), yard.node()
        giver.transfer.seed(giver.put(image))
        job = middle.slot(image)
        middle.transfer.fetch(job, b"")
        middle.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(fetched(middle, image), "the first copy is out")
        middle.transfer.seed(job)
        giver.end()
        end = last.slot(image)
        last.transfer.fetch(end, b"")
        last.transfer.offer_peers(image.infohash, [peer(middle)])
        yard.until(fetched(last, image), "the second copy is out")
        assert last.is_whole(end)

        def told() -> bool:
            progress = middle.transfer.progress(image.infohash)
            return progress is not None and progress.sent_bytes == LENGTH

        yard.until(told, "the middle one says what it has given")

    def test_takes_from_one_that_is_still_fetching(self, yard: Yard) -> None:
        """A site's nodes would wait for each other instead of passing pieces on."""
        image = yard.image()
        half, taker = yard.node(), yard.node()
        job = half.put(image, missing=range(20, 41))
        half.transfer.fetch(job, bitmap(image, range(20)))
        taker.transfer.fetch(taker.slot(image), b"")
        taker.transfer.offer_peers(image.infohash, [peer(half)])

        def has_half() -> bool:
            progress = taker.transfer.progress(image.infohash)
            return progress is not None and progress.have_bytes == 20 * BLOCK_BYTES

        yard.until(has_half, "what the other has is here")

    def test_keeps_to_its_site_while_it_is_told_to(self, yard: Yard) -> None:
        """Every node of a site would take the image over the line."""
        image, far, taker = yard.image(), yard.node(far=True), yard.node()
        far.transfer.seed(far.put(image))
        job = taker.slot(image)
        taker.transfer.fetch(job, b"")
        taker.transfer.keep_near(image.infohash, [], near_only=True)
        taker.transfer.offer_peers(image.infohash, [peer(far, same_site=False)])
        yard.let_pass(1.0)
        assert taker.is_blank(job)
        taker.transfer.keep_near(image.infohash, [], near_only=False)

        def arrived() -> bool:
            taker.transfer.offer_peers(image.infohash, [peer(far, same_site=False)])
            yard.let_pass(0.2)
            return fetched(taker, image)()

        for _ in range(PATIENCE_S * 5):
            if arrived():
                return
        raise AssertionError("what it may take from outside never came")

    def test_lets_go_of_other_sites_and_goes_on_within_its_own(self, yard: Yard) -> None:
        """A gateway that gave its place back would go on using the line, or lose what it has."""
        image, far, taker = yard.image(20 * LENGTH), yard.node(slow=True, far=True), yard.node()
        far.transfer.seed(far.put(image))
        job = taker.slot(image)
        taker.transfer.fetch(job, b"")
        taker.transfer.offer_peers(image.infohash, [peer(far, same_site=False)])
        yard.until(lambda: not taker.is_blank(job), "the first bytes have come")
        mate = yard.node()
        taker.transfer.keep_near(image.infohash, [peer(mate)], near_only=True)

        def let_go() -> bool:
            progress = taker.transfer.progress(image.infohash)
            return progress is not None and progress.peers == 0

        yard.until(let_go, "the other site is let go of")
        mate.transfer.seed(mate.put(image))
        for _ in range(PATIENCE_S):
            taker.transfer.offer_peers(image.infohash, [peer(mate)])
            yard.let_pass(1.0)
            if fetched(taker, image)():
                break
        yard.until(fetched(taker, image), "the rest has come from the site")
        assert taker.is_whole(job)

    def test_stops(self, yard: Yard) -> None:
        """An update that was called off would go on writing to a slot."""
        image, giver, taker = yard.image(8 * LENGTH), yard.node(slow=True), yard.node()
        giver.transfer.seed(giver.put(image))
        job = taker.slot(image)
        taker.transfer.fetch(job, b"")
        taker.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(lambda: not taker.is_blank(job), "the first bytes are written")
        taker.transfer.stop(image.infohash)
        assert taker.transfer.progress(image.infohash) is None
        yard.let_pass(0.3)
        assert taker.seen == []
        assert not taker.is_whole(job)

    def test_can_begin_again_after_a_stop(self, yard: Yard) -> None:
        """After a hold and a resume, the update would hang."""
        image, giver, taker = yard.image(), yard.node(), yard.node()
        giver.transfer.seed(giver.put(image))
        job = taker.slot(image)
        taker.transfer.fetch(job, b"")
        taker.transfer.stop(image.infohash)
        taker.transfer.fetch(job, b"")
        taker.transfer.fetch(job, b"")
        taker.transfer.offer_peers(image.infohash, [peer(giver), peer(giver), peer(taker)])
        yard.until(fetched(taker, image), "the image has arrived")
        assert taker.is_whole(job)

    def test_a_peer_that_has_it_later(self, yard: Yard) -> None:
        """A node that asked too early would never be served."""
        image, giver, taker = yard.image(), yard.node(), yard.node()
        taker.transfer.fetch(taker.slot(image), b"")
        taker.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.let_pass(0.3)
        giver.transfer.seed(giver.put(image))

        def offered_again() -> bool:
            taker.transfer.offer_peers(image.infohash, [peer(giver)])
            return fetched(taker, image)()

        yard.until(offered_again, "the image has arrived")

    def test_knows_nothing_of_what_it_was_not_given(self, yard: Yard) -> None:
        """A question about an unknown image would crash the daemon."""
        taker = yard.node()
        unknown = bytes(32)
        taker.transfer.stop(unknown)
        taker.transfer.offer_peers(unknown, [peer(taker)])
        assert taker.transfer.progress(unknown) is None
        assert taker.transfer.events() == []

    def test_refuses_a_slot_that_is_too_small(self, yard: Yard) -> None:
        """An image would be written over the end of a slot, or a file would grow into one."""
        image, giver, taker = yard.image(), yard.node(), yard.node()
        giver.transfer.seed(giver.put(image))
        job = taker.slot(image, size_bytes=LENGTH - 1)
        taker.transfer.fetch(job, b"")
        taker.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(lambda: bool(taker.seen), "the job was refused")
        assert taker.seen == [
            TransferStopped(
                image.infohash, f"{job.path} has {LENGTH - 1} bytes, the image has {LENGTH}", disk_full=False
            )
        ]
        assert taker.transfer.progress(image.infohash) is None
        assert taker.is_blank(job)

    def test_refuses_a_path_that_is_not_there(self, yard: Yard) -> None:
        """A mistyped slot would make a file of that name and fill the running system."""
        image, taker = yard.image(), yard.node()
        job = ImageJob(image.torrent, image.infohash, "/nowhere/slot", image.length_bytes)
        taker.transfer.fetch(job, b"")
        yard.until(lambda: bool(taker.seen), "the job was refused")
        assert taker.seen == [
            TransferStopped(image.infohash, "/nowhere/slot cannot be opened: No such file or directory")
        ]

    def test_refuses_a_job_that_contradicts_its_torrent(self, yard: Yard) -> None:
        """A node would serve or boot another image than its maintainers named."""
        image, taker = yard.image(), yard.node()
        job = taker.slot(image)
        taker.transfer.fetch(ImageJob(job.torrent, bytes(32), job.path, job.length_bytes), b"")
        taker.transfer.seed(ImageJob(job.torrent, job.infohash, job.path, job.length_bytes + BLOCK_BYTES))
        yard.until(lambda: len(taker.seen) == 2, "both jobs were refused")
        why = "torrent describes another image than the one asked for"
        assert taker.seen == [TransferStopped(bytes(32), why), TransferStopped(image.infohash, why)]
