"""A release published through a node that then rolls it back would be gone for all nodes that had not fetched it yet."""

from __future__ import annotations

from attrs import evolve

from bep35.metainfo import build, parse
from fruitd.node.effects import KeepShare, MakeLeaves, StartSeed, StopSeed
from fruitd.node.library import MAKE_AGAIN_GAP_S, SHARES_MAX, Library
from fruitd.updater.journal import Target

LENGTH = 3 * 16384


def _torrent(number: int) -> bytes:
    return build(f"image-{number}.img", LENGTH, bytes([number]) * 32 * 3, 16384)


def _target(raw: bytes) -> Target:
    infohash = parse(raw).infohash.hex()
    return Target("r", 1, "1.1", ("pi",), LENGTH, infohash, "00" * 32, len(raw), "11" * 32)


def test_a_published_file_is_served_again_when_the_slot_is_given_up() -> None:
    """Nobody could get a release any more once its publisher's own trial had failed."""
    raw = _torrent(1)
    target = _target(raw)
    library = Library([raw], [])
    library.share(target.infohash, target.torrent_sha256, "/srv/image")

    into_slot = library.serve_slot(target, "b")
    assert into_slot == [
        StopSeed(target.infohash),
        StartSeed(target.infohash, raw, LENGTH, "b", None),
    ]
    given_up = library.serve_slot(None, None)
    assert given_up == [
        StopSeed(target.infohash),
        StartSeed(target.infohash, raw, LENGTH, None, "/srv/image"),
    ]


def test_a_file_that_no_longer_holds_the_image_is_given_up() -> None:
    """A node would offer an image it does not have."""
    raw = _torrent(1)
    target = _target(raw)
    library = Library([raw], [])
    library.share(target.infohash, target.torrent_sha256, "/srv/image")
    assert library.unshare(target) == [
        KeepShare(target.infohash, target.torrent_sha256, None),
        StopSeed(target.infohash),
    ]
    assert library.unshare(evolve(target, infohash="22" * 32)) == []


def test_published_files_are_bounded() -> None:
    """A node through which much is published would serve everything for ever."""
    torrents = [_torrent(number) for number in range(SHARES_MAX + 1)]
    infohashes = [parse(raw).infohash.hex() for raw in torrents]
    library = Library(torrents, [])
    for infohash in infohashes[:-1]:
        library.share(infohash, "00" * 32, f"/srv/{infohash}")
    effects = library.share(infohashes[-1], "00" * 32, "/srv/last")
    assert StopSeed(infohashes[0]) in effects
    assert library.share_path(infohashes[0]) is None
    assert library.share_path(infohashes[1]) is not None
    assert bytes.fromhex(infohashes[0]) not in library.holdings(None)


def test_leaves_are_made_for_peers_whatever_else_is_asked_for() -> None:
    """Whoever asks for what nobody has would keep honest nodes from the leaves they need, or a slot be read without end."""
    raw = _torrent(1)
    target, root = _target(raw), parse(raw).pieces_root
    library = Library([raw], [])
    library.share(target.infohash, target.torrent_sha256, "/srv/image")
    for number in range(1000):
        assert library.leaves_wanted(number.to_bytes(32, "big"), 0.0) == []
    made = [MakeLeaves(root, LENGTH, None, "/srv/image")]
    assert library.leaves_wanted(root, 0.0) == made
    assert library.leaves_wanted(root, MAKE_AGAIN_GAP_S - 0.1) == []
    assert library.leaves_wanted(root, MAKE_AGAIN_GAP_S) == made
