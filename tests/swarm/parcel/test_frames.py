"""A frame is opened in one go or part by part; a node that did so otherwise than the builder would heal what is not ill."""

from __future__ import annotations

import random

import pytest
import zstandard

from swarm.errors import RefusedError
from swarm.parcel.frames import (
    STORED_BYTES_MAX,
    Frame,
    FrameOpener,
    OpenFrame,
    held,
    opened_frame,
    raw_dictionary,
)
from swarm.parcel.limits import DICTIONARY_BYTES_MAX, FRESH_BYTES_MAX

DICE = random.Random(7)
TEXT = b"".join(b"%d of %d\n" % (DICE.randrange(9), n) for n in range(90_000))
NOISE = DICE.randbytes(300_000)
CONTENT = TEXT + bytes(700_000) + NOISE
EMPTY = zstandard.compress(b"")
SKIPPABLE = b"\x50\x2a\x4d\x18" + bytes(4)


OPENER = FrameOpener()
"""One for all tests, as a node has: what one frame left must not be in the next."""


def outcome(opening, frame: bytes, length: int) -> bytes | None:
    """What a frame opens to; None where it is refused."""
    try:
        return b"".join(opening(frame, length))
    except RefusedError:
        return None


def part_by_part(frame: bytes, length: int, dictionary: bytes = b"") -> list[bytes]:
    before = [dictionary[at : at + STORED_BYTES_MAX] for at in range(0, len(dictionary), STORED_BYTES_MAX)]
    return taken(OPENER.open(held(frame), length, before, len(dictionary)), length)


def taken(opened: OpenFrame, length: int) -> list[bytes]:
    """In parts of unlike lengths, to the end."""
    parts = [bytearray(min(70_001, length - at)) for at in range(0, length, 70_001)]
    for part in parts:
        opened.take(memoryview(part))
    opened.end()
    return list(map(bytes, parts))


def whole(frame: bytes, length: int) -> list[bytes]:
    return [opened_frame(frame, length)]


def by_zstd(frame: bytes, dictionary: bytes) -> bytes:
    """What zstd makes of it that is told of a dictionary."""
    known = raw_dictionary(dictionary) if dictionary else None
    return zstandard.ZstdDecompressor(dict_data=known).decompress(frame)


def packed(*, checksum: bool = False, dictionary: bytes = b"", window_log: int | None = None) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, write_checksum=checksum, write_dict_id=False, **({"window_log": window_log} if window_log else {})
    )
    packer = zstandard.ZstdCompressor(
        compression_params=parameters, dict_data=raw_dictionary(dictionary) if dictionary else None
    )
    return packer.compress(CONTENT)


@pytest.mark.parametrize("dictionary", [b"", TEXT[5_000:400_000]], ids=["alone", "dictionary"])
@pytest.mark.parametrize("window_log", [None, 12, 27], ids=["window", "small-window", "large-window"])
def test_part_by_part_it_opens_to_the_same(dictionary: bytes, window_log: int | None) -> None:
    frame = packed(dictionary=dictionary, window_log=window_log)
    parts = part_by_part(frame, len(CONTENT), dictionary)
    assert b"".join(parts) == CONTENT == by_zstd(frame, dictionary)


@pytest.mark.parametrize("length", [1, 2, 70, STORED_BYTES_MAX - 1, STORED_BYTES_MAX + 1, 300_000])
def test_a_dictionary_of_any_length_is_what_came_before(length: int) -> None:
    """Its first bytes are as far away as anything can be; repeated offsets and tables begin as in any frame."""
    dictionary = DICE.randbytes(length)
    content = dictionary + b"between" + dictionary[:50] + dictionary[-50:] * 3
    packer = zstandard.ZstdCompressor(level=19, dict_data=raw_dictionary(dictionary), write_dict_id=False)
    frame = packer.compress(content)
    assert b"".join(part_by_part(frame, len(content), dictionary)) == content


def test_the_largest_dictionary_and_the_largest_frame() -> None:
    """The last bytes are as far from the first as the format lets them be."""
    dictionary, far = DICE.randbytes(DICTIONARY_BYTES_MAX), 100_000
    content = bytes(FRESH_BYTES_MAX - far) + dictionary[:far]
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, window_log=24, hash_log=24, chain_log=24, write_dict_id=False
    )
    known = raw_dictionary(dictionary)
    frame = zstandard.ZstdCompressor(compression_params=parameters, dict_data=known).compress(content)
    assert len(frame) < far // 2
    assert b"".join(part_by_part(frame, len(content), dictionary)) == content


def test_a_frame_that_was_left_half_way_does_not_show_in_the_next() -> None:
    frame = packed(dictionary=TEXT[:STORED_BYTES_MAX])
    short = OPENER.open(held(frame), len(CONTENT), [TEXT[:STORED_BYTES_MAX]], len(TEXT))
    with pytest.raises(RefusedError):
        taken(short, len(CONTENT))  # the dictionary ended before it should have
    OPENER.open(held(packed()), len(CONTENT)).take(memoryview(bytearray(1000)))
    assert b"".join(part_by_part(packed(), len(CONTENT))) == CONTENT


@pytest.mark.parametrize("opening", [part_by_part, whole])
def test_a_checksum_or_the_number_of_a_dictionary_is_refused(opening) -> None:
    """Of a frame whose dictionary has a wrong byte, all would be refused by its checksum, and not only what uses that byte."""
    assert outcome(opening, packed(), len(CONTENT)) == CONTENT
    assert outcome(opening, packed(checksum=True), len(CONTENT)) is None
    numbered = bytearray(packed())
    numbered[4] |= 1
    numbered.insert(5, 7)
    assert zstandard.get_frame_parameters(bytes(numbered)).dict_id == 7
    assert outcome(opening, bytes(numbered), len(CONTENT)) is None


def test_part_by_part_the_same_is_refused() -> None:
    """Two nodes of one release would find the same parcel good and damaged."""
    frame, length = packed(), len(CONTENT)
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
    with pytest.raises(RefusedError):
        part_by_part(frame, told)
    assert outcome(whole, frame, told) is None


def test_a_frame_that_cannot_be_read_on_is_refused() -> None:
    """A card that fails under the cache would make a node wait, or make blocks of what was there before."""
    data = packed()
    for good_bytes in (0, 10, 1000, len(data) - 1):
        frame = Frame(
            lambda at, length, end=good_bytes: data[at : at + length] if at + length <= end else b"",
            len(data),
        )
        with pytest.raises(RefusedError):
            taken(OPENER.open(frame, len(CONTENT)), len(CONTENT))
