"""One release, travelling as a parcel, through everything that can come between: real slots, real cache, bytes counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from fruitd.node import effects as ask
from fruitd.node.ways import cautious_bytes_per_s
from fruitd.slots import parcel_file
from swarm.transfer.bitmap import block_count
from tests.fruitd.node.parcel_host import (
    BLOCK,
    PIECE_BYTES,
    SEGMENT_BLOCKS,
    ParcelHost,
    Release2,
    make_release,
    old_and_new,
)

OLD, NEW = old_and_new()
ONE = make_release(1, OLD)
TWO = make_release(2, NEW, (OLD, b""))
FROM_NOTHING, FROM_OLD = TWO.parcels
SEGMENTS = -(-block_count(len(NEW)) // SEGMENT_BLOCKS)
IMAGE = TWO.signed.release.infohash.hex()


def differing_bytes(one: bytes, other: bytes) -> int:
    """Of the blocks in which two images differ."""
    return sum(
        len(other[b * BLOCK : (b + 1) * BLOCK])
        for b in range(block_count(len(other)))
        if one[b * BLOCK : (b + 1) * BLOCK] != other[b * BLOCK : (b + 1) * BLOCK]
    )


def host_of(folder: Path, release: Release2 = TWO, content: bytes = OLD, **more: object) -> ParcelHost:
    """A node that is known to run release 1, and whose slot a holds `content`."""
    host = ParcelHost.make(folder, ONE.signed, content, **more)
    host.offer(release)
    return host


def test_a_node_takes_the_parcel_from_what_it_runs_and_nothing_else(tmp_path: Path) -> None:
    """An update would cost the whole image, or what is the same in both images would be written again."""
    host = host_of(tmp_path)
    host.run()
    assert host.holds(NEW)
    assert host.fetched == {FROM_OLD.named.infohash.hex(): len(FROM_OLD.content)}
    assert host.written_bytes == len(NEW)  # slot b was empty
    assert any("the parcel from the release that runs" in note for note in host.notes)


def test_only_blocks_that_differ_are_written(tmp_path: Path) -> None:
    """SD cards would wear ten times as fast as they must."""
    host = host_of(tmp_path)
    host.slot("b").write_bytes(host.slot("a").read_bytes())
    host.run()
    assert host.holds(NEW)
    assert host.written_bytes <= 1.02 * differing_bytes(OLD, NEW)


def test_a_node_that_knows_nothing_of_its_slot_takes_the_parcel_from_nothing(tmp_path: Path) -> None:
    """A new card would fetch an image of blocks, several times as large."""
    host = ParcelHost.make(tmp_path, None, b"")
    zeros = bytes(40 * BLOCK)
    image = b"x" * (20 * BLOCK) + zeros + NEW[: 20 * BLOCK]
    release = make_release(2, image, (OLD, b""))
    host.offer(release)
    host.run()
    assert host.holds(image)
    assert host.fetched == {release.parcels[0].named.infohash.hex(): len(release.parcels[0].content)}


def test_what_is_nearly_in_place_is_fetched_block_by_block(tmp_path: Path) -> None:
    """A whole parcel would be fetched for the sake of one block."""
    host = host_of(tmp_path)
    host.slot("b").write_bytes(NEW[:BLOCK] + bytes(BLOCK) + NEW[2 * BLOCK :] + bytes(4396))
    host.run()
    assert host.holds(NEW)
    assert host.fetched == {IMAGE: BLOCK}


@pytest.mark.parametrize("what", ["segment", "segment made", "piece", "open", "image", "check"])
def test_cut_at_every_step_it_goes_on_where_it_was(tmp_path: Path, what: str) -> None:
    """A node that is switched off every evening would begin again every morning, or boot half an image."""
    host = host_of(tmp_path)
    cut: set[int] = set()

    def cut_at(step: str, count: int) -> bool:
        if step != what or count in cut:
            return False
        cut.add(count)
        return count % 2 == 1  # every second one, or nothing would ever be done

    host.cut_at = cut_at
    host.run_through_cuts()
    assert host.holds(NEW)
    assert host.fetched == {FROM_OLD.named.infohash.hex(): len(FROM_OLD.content)}
    if what == "segment":
        assert host.segments == SEGMENTS, "a segment was made twice"


@pytest.mark.parametrize("runs_as_kept", [False, True])
@pytest.mark.parametrize("segment", [0, 4, 11])
def test_a_part_of_the_cache_that_rots_is_fetched_again(
    tmp_path: Path, segment: int, runs_as_kept: bool
) -> None:
    """A dying card would turn a small update into a large one, or end it."""

    def rot(host: ParcelHost, effect: ask.MakeSegment) -> None:
        if effect.segment.number == segment and host.counts["rotten"] == 0:
            host.counts["rotten"] += 1
            with Path(effect.path).open("r+b") as file:
                file.seek(effect.segment.frame_offset + effect.segment.frame_bytes // 2)
                byte = file.read(1)
                file.seek(-1, 1)
                file.write(bytes([byte[0] ^ 0xFF]))

    host = host_of(tmp_path, before_making=rot, runs_as_kept=runs_as_kept)
    host.run()
    assert host.holds(NEW)
    assert host.counts["rotten"] == 1
    assert host.fetched.keys() == {FROM_OLD.named.infohash.hex()}
    assert host.fetched.total() <= len(FROM_OLD.content) + 2 * PIECE_BYTES


@pytest.mark.parametrize(("runs_as_kept", "first"), [(False, 41), (True, 40), (True, 41)])
def test_a_segment_that_makes_the_wrong_thing_is_healed_from_the_image(
    tmp_path: Path, runs_as_kept: bool, first: int
) -> None:
    """A fault of the builder would keep every node from the release. Or what the sample did not see would boot."""
    wrong_blocks = 3

    def spoil(new: bytes) -> bytes:
        spoilt = bytearray(new)
        for block in range(first, first + wrong_blocks):
            spoilt[block * BLOCK] ^= 1
        return bytes(spoilt)

    release = make_release(2, NEW, (OLD,), spoil)
    host = host_of(tmp_path, release, runs_as_kept=runs_as_kept)
    host.run()
    assert host.holds(NEW)
    assert host.fetched[IMAGE] == wrong_blocks * BLOCK
    unseen = runs_as_kept and first % SEGMENT_BLOCKS
    assert any("reads back wrong: 3 bad blocks" in note for note in host.notes) == bool(unseen)
    assert host.fetched.total() == wrong_blocks * BLOCK + len(release.parcels[0].content)
    assert any(note.startswith("healing") for note in host.notes)


def test_nothing_is_believed_of_a_parcel_before_it_has_been_of_use(tmp_path: Path) -> None:
    """What is wrong would be written before it is noticed. And where all is well, every block would be hashed twice."""
    doubtful = host_of(tmp_path / "doubtful")
    doubtful.run()
    assert (doubtful.segments, doubtful.believed) == (SEGMENTS, 0)
    likely = host_of(tmp_path / "likely", runs_as_kept=True)
    likely.run()
    assert (likely.segments, likely.believed) == (SEGMENTS, SEGMENTS - 1)
    assert likely.holds(NEW)


def test_a_root_that_was_mounted_for_writing_costs_only_the_blocks_it_spoilt(tmp_path: Path) -> None:
    """Every node whose root is not read-only would pay for the whole image again."""
    written = bytearray(OLD)
    written[5 * BLOCK + 100 : 5 * BLOCK + 900] = bytes(800)
    written[50 * BLOCK : 51 * BLOCK] = bytes(BLOCK)
    host = host_of(tmp_path, content=bytes(written))
    host.run()
    assert host.holds(NEW)
    assert host.fetched[IMAGE] == 2 * BLOCK
    assert host.fetched.total() == 2 * BLOCK + len(FROM_OLD.content)


def test_another_image_than_the_journal_says_is_found_out_soon_and_in_words(tmp_path: Path) -> None:
    """Somebody who wrote to the running slot by hand would have a node that fetches everything twice, or never updates."""
    other, _ = old_and_new(seed=9)
    host = host_of(tmp_path, content=other)
    host.run()
    assert host.holds(NEW)
    assert any(
        note.startswith("another way: slot a is not bit for bit the release it should be")
        for note in host.notes
    ), host.notes
    cheaper = min(len(FROM_NOTHING.content), len(NEW))
    assert host.fetched.total() <= 1.1 * cheaper


def test_what_may_be_of_no_use_comes_at_a_pace_that_the_other_way_can_pay_for(tmp_path: Path) -> None:
    """On a fast line a node whose slot somebody wrote to would have the whole parcel before its first segment is found wrong."""
    host = host_of(tmp_path)
    host.run()
    cheaper = min(len(FROM_NOTHING.content), len(NEW))
    assert 0 < host.rates[FROM_OLD.named.infohash.hex()] <= cheaper / 19  # nearly two seconds to find out

    likely = host_of(tmp_path / "likely", runs_as_kept=True)
    likely.run()
    assert likely.rates == {FROM_OLD.named.infohash.hex(): 0}

    new_card = ParcelHost.make(tmp_path / "new-card", None, b"")
    release = make_release(2, b"x" * (20 * BLOCK) + NEW[: 20 * BLOCK], (b"",))
    new_card.offer(release)
    new_card.run()
    assert new_card.rates == {release.parcels[0].named.infohash.hex(): 0}


@pytest.mark.parametrize(
    ("other_bytes", "rate"), [(0, 16_384), (2_400_000, 120_000), (96_000_000, 1 << 20), (1 << 36, 1 << 20)]
)
def test_the_pace_is_bounded_both_ways(other_bytes: int, rate: int) -> None:
    """A tiny update would never come, or a large one cost megabytes while a slow card reads."""
    assert cautious_bytes_per_s(other_bytes) == rate


def test_a_parcel_that_the_cache_cannot_hold_is_passed_over(tmp_path: Path) -> None:
    """A small data partition would fill up, and the node would forget what it refused."""
    host = host_of(tmp_path, cache_bytes=len(FROM_OLD.content) - 1)
    host.run()
    assert host.holds(NEW)
    assert host.fetched == {IMAGE: differing_bytes(OLD, NEW)}
    assert any("the cache for parcels has" in note for note in host.notes)


def test_a_full_disk_leads_to_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update would wait for ever for room that nobody makes."""
    monkeypatch.setattr(parcel_file, "FREE_BYTES_MIN", 1 << 62)
    host = host_of(tmp_path)
    host.run()
    assert host.holds(NEW)
    assert host.fetched == {IMAGE: differing_bytes(OLD, NEW)}
    assert any("no room" in note for note in host.notes)
    assert not list((tmp_path / "parcels").iterdir())


def test_without_a_cache_there_are_no_parcels(tmp_path: Path) -> None:
    """An owner who wants nothing on the data partition would find it there."""
    host = host_of(tmp_path, cache_bytes=0)
    host.run()
    assert host.holds(NEW)
    assert host.fetched == {IMAGE: differing_bytes(OLD, NEW)}


def test_a_used_parcel_is_served_and_survives_a_restart(tmp_path: Path) -> None:
    """The next node of the site would have to fetch it over the thin line once more."""
    host = host_of(tmp_path)
    host.run()
    infohash = FROM_OLD.named.infohash
    assert [share.infohash for share in host.shares] == [infohash.hex()]
    assert infohash in host.core.library.holdings(None)
    assert not host.core.library.cache.make_room("ff", 1, set())
