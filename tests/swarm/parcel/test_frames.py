"""A frame is opened in one go or part by part; a node that did so otherwise than the builder would heal what is not ill."""

from __future__ import annotations

import random

import pytest
import zstandard

from swarm.errors import RefusedError
from swarm.parcel.frames import Frame, held, opened_frame, opened_parts, raw_dictionary
from swarm.parcel.limits import FRESH_BYTES_MAX

DICE = random.Random(7)
TEXT = b"".join(b"%d of %d\n" % (DICE.randrange(9), n) for n in range(90_000))
NOISE = DICE.randbytes(300_000)
CONTENT = TEXT + bytes(700_000) + NOISE
EMPTY = zstandard.compress(b"")
SKIPPABLE = b"\x50\x2a\x4d\x18" + bytes(4)


def outcome(opening, frame: bytes, length: int, dictionary=None) -> bytes | None:
    """What a frame opens to; None where it is refused."""
    try:
        return b"".join(opening(frame, length, dictionary))
    except RefusedError:
        return None


def part_by_part(frame: bytes, length: int, dictionary=None) -> list[bytes]:
    return list(opened_parts(held(frame), length, dictionary))


def whole(frame: bytes, length: int, dictionary=None) -> list[bytes]:
    return [opened_frame(frame, length, dictionary)]


def packed(*, checksum: bool = False, dictionary: bytes = b"", window_log: int | None = None) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, write_checksum=checksum, write_dict_id=False, **({"window_log": window_log} if window_log else {})
    )
    packer = zstandard.ZstdCompressor(
        compression_params=parameters, dict_data=raw_dictionary(dictionary) if dictionary else None
    )
    return packer.compress(CONTENT)


@pytest.mark.parametrize("checksum", [False, True], ids=["bare", "checksum"])
@pytest.mark.parametrize("dictionary", [b"", TEXT[5_000:400_000]], ids=["alone", "dictionary"])
@pytest.mark.parametrize("window_log", [None, 12, 27], ids=["window", "small-window", "large-window"])
def test_part_by_part_it_opens_to_the_same(checksum: bool, dictionary: bytes, window_log: int | None) -> None:
    """And never in one piece, or nothing would be gained by it."""
    frame = packed(checksum=checksum, dictionary=dictionary, window_log=window_log)
    known = raw_dictionary(dictionary) if dictionary else None
    parts = part_by_part(frame, len(CONTENT), known)
    assert b"".join(parts) == CONTENT == opened_frame(frame, len(CONTENT), known)
    assert max(map(len, parts)) <= len(CONTENT) // 4


@pytest.mark.parametrize("checksum", [False, True], ids=["bare", "checksum"])
def test_part_by_part_the_same_is_refused(checksum: bool) -> None:
    """Two nodes of one release would find the same parcel good and damaged."""
    frame, length = packed(checksum=checksum), len(CONTENT)
    changed = [frame[:-cut] for cut in (1, 2, 3, 4, 5, 1000, len(frame))]
    changed += [frame + more for more in (b"\0", b"\x28", b"\x28\xb5\x2f", EMPTY, SKIPPABLE, frame, bytes(9))]
    changed += [SKIPPABLE + frame, EMPTY + frame]
    for _ in range(300):
        at = DICE.choice((DICE.randrange(16), DICE.randrange(len(frame)), len(frame) - 1 - DICE.randrange(8)))
        changed.append(frame[:at] + bytes([frame[at] ^ 1 << DICE.randrange(8)]) + frame[at + 1 :])
    found = [(outcome(part_by_part, bad, length), outcome(whole, bad, length)) for bad in changed]
    assert all(ours == theirs for ours, theirs in found)
    assert any(theirs is None for _, theirs in found[-300:])
    assert outcome(part_by_part, frame, length - 1) is outcome(part_by_part, frame, length + 1) is None


def test_a_frame_that_opens_to_more_than_it_says_is_left_when_it_has() -> None:
    """A few bytes would fill a node's memory: blocks of one repeated byte, and a window smaller than what is told."""
    told = FRESH_BYTES_MAX
    header = b"\x28\xb5\x2f\xfd" + bytes([0b10_0_0_0_0_00, 7 << 3]) + told.to_bytes(4, "little")
    repeated = ((128 * 1024) << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    frame = header + 4000 * repeated + (1).to_bytes(3, "little")
    assert zstandard.frame_content_size(frame) == told
    taken: list[int] = []

    def take_all() -> None:
        taken.extend(len(part) for part in opened_parts(held(frame), told))

    with pytest.raises(RefusedError):
        take_all()
    assert sum(taken) <= told


def test_a_frame_that_cannot_be_read_on_is_refused() -> None:
    """A card that fails under the cache would make a node wait, or make blocks of what was there before."""
    data = packed()
    for good_bytes in (0, 10, 1000, len(data) - 1):
        frame = Frame(
            lambda at, length, end=good_bytes: data[at : at + length] if at + length <= end else b"",
            len(data),
        )
        with pytest.raises(RefusedError):
            list(opened_parts(frame, len(CONTENT)))
