"""A memo that is believed too much costs a read-back that fails; one that is lost, a look at the whole slot."""

from __future__ import annotations

from pathlib import Path

import pytest

from bep35.merkle import leaf_hashes
from fruitd.slots import memo as memo_module
from fruitd.slots.memo import MEMO_BYTES, SlotMemos, memo_of
from swarm.transfer.port import BLOCK_BYTES

LENGTH = 5 * BLOCK_BYTES + 3
LEAVES = leaf_hashes(bytes(range(256)) * (LENGTH // 256) + bytes(LENGTH % 256))


def test_a_memo_is_the_beginning_of_each_leaf() -> None:
    assert memo_of(LEAVES) == b"".join(LEAVES[at : at + MEMO_BYTES] for at in range(0, len(LEAVES), 32))


def test_what_is_kept_is_taken_once(tmp_path: Path) -> None:
    """After a cut what was written since would be taken for what was there before."""
    memos = SlotMemos(tmp_path)
    memos.keep("a", LEAVES, LENGTH)
    assert SlotMemos(tmp_path).take("b", LENGTH) is None
    assert SlotMemos(tmp_path).take("a", LENGTH) == memo_of(LEAVES)
    assert memos.take("a", LENGTH) is None
    assert not list(tmp_path.iterdir())


def test_what_is_looked_at_stays(tmp_path: Path) -> None:
    """The slot that runs would be told from what was read back once a single time."""
    memos = SlotMemos(tmp_path)
    assert memos.look("a") is None
    memos.keep("a", LEAVES, LENGTH)
    assert memos.look("a") == memos.look("a") == (LENGTH, memo_of(LEAVES))


@pytest.mark.parametrize("length", [LENGTH - 1, LENGTH + 1, 2 * LENGTH, 1])
def test_of_an_image_of_another_length_nothing_is_remembered(tmp_path: Path, length: int) -> None:
    """Its last block would be another."""
    memos = SlotMemos(tmp_path)
    memos.keep("a", LEAVES, LENGTH)
    assert memos.take("a", length) is None


@pytest.mark.parametrize("cut", [0, 7, 8, 9, 20])
def test_a_damaged_memo_is_none(tmp_path: Path, cut: int) -> None:
    memos = SlotMemos(tmp_path)
    memos.keep("a", LEAVES, LENGTH)
    path = tmp_path / "slot-a.memo"
    path.write_bytes(path.read_bytes()[:cut])
    assert memos.look("a") is None
    assert memos.take("a", LENGTH) is None


def test_a_memo_of_an_image_of_endless_length_takes_no_memory(tmp_path: Path) -> None:
    """A bit that has flipped in its first bytes would end the daemon."""
    path = tmp_path / "slot-a.memo"
    path.write_bytes(b"\xff" * 8 + memo_of(LEAVES))
    assert SlotMemos(tmp_path).look("a") is None


def test_no_room_for_it_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update that is ready to boot would not boot."""

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(memo_module, "write_durably", full)
    memos = SlotMemos(tmp_path)
    memos.keep("a", LEAVES, LENGTH)
    assert memos.take("a", LENGTH) is None
